//! What keeps hosts from leading to a Function.

use crds::{conditions::Reason, function::Function};
use kube::ResourceExt;

use crate::{
    apply::{Applied, Outcome, Problem},
    attachment::{Attachment, HTTP_ROUTE, INGRESS, Kind, SERVICE},
    desired::Plan,
    hosts::{Hosts, Refused},
};

/// Whether a kind leads requests to a Function, so that what comes in its way is told here.
pub(super) fn is_route(kind: Kind) -> bool {
    [SERVICE, INGRESS, HTTP_ROUTE].contains(&kind)
}

/// Hosts that the Function has not: something that somebody has to change.
pub(super) fn refused(hosts: &Hosts) -> Option<(Reason, String)> {
    let first = hosts.refused.first()?;
    let messages: Vec<_> = hosts.refused.iter().map(Refused::message).collect();
    Some((first.reason(), messages.join("; ")))
}

/// Hosts that it has and that do not lead to it from everywhere. It serves at the others, which is why none of this is in the way of its
/// readiness: least of all the name inside the cluster, which may be that of a Service that was there first.
pub(super) fn unrouted(
    function: &Function,
    plan: &Plan,
    applied: &Applied,
) -> Vec<(Reason, String)> {
    let told = |(attachment, outcome): (&Attachment, &Outcome)| {
        let problem = outcome.problem.as_ref()?;
        is_route(attachment.kind).then(|| tell(function, attachment, problem))
    };
    let pairs = plan.attachments.iter().zip(&applied.attachments);
    pairs.filter_map(told).collect()
}

fn tell(function: &Function, attachment: &Attachment, problem: &Problem) -> (Reason, String) {
    let (kind, name) = (attachment.kind, attachment.name());
    let object = format!("{} {name}", kind.name);
    let what = if kind == SERVICE {
        let namespace = function.namespace().unwrap_or_default();
        format!("http://{name}.{namespace}")
    } else {
        "hosts".to_owned()
    };
    match problem {
        Problem::Absent => (
            Reason::GatewayMissing,
            format!(
                "{what}: the API server has no {} of {}/{}; have the Gateway API installed, or a gateway left out of the values of Thaw's chart",
                kind.name, kind.group, kind.version
            ),
        ),
        Problem::Foreign => (
            Reason::NameConflict,
            format!(
                "{what}: {object} exists and is not this Function's; remove it, or rename the function"
            ),
        ),
        Problem::Refused(message) => (
            Reason::ChildRefused,
            format!("{what}: the API server refused {object}: {message}"),
        ),
        Problem::Ending => (
            Reason::Progressing,
            format!("{what}: {object} is not written: its namespace is being deleted"),
        ),
        Problem::Transient => (
            Reason::Progressing,
            format!("{what}: {object} could not be written yet"),
        ),
    }
}
