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
    /// The hosts of the manifest that the function has. They lead to it, and no others besides the default one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Ready, Reconciling, Stalled, RoutesReady.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Instances of all entrypoints together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<i32>,
    /// One for each bundle of the manifest, and for each entrypoint that is in none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub entrypoints: Vec<EntrypointStatus>,
}

impl FunctionStatus {
    /// Which revision answers a path, as `(entrypoint, revision)`: the one that is said to, whatever entrypoint or bundle it is of; or, if nothing
    /// answers it yet, the one that takes the traffic of the entrypoint or bundle that the path is of now.
    ///
    /// Operator and activator ask the same, so a path goes on being answered from the moment a manifest gives it to another entrypoint.
    pub fn answering(&self, entrypoint: &str, path: &str) -> Option<(&str, &str)> {
        let mut all = self.entrypoints.iter();
        let said = all.find_map(|status| status.answering(path));
        let mut all = self.entrypoints.iter();
        said.or_else(|| all.find(|status| status.name == entrypoint)?.ready())
    }
}

impl EntrypointStatus {
    fn answering(&self, path: &str) -> Option<(&str, &str)> {
        let mut predecessors = self.predecessors.iter();
        if let Some(before) = predecessors.find(|before| before.path == path) {
            return Some((&before.entrypoint, &before.revision));
        }
        let bundled = self.entrypoints.iter().map(|bundled| &bundled.url);
        let mut urls = self.url.iter().chain(bundled);
        urls.find(|url| path_of(url) == path)?;
        self.ready()
    }

    fn ready(&self) -> Option<(&str, &str)> {
        Some((&self.name, self.ready_revision.as_deref()?))
    }
}

/// The path of an address that [`EntrypointStatus`] holds.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("/", |at| &rest[at..])
}

/// Status of one entrypoint, or of one bundle.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntrypointStatus {
    /// Name of the entrypoint, or of the bundle.
    pub name: String,
    /// Where the entrypoint is reached. A bundle has one for each of its entrypoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The entrypoints of a bundle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoints: Vec<BundledStatus>,
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
    /// What still answers paths that another entrypoint or bundle had before, until a revision here takes them over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub predecessors: Vec<Predecessor>,
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

/// Status of an entrypoint that is in a bundle; all else is said of the bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BundledStatus {
    /// Name of the entrypoint.
    pub name: String,
    /// Where it is reached.
    #[serde(default)]
    pub url: String,
}

/// What answers a path until its new entrypoint or bundle does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Predecessor {
    /// The path.
    pub path: String,
    /// The entrypoint or bundle that had it before.
    pub entrypoint: String,
    /// Its revision that took the traffic.
    pub revision: String,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn status(yaml: &str) -> FunctionStatus {
        serde_yaml::from_str(yaml).unwrap()
    }

    #[test]
    fn a_path_is_answered_by_what_is_said_to_answer_it_whoever_has_it_now() {
        let status = status(
            "entrypoints:
             - {name: home, url: 'http://shop--prod.example.com/', readyRevision: h1}
             - {name: web, entrypoints: [{name: about, url: 'http://x/about'}, {name: faq, url: 'http://x/faq'}], readyRevision: w1,
                predecessors: [{path: /faq, entrypoint: help, revision: f1}]}
             - {name: new, url: 'http://x/new'}",
        );
        assert_eq!(status.answering("home", "/"), Some(("home", "h1")));
        assert_eq!(status.answering("web", "/"), Some(("home", "h1")));
        assert_eq!(status.answering("web", "/about"), Some(("web", "w1")));
        assert_eq!(status.answering("web", "/faq"), Some(("help", "f1")));
        // A path that nobody had.
        assert_eq!(status.answering("web", "/x"), Some(("web", "w1")));
        assert_eq!(status.answering("home", "/new"), Some(("home", "h1")));
        assert_eq!(status.answering("new", "/new"), None);
        assert_eq!(status.answering("none", "/x"), None);
    }
}
