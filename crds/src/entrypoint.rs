//! An entrypoint or bundle with every default filled in, and the revision of its pod template.
//!
//! The operator renders a Deployment from [`Template`]; the activator reads the rest. Both start from [`resolve`], so they cannot
//! disagree about a default.

mod bundle;

use std::time::Duration;

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, ResourceRequirements};
use serde::Serialize;

use crate::{
    function::{
        BundleSpec, Burst, EntrypointFields, EntrypointSpec, FreezeMode, FreezeSpec, FunctionSpec,
        LimitsSpec, OnDisconnect, PathMatch, Protocol, ScaleSpec, TimeoutsSpec, VerifySpec,
        VerifyWhen,
    },
    hosts, names,
    pod::PodFields,
    values,
};

/// Counts changes in how a [`Template`] becomes a pod. It is part of every revision.
pub const RENDERER: u32 = 1;

/// An entrypoint with nothing left to default; or a bundle, which is several of them in one: everywhere but in routes it counts as an entrypoint
/// of its own name.
#[derive(Clone, Debug, PartialEq)]
pub struct Entrypoint {
    /// Name, unique in the function: that of the entrypoint, or of the bundle.
    pub name: String,
    /// Whether it is a bundle.
    pub is_bundle: bool,
    /// What is routed here, in the order of the manifest: an entrypoint's own path, or that of each entrypoint of a bundle.
    pub routes: Vec<Route>,
    /// What the pod is made from. A change makes a new revision; a change of anything else rolls nothing.
    pub template: Template,
    /// How many instances there are.
    pub scale: Scale,
    /// An instance unused this long is frozen, where something can freeze it; `None` is never.
    pub freeze_after: Option<Duration>,
    /// How much may wait.
    pub limits: Limits,
    /// How long each wait may last.
    pub timeouts: Timeouts,
    /// What a new revision has to do before it takes the traffic.
    pub verify: Verify,
    /// What becomes of an invocation whose client leaves.
    pub on_disconnect: OnDisconnect,
}

/// A path and how it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Name of the entrypoint that has the path.
    pub entrypoint: String,
    /// The path.
    pub path: String,
    /// How it is compared.
    pub path_match: PathMatch,
}

/// What a user wrote about the pod of an entrypoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Template {
    /// Container image.
    pub image: String,
    /// Replaces the image's entry point.
    pub command: Option<Vec<String>>,
    /// Arguments.
    pub args: Option<Vec<String>>,
    /// Working directory.
    pub working_dir: Option<String>,
    /// Environment of the user; the platform's comes on top.
    pub env: Vec<EnvVar>,
    /// Environment from ConfigMaps and Secrets.
    pub env_from: Vec<EnvFromSource>,
    /// The port to listen on.
    pub port: i32,
    /// What is spoken there.
    #[serde(skip_serializing_if = "Protocol::is_default")]
    pub protocol: Protocol,
    /// Requests and limits.
    pub resources: Option<ResourceRequirements>,
    /// Fields of the pod.
    pub pod: PodFields,
    /// A hash of what the Secrets and ConfigMaps in use say, where the Function asks for new revisions when they change. It is not in the
    /// manifest, so the operator fills it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
}

/// How many instances there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Instances that stay without demand.
    pub min: u32,
    /// The most instances; at least `min` and 1.
    pub max: u32,
    /// Invocations at once in one instance; at least 1.
    pub concurrency: u32,
    /// How many boots a queue is worth.
    pub burst: Burst,
    /// An instance unused this long goes.
    pub idle_after: Duration,
}

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Invocations that may wait for a slot.
    pub queue: usize,
    /// Largest request body in bytes.
    pub request_bytes: u64,
    /// Bytes of a request's body that are read while it waits.
    pub buffer_bytes: u64,
}

/// How long each wait may last; `None` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a slot while some instance serves.
    pub queue: Option<Duration>,
    /// For an instance to accept.
    pub boot: Option<Duration>,
    /// For the head of the answer.
    pub first_byte: Option<Duration>,
    /// Silence within the answer or in both directions of a WebSocket, or a request that is not read.
    pub idle: Option<Duration>,
    /// Of the whole invocation.
    pub duration: Option<Duration>,
}

