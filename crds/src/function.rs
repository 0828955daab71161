//! The `Function` resource: what a user writes.
//!
//! Every field is optional unless its documentation says otherwise. Defaults are filled in by [`crate::entrypoint`] and not by the
//! API server, so that `spec.defaults` can stand between an entrypoint's own value and Thaw's.

// The schema derive repeats each type inside a private scope, where `pub` reaches nothing.
#![allow(unreachable_pub)]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, ResourceRequirements};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    pod::PodFields,
    status::FunctionStatus,
    values::{Bytes, Duration},
};

/// Serverless function: entrypoints (URL paths), each its own isolated deployment that goes to zero.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "thaw.dev",
    version = "v1alpha1",
    kind = "Function",
    namespaced,
    shortname = "fn",
    category = "all",
    category = "thaw",
    status = "FunctionStatus",
    derive = "PartialEq",
    doc = "Serverless function: entrypoints (URL paths), each its own isolated deployment that goes to zero.",
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(
        name = "READY",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "REASON",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "INSTANCES", type_ = "integer", json_path = ".status.instances"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$') && !self.metadata.name.contains('--')")
        .message("metadata.name: use at most 63 lower-case letters, digits and single dashes, starting with a letter: it becomes part of a host name")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.image) || (self.entrypoints.all(e, has(e.image) || (has(self.bundles) && self.bundles.exists(b, e.name in b.entrypoints))) && (!has(self.bundles) || self.bundles.all(b, has(b.image))))")
        .message("image: set spec.image, or an image on every bundle and on every entrypoint that is in none"),
    validation = Rule::new("self.entrypoints.all(e, self.entrypoints.exists_one(f, f.path == e.path))")
        .message("entrypoints: two entrypoints have the same path; give each its own"),
    validation = Rule::new("!has(self.bundles) || self.bundles.all(b, self.entrypoints.all(e, e.name != b.name))")
        .message("bundles: a bundle has the name of an entrypoint; give it one of its own"),
    validation = Rule::new("!has(self.bundles) || self.bundles.all(b, b.entrypoints.all(m, self.entrypoints.exists(e, e.name == m)))")
        .message("bundles: a bundle names an entrypoint that is not in spec.entrypoints; add it there with its path, or remove the name"),
    validation = Rule::new("!has(self.bundles) || self.entrypoints.all(e, self.bundles.filter(b, e.name in b.entrypoints).size() <= 1)")
        .message("bundles: an entrypoint is in two bundles; leave it in one"),
    validation = Rule::new(MEMBERS_ARE_PATHS)
        .message("entrypoints: one that is in a bundle sets only name, path and match; move its other fields to the bundle")
)]
pub struct FunctionSpec {
    /// Container image of every entrypoint that names none itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,

    /// Hosts of the function besides its default one, at most 16. Of several Functions that want a host the oldest has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 254)),
        extend("x-kubernetes-list-type" = "set")
    )]
    #[x_kube(validation = Rule::new("self.all(h, h.matches('^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?[.])+[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?[.]?$'))")
        .message("hosts: write DNS names of two labels or more, such as shop.example.com, without scheme, wildcard, port and path"))]
    pub hosts: Vec<String>,

    /// `Public` (the default), or `Cluster`: only callers inside the cluster get an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<Visibility>,

    /// Revisions with a larger image are refused before a pod of them starts: the sum of its compressed layers, as the registry has them. Of an
    /// image for several platforms the largest counts that may boot. Default: what Thaw's chart says, which is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<Bytes>,

    /// Values for every entrypoint and bundle. Their own value wins; maps, and `env` by name, are merged.
    #[serde(default, skip_serializing_if = "EntrypointFields::is_empty")]
    pub defaults: EntrypointFields,

    /// Entrypoints that share one deployment and its instances, so that one that is warm answers for all of them. Up to 25, with names that no
    /// other bundle or entrypoint has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 25),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub bundles: Vec<BundleSpec>,

    /// The paths of the function, each with its own deployment unless it is in a bundle. Required, 1 to 100; names and paths are unique.
    #[schemars(
        length(min = 1, max = 100),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub entrypoints: Vec<EntrypointSpec>,

    /// Older revisions of each entrypoint that are kept, at no instance, to go back to. Default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub revision_history_limit: Option<i32>,
}

/// Who may call a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Visibility {
    /// Everybody whom the ingress controller lets in.
    #[default]
    Public,
    /// Callers inside the cluster.
    Cluster,
}

