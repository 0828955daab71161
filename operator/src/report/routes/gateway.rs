//! What the Gateway says about an HTTPRoute, whose status its controller writes.

use crds::{conditions::Reason, function::Function, names};
use kube::{ResourceExt, api::DynamicObject};
use serde::Deserialize;
use tracing::warn;

use crate::attachment::Attachment;

/// As much of an HTTPRoute's status as matters here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RouteStatus {
    parents: Vec<Parent>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parent {
    conditions: Vec<Said>,
}

/// One condition of a parent.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Said {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    reason: String,
    message: String,
    observed_generation: Option<i64>,
}

/// Why the hosts of an HTTPRoute that is as wanted do not lead to the Function: the Gateway refuses it or what it leads to, or has not
/// said yet that it takes it.
///
/// What was said about an older spec does not count. That is also how a Gateway is told from one that was set before: the name is part
/// of the spec. The Gateway's message stays in the log, since it may name what other namespaces have there.
pub(super) fn untaken(
    function: &Function,
    wanted: &Attachment,
    found: Option<&DynamicObject>,
) -> Option<(Reason, String)> {
    let said = found.map_or_else(Vec::new, |found| said(wanted, found));
    let name = wanted.name();
    let is_refusal = |said: &&Said| {
        said.status == "False" && ["Accepted", "ResolvedRefs"].contains(&said.type_.as_str())
    };
    if let Some(Said {
        reason, message, ..
    }) = said.iter().find(is_refusal)
    {
        warn!(
            namespace = function.namespace(),
            function = function.name_any(),
            name,
            reason,
            message,
            "the Gateway does not take the HTTPRoute"
        );
        let told = format!(
            "hosts: the Gateway does not take HTTPRoute {name}: {reason}; whoever runs Thaw finds more in the log of its operator"
        );
        return Some((Reason::RouteNotAccepted, told));
    }
    let mut said = said.iter();
    let is_taken = said.any(|said| said.type_ == "Accepted" && said.status == "True");
    let waits = || format!("hosts: the Gateway has not taken HTTPRoute {name} yet");
    (!is_taken).then(|| (Reason::Progressing, waits()))
}

/// What is said about the object as it is wanted. The cache may still show another one.
fn said(wanted: &Attachment, found: &DynamicObject) -> Vec<Said> {
    let applied = |object: &DynamicObject| object.annotations().get(names::APPLIED).cloned();
    if applied(found) != applied(&wanted.object) {
        return Vec::new();
    }
    let status = RouteStatus::deserialize(&found.data["status"]).unwrap_or_default();
    let conditions = status.parents.into_iter();
    let conditions = conditions.flat_map(|parent| parent.conditions);
    let generation = found.metadata.generation;
    let is_current = |said: &Said| said.observed_generation == generation;
    conditions.filter(is_current).collect()
}