/// What a new revision has to do before it takes the traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verify {
    /// Whether it has to do anything.
    pub when: VerifyWhen,
    /// What it has to answer; `None`: to accept a connection is enough.
    pub path: Option<String>,
}

/// A manifest that breaks a rule which the CustomResourceDefinition cannot state. The message names the field and what to do.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("spec.{field}: {problem}")]
pub struct InvalidSpec {
    /// Path of the field below `spec`.
    pub field: String,
    /// What is wrong and what to do.
    pub problem: String,
}

/// Every bundle of a function and every entrypoint that is in none, in the order of the manifest, if the manifest is valid.
///
/// # Errors
/// The first rule that the manifest breaks.
pub fn resolve(spec: &FunctionSpec) -> Result<Vec<Entrypoint>, InvalidSpec> {
    hosts::check(spec)?;
    bundle::check(spec)?;
    let entrypoints = read(spec);
    entrypoints.iter().try_for_each(check)?;
    Ok(entrypoints)
}

/// Every bundle of a function and every entrypoint that is in none, in the order of the manifest, valid or not: a manifest that breaks a rule
/// keeps its routes.
pub fn read(spec: &FunctionSpec) -> Vec<Entrypoint> {
    let bundles = spec.bundles.iter().map(|own| {
        let BundleSpec {
            name,
            entrypoints: _,
            image,
            fields,
        } = own;
        let routes = bundle::members(spec, own).map(Route::of).collect();
        let filled = read_one(spec, image.as_ref(), fields.clone());
        Entrypoint {
            name: name.clone(),
            is_bundle: true,
            routes,
            ..filled
        }
    });
    let alone = bundle::alone(spec).map(|own| Entrypoint {
        name: own.name.clone(),
        routes: vec![Route::of(own)],
        ..read_one(spec, own.image.as_ref(), own.fields.clone())
    });
    let all = bundles.chain(alone);
    all.filter(|entrypoint| !entrypoint.routes.is_empty())
        .collect()
}

/// Names of what [`read`] returns.
pub fn names(spec: &FunctionSpec) -> impl Iterator<Item = &str> {
    let bundles = spec.bundles.iter().map(|bundle| bundle.name.as_str());
    bundles.chain(bundle::alone(spec).map(|entrypoint| entrypoint.name.as_str()))
}

/// Name of the bundle that an entrypoint is in.
pub fn bundle_of<'a>(spec: &'a FunctionSpec, entrypoint: &str) -> Option<&'a str> {
    bundle::of(spec, entrypoint).map(|bundle| bundle.name.as_str())
}

/// Without name and routes.
fn read_one(spec: &FunctionSpec, image: Option<&String>, own: EntrypointFields) -> Entrypoint {
    let EntrypointFields {
        command,
        args,
        working_dir,
        env,
        env_from,
        port,
        protocol,
        resources,
        scale,
        freeze,
        limits,
        timeouts,
        verify,
        on_disconnect,
        pod,
    } = own;
    let base = spec.defaults.clone();
    Entrypoint {
        name: String::new(),
        is_bundle: false,
        routes: Vec::new(),
        template: Template {
            image: image.or(spec.image.as_ref()).cloned().unwrap_or_default(),
            command: command.or(base.command),
            args: args.or(base.args),
            working_dir: working_dir.or(base.working_dir),
            env: merged_env(base.env, env),
            env_from: if env_from.is_empty() {
                base.env_from
            } else {
                env_from
            },
            port: port.or(base.port).unwrap_or(8080),
            protocol: protocol.or(base.protocol).unwrap_or_default(),
            resources: merged_resources(base.resources, resources),
            pod: pod.unwrap_or_default().over(base.pod.unwrap_or_default()),
            config: None,
        },
        scale: resolve_scale(scale.unwrap_or_default(), base.scale.unwrap_or_default()),
        freeze_after: resolve_freeze(freeze.unwrap_or_default(), base.freeze.unwrap_or_default()),
        limits: resolve_limits(limits.unwrap_or_default(), base.limits.unwrap_or_default()),
        timeouts: resolve_timeouts(
            timeouts.unwrap_or_default(),
            base.timeouts.unwrap_or_default(),
        ),
        verify: resolve_verify(verify.unwrap_or_default(), base.verify.unwrap_or_default()),
        on_disconnect: on_disconnect.or(base.on_disconnect).unwrap_or_default(),
    }
}