/// CEL: an entrypoint of a bundle sets only name, path and match.
const MEMBERS_ARE_PATHS: &str = "!has(self.bundles) || self.entrypoints.all(e, !self.bundles.exists(b, e.name in b.entrypoints) || !(\
    has(e.image) || has(e.command) || has(e.args) || has(e.workingDir) || has(e.env) || has(e.envFrom) || has(e.port) || has(e.protocol) || \
    has(e.resources) || has(e.scale) || has(e.freeze) || has(e.limits) || has(e.timeouts) || has(e.verify) || has(e.onDisconnect) || has(e.pod)))";

/// Entrypoints that share instances.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleSpec {
    /// A DNS label, unique among the function's bundles and entrypoints. Required.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')")
        .message("name: use lower-case letters, digits and dashes, starting with a letter and ending with a letter or digit"))]
    pub name: String,

    /// Names of its entrypoints, which set only name, path and match. Required, 1 to 100; an entrypoint is in one bundle at most.
    #[schemars(
        length(min = 1, max = 100),
        inner(length(min = 1, max = 63)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub entrypoints: Vec<String>,

    /// Image of the bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,

    /// The fields that `spec.defaults` has too.
    #[serde(flatten)]
    pub fields: EntrypointFields,
}

/// One path of a function and what answers it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntrypointSpec {
    /// A DNS label, unique in the function. Required.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')")
        .message("name: use lower-case letters, digits and dashes, starting with a letter and ending with a letter or digit"))]
    pub name: String,

    /// The path that this entrypoint answers: this one and everything below it, by whole segments. Required.
    #[schemars(length(max = 255))]
    #[x_kube(
        validation = Rule::new("self.startsWith('/')").message("path: start with a slash, as in /api/orders"),
        validation = Rule::new("self == '/' || !self.endsWith('/')").message("path: leave out the slash at the end; everything below the path belongs to it"),
        validation = Rule::new("!self.contains('//')").message("path: leave out the empty segment (//)"),
        validation = Rule::new("!self.matches('(^|/)[.][.]?(/|$)')").message("path: leave out the segments . and .. ; write the path that clients will see"),
        validation = Rule::new("self.matches('^[A-Za-z0-9/._~!$&()*+,;=:@-]*$')").message("path: use letters, digits and -._~!$&()*+,;=:@ only, without percent-encoding, query or fragment")
    )]
    pub path: String,

    /// `Prefix` (the default) or `Exact`. The longest path wins.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub path_match: Option<PathMatch>,

    /// Image of this entrypoint: only its code is fetched and booted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,

    /// The fields that `spec.defaults` has too.
    #[serde(flatten)]
    pub fields: EntrypointFields,
}

/// How an entrypoint's path is compared with that of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PathMatch {
    /// The path and everything below it.
    #[default]
    Prefix,
    /// The path alone.
    Exact,
}

/// The fields that an entrypoint, a bundle and `spec.defaults` share.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntrypointFields {
    /// Replaces the image's entry point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub command: Option<Vec<String>>,

    /// Arguments of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub args: Option<Vec<String>>,

    /// Working directory of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub working_dir: Option<String>,

    /// Environment variables, as in a Pod. PORT, K_SERVICE, K_REVISION, K_CONFIGURATION and THAW_* are set by the platform.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    pub env: Vec<EnvVar>,

    /// Environment variables from ConfigMaps and Secrets, as in a Pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub env_from: Vec<EnvFromSource>,

    /// The port that the container is told to listen on, as `$PORT`. Default 8080.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,

    /// What the container speaks on its port. `HTTP1` (the default), WebSocket included; `H2C`: HTTP/2 without TLS, for gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,

    /// Requests and limits of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// How many instances there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<ScaleSpec>,

    /// Whether an instance runs between invocations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<FreezeSpec>,

    /// How much may wait and how large a request may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsSpec>,

    /// How long each wait may last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<TimeoutsSpec>,

    /// What a new revision has to do before it takes the traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<VerifySpec>,

    /// What becomes of an invocation whose client leaves. `Finish` (the default): it keeps its slot until it ends. `Cancel`: the connection
    /// to the instance is cut, which is how the function learns of it, and the instance is not used again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_disconnect: Option<OnDisconnect>,

    /// Fields of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodFields>,
}

