//! What Thaw reports on a Function. The operator writes all of it but [`LastBoot`], which is the activator's.

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
    /// Instances of all revisions of the entrypoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<i32>,
    /// How the last boot ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_boot: Option<LastBoot>,
}

/// How a boot ended. Written only when outcome, reason or revision differ from what stands there, so that a busy function writes nothing.
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
}

/// How a boot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BootOutcome {
    /// The instance accepted a connection.
    Succeeded,
    /// It did not, and will not.
    Failed,
}