/// How many older revisions of an entrypoint are kept.
pub fn revision_history_limit(spec: &FunctionSpec) -> usize {
    let limit = spec.revision_history_limit.unwrap_or(5);
    usize::try_from(limit).unwrap_or(0)
}

/// The rules that the CustomResourceDefinition cannot state.
fn check(entrypoint: &Entrypoint) -> Result<(), InvalidSpec> {
    let Entrypoint {
        template, scale, ..
    } = entrypoint;
    let invalid = |field: &str, problem: String| {
        let field = format!("{}.{field}", entrypoint.field());
        Err(InvalidSpec { field, problem })
    };
    if template.image.is_empty() {
        return invalid("image", "set it, or set spec.image".to_owned());
    }
    let mut variables = template.env.iter().map(|variable| variable.name.as_str());
    if let Some(reserved) = variables.find(|name| names::RESERVED_ENV.contains(name)) {
        let instead = if reserved == "PORT" {
            " and set port"
        } else {
            ""
        };
        return invalid(
            "env",
            format!("{reserved} is set by Thaw; remove it{instead}"),
        );
    }
    if scale.min > scale.max {
        let problem = "is larger than max";
        let after = "after spec.defaults is filled in";
        return invalid(
            "scale",
            format!("min {} {problem} {} {after}", scale.min, scale.max),
        );
    }
    if let Some((field, value)) = template.resources.as_ref().and_then(unreadable_quantity) {
        let example = "write a number with a unit, such as 250m or 64Mi";
        return invalid(
            &format!("resources.{field}"),
            format!("{value:?} is not a quantity; {example}"),
        );
    }
    if let Some(mount) = unknown_mount(&template.pod) {
        return invalid(
            "pod.volumeMounts",
            format!("no volume is named {mount:?}; add it to pod.volumes"),
        );
    }
    Ok(())
}

impl Entrypoint {
    /// Where it stands in the manifest, below `spec`.
    pub fn field(&self) -> String {
        let list = if self.is_bundle {
            "bundles"
        } else {
            "entrypoints"
        };
        format!("{list}[{}]", self.name)
    }
}

impl Route {
    fn of(entrypoint: &EntrypointSpec) -> Self {
        Self {
            entrypoint: entrypoint.name.clone(),
            path: entrypoint.path.clone(),
            path_match: entrypoint.path_match.unwrap_or_default(),
        }
    }
}

impl Template {
    /// Name of this immutable template: a hash of what the user wrote, whose it is, and how it is rendered.
    pub fn revision(&self, function: &str, entrypoint: &str) -> String {
        let identity = (RENDERER, function, entrypoint, self);
        let bytes =
            serde_json::to_vec(&identity).expect("a template is plain data with string keys");
        names::hash(&bytes, 10)
    }
}

fn merged_env(base: Vec<EnvVar>, own: Vec<EnvVar>) -> Vec<EnvVar> {
    let mut all: Vec<EnvVar> = base
        .into_iter()
        .filter(|b| own.iter().all(|o| o.name != b.name))
        .collect();
    all.extend(own);
    all
}

fn merged_resources(
    base: Option<ResourceRequirements>,
    own: Option<ResourceRequirements>,
) -> Option<ResourceRequirements> {
    let (Some(base), Some(own)) = (&base, &own) else {
        return own.or(base);
    };
    let merge = |base: &Option<_>, own: &Option<_>| match (base, own) {
        (Some(base), Some(own)) => Some(crate::function::merged(base, own)),
        _ => own.clone().or_else(|| base.clone()),
    };
    Some(ResourceRequirements {
        claims: own.claims.clone().or_else(|| base.claims.clone()),
        limits: merge(&base.limits, &own.limits),
        requests: merge(&base.requests, &own.requests),
    })
}