impl EntrypointFields {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a container speaks on its port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// HTTP/1.1, and what a connection of it can be upgraded to.
    #[default]
    #[serde(rename = "HTTP1")]
    Http1,
    /// HTTP/2 with prior knowledge (RFC 9113 §3.3).
    #[serde(rename = "H2C")]
    H2c,
}

impl Protocol {
    /// Whether it is the default, which a revision does not mention.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What becomes of an invocation whose client leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDisconnect {
    /// It goes on to its end.
    #[default]
    Finish,
    /// It is cut, and its instance goes.
    Cancel,
}

/// How many instances an entrypoint has: `clamp(min, ceil(demand / concurrency), max)`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.min) || !has(self.max) || self.min <= self.max")
    .message("scale: min is larger than max; lower min or raise max"))]
pub struct ScaleSpec {
    /// Instances that stay without demand. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10000))]
    pub min: Option<i32>,

    /// The most instances. Default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub max: Option<i32>,

    /// Invocations at once in one instance. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub concurrency: Option<i32>,

    /// How many boots a queue is worth. `PerRequest` (the default): one for each waiting request. `Drain`: only for what will not be served
    /// sooner by the instances that are there or booting; fewer instances for short work, a little more waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<Burst>,

    /// An instance unused this long goes. Default 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_after: Option<Duration>,
}

/// How many boots a queue is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Burst {
    /// One for each waiting request: the law that a developer can predict.
    #[default]
    PerRequest,
    /// Only for the part that the present and booting instances cannot finish before a new one would be up.
    Drain,
}

/// Whether an instance runs between invocations. Its memory, files and sub-processes are kept either way.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FreezeSpec {
    /// `Auto` (the default): it does not run between invocations wherever something can freeze it: always in local mode, on Kubernetes
    /// where a node agent runs. `Never`: it goes on running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FreezeMode>,

    /// An instance unused this long is frozen. Default 100ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Duration>,
}

/// Whether an instance runs between invocations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FreezeMode {
    /// Not where something can freeze it.
    #[default]
    Auto,
    /// It does.
    Never,
}

/// How much may wait and how large a request may be.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitsSpec {
    /// Invocations that may wait for a slot or a boot; more are answered `QueueFull`. Default 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100000))]
    pub queue: Option<i32>,

    /// Largest request body; a larger one is answered `RequestTooLarge`. Default 100Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_bytes: Option<Bytes>,

    /// How much of a request's body is read while it waits for a slot, so that a slow client uses up its own time and not that of an
    /// instance. Default 64Ki; `0` reads nothing ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer_bytes: Option<Bytes>,
}

/// How long each wait may last. `0s` means no limit. A boot never counts against the others.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimeoutsSpec {
    /// For a slot, while some instance of the entrypoint serves. Default 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Duration>,

    /// For an instance to accept its first connection, and for a request while no instance serves. Default 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<Duration>,

    /// From the request's last byte sent to the answer's head. Default 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Duration>,

    /// Silence within the answer or in both directions of a WebSocket, or a request that is not read. Default 300s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Duration>,

    /// Of the whole invocation. Default 300s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
}

/// What a new revision has to do before it takes the traffic. Until then the older one keeps it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifySpec {
    /// `Update` (the default): an instance of it has to accept a connection, unless it is the entrypoint's very first revision. `Always`: the
    /// first one too. `Never`: it takes the traffic unseen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<VerifyWhen>,

    /// A `GET` of this path at the instance has to be answered with 2xx or 3xx, within `timeouts.boot`. Without it, accepting is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(
        validation = Rule::new("self.startsWith('/')").message("verify.path: start with a slash, as in /healthz"),
        validation = Rule::new("self.matches('^[A-Za-z0-9/._~!$&()*+,;=:@%?-]*$')").message("verify.path: use letters, digits and -._~!$&()*+,;=:@%? only")
    )]
    pub path: Option<String>,
}

/// When a new revision is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VerifyWhen {
    /// When there is one that it follows.
    #[default]
    Update,
    /// The first one too.
    Always,
    /// It takes the traffic unseen.
    Never,
}

/// Maps are merged by key; `winner` wins.
pub(crate) fn merged<V: Clone>(
    base: &BTreeMap<String, V>,
    winner: &BTreeMap<String, V>,
) -> BTreeMap<String, V> {
    let mut all = base.clone();
    all.extend(winner.clone());
    all
}
