//! What Thaw reports on a Function. The operator writes all of it but [`LastBoot`] and [`Verified`], which are the activator's.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Status of a Function.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FunctionStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the function is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Every address of the function, the default one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Ready, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Instances of all entrypoints together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<i32>,
    /// One for each entrypoint of the manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub entrypoints: Vec<EntrypointStatus>,
}

/// Status of one entrypoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntrypointStatus {
    /// Name of the entrypoint.
    pub name: String,
    /// Where the entrypoint is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The revision that the manifest asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The revision that takes traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_revision: Option<String>,
    /// The revision that the activator is asked to verify: it keeps one instance of it and says in `verified` what became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifying: Option<String>,
    /// What became of the revision that is being verified. It stands as long as it is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verified>,
    /// How large the image of the revision is. Absent where no `maxSize` asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
    /// Older revisions that took traffic and can be gone back to, the last one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept_revisions: Vec<String>,
    /// The rollback that the annotation `thaw.dev/rollback` asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    /// Instances of all revisions of the entrypoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<i32>,
    /// How the last boot ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_boot: Option<LastBoot>,
}

/// How a boot ended. Written only when outcome, reason, revision or image differ from what stands there, so that a busy function writes
/// nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastBoot {
    /// When the outcome changed.
    pub at: Time,
    /// The revision that was booted.
    #[serde(default)]
    pub revision: String,
    /// How it ended.
    pub outcome: BootOutcome,
    /// Kubernetes' reason for a failure, such as ErrImagePull. Empty after a success.
    #[serde(default)]
    pub reason: String,
    /// What a person should read.
    #[serde(default)]
    pub message: String,
    /// From asking for the instance to its first accepted connection, or to the failure, in seconds.
    pub duration: f64,
    /// The image that the container ran, by its digest: what a tag stood for. Absent as long as the node has not said it, which it does when
    /// the container has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// What became of a revision that is being verified. Written only when outcome, reason or revision change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// When the outcome changed.
    pub at: Time,
    /// The revision.
    #[serde(default)]
    pub revision: String,
    /// Whether an instance of it answered. A failure is tried again for as long as it is asked for.
    pub outcome: BootOutcome,
    /// Why it did not, such as ErrImagePull. Empty after a success.
    #[serde(default)]
    pub reason: String,
    /// What a person should read.
    #[serde(default)]
    pub message: String,
}

/// The size of a revision's image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// The revision.
    #[serde(default)]
    pub revision: String,
    /// Who says so.
    pub by: Measurer,
    /// How many bytes: the compressed layers if the registry says so, what it takes on a node if that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// Why nobody could say it before the revision booted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Who says how large an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Measurer {
    /// Its registry.
    Registry,
    /// A node that has it.
    Node,
    /// Nobody yet: the registry does not say it, and no node has it. The revision may boot, and is refused afterwards if it is too large.
    Nobody,
}

/// A rollback of an entrypoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// The revision that was gone back to.
    #[serde(default)]
    pub revision: String,
    /// The revision that the manifest asked for at that moment. Absent once it has asked for another one, which ends the rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// How a boot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BootOutcome {
    /// The instance accepted a connection.
    Succeeded,
    /// It did not, and will not.
    Failed,
}