fn resolve_scale(own: ScaleSpec, base: ScaleSpec) -> Scale {
    let ScaleSpec {
        min,
        max,
        concurrency,
        burst,
        idle_after,
    } = own;
    let count = |own: Option<i32>, base: Option<i32>, default: u32, least: u32| {
        own.or(base)
            .map_or(default, |n| u32::try_from(n).unwrap_or(0))
            .max(least)
    };
    Scale {
        min: count(min, base.min, 0, 0),
        max: count(max, base.max, 100, 1),
        concurrency: count(concurrency, base.concurrency, 1, 1),
        burst: burst.or(base.burst).unwrap_or_default(),
        idle_after: idle_after
            .or(base.idle_after)
            .map_or(Duration::from_secs(60), values::Duration::get),
    }
}

fn resolve_freeze(own: FreezeSpec, base: FreezeSpec) -> Option<Duration> {
    let FreezeSpec { mode, after } = own;
    let after = after
        .or(base.after)
        .map_or(Duration::from_millis(100), values::Duration::get);
    match mode.or(base.mode).unwrap_or_default() {
        FreezeMode::Auto => Some(after),
        FreezeMode::Never => None,
    }
}

fn resolve_limits(own: LimitsSpec, base: LimitsSpec) -> Limits {
    let LimitsSpec {
        queue,
        request_bytes,
        buffer_bytes,
    } = own;
    let bytes = |own: Option<values::Bytes>, base: Option<values::Bytes>, default: u64| {
        own.or(base).map_or(default, |bytes| bytes.0)
    };
    Limits {
        queue: queue
            .or(base.queue)
            .map_or(1000, |n| usize::try_from(n).unwrap_or(0)),
        request_bytes: bytes(request_bytes, base.request_bytes, 100 << 20),
        buffer_bytes: bytes(buffer_bytes, base.buffer_bytes, 64 << 10),
    }
}

fn resolve_timeouts(own: TimeoutsSpec, base: TimeoutsSpec) -> Timeouts {
    let TimeoutsSpec {
        queue,
        boot,
        first_byte,
        idle,
        duration,
    } = own;
    let limit = |own: Option<values::Duration>, base: Option<values::Duration>, default: u64| {
        let limit = own
            .or(base)
            .map_or(Duration::from_secs(default), values::Duration::get);
        (!limit.is_zero()).then_some(limit)
    };
    Timeouts {
        queue: limit(queue, base.queue, 30),
        boot: limit(boot, base.boot, 60),
        first_byte: limit(first_byte, base.first_byte, 60),
        idle: limit(idle, base.idle, 300),
        duration: limit(duration, base.duration, 300),
    }
}

fn resolve_verify(own: VerifySpec, base: VerifySpec) -> Verify {
    let VerifySpec { when, path } = own;
    Verify {
        when: when.or(base.when).unwrap_or_default(),
        path: path.or(base.path),
    }
}

fn unreadable_quantity(resources: &ResourceRequirements) -> Option<(String, &str)> {
    let kinds = [
        ("requests", &resources.requests),
        ("limits", &resources.limits),
    ];
    let all = kinds.into_iter().flat_map(|(kind, amounts)| {
        let amounts = amounts.iter().flatten();
        amounts.map(move |(name, amount)| (format!("{kind}.{name}"), amount.0.as_str()))
    });
    let mut unreadable = all.filter(|(_, amount)| values::quantity(amount).is_none());
    unreadable.next()
}

fn unknown_mount(pod: &PodFields) -> Option<&str> {
    let volumes = pod.volumes.as_deref().unwrap_or_default();
    let mounts = pod.volume_mounts.as_deref().unwrap_or_default();
    let unknown = mounts
        .iter()
        .find(|mount| volumes.iter().all(|volume| volume.name != mount.name));
    unknown.map(|mount| mount.name.as_str())
}

#[cfg(test)]
mod tests;
