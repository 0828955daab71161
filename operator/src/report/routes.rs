//! What keeps hosts from leading to a Function.

mod gateway;

use crds::{conditions::Reason, function::Function};
use kube::ResourceExt;
use tracing::warn;

use crate::{
    apply::{Applied, Outcome, Problem},
    attachment::{Attachment, HTTP_ROUTE, Home, INGRESS, Kind, SERVICE},
    desired::Plan,
    hosts::{Hosts, Refused},
    observe::Observed,
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
    observed: &Observed,
    plan: &Plan,
    applied: &Applied,
) -> Vec<(Reason, String)> {
    let told = |(attachment, outcome): (&Attachment, &Outcome)| match &outcome.problem {
        Some(problem) => is_route(attachment.kind).then(|| tell(function, attachment, problem)),
        None if attachment.kind == HTTP_ROUTE => {
            let found = observed.attachment(attachment.kind, attachment.name());
            gateway::untaken(function, attachment, found)
        }
        None => None,
    };
    let pairs = plan.attachments.iter().zip(&applied.attachments);
    pairs.filter_map(told).collect()
}

fn tell(function: &Function, attachment: &Attachment, problem: &Problem) -> (Reason, String) {
    let kind = attachment.kind;
    let object = format!("{} {}", kind.name, attachment.name());
    let what = what(function, attachment);
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
            format!("{what}: {object} {}", foreign(attachment)),
        ),
        Problem::Refused(message) => (
            Reason::ChildRefused,
            format!(
                "{what}: the API server refused {object}{}",
                refusal(function, attachment, message)
            ),
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

/// What does not lead to the Function.
fn what(function: &Function, attachment: &Attachment) -> String {
    if attachment.kind == SERVICE {
        let namespace = function.namespace().unwrap_or_default();
        format!("http://{}.{namespace}", attachment.name())
    } else {
        "hosts".to_owned()
    }
}

/// What to do about an object of somebody else. In the activator's namespace, whoever reads this can do nothing.
fn foreign(attachment: &Attachment) -> String {
    match attachment.kind.home {
        Home::Function => {
            "exists and is not this Function's; remove it, or rename the function".to_owned()
        }
        Home::Activator => format!(
            "exists in namespace {} and is not this Function's; have whoever runs Thaw remove it, or rename the function",
            attachment.object.namespace().unwrap_or_default()
        ),
    }
}

/// What the API server said, for those who may know: beside the activator, a webhook may name what another namespace has there.
fn refusal(function: &Function, attachment: &Attachment, message: &str) -> String {
    match attachment.kind.home {
        Home::Function => format!(": {message}"),
        Home::Activator => {
            warn!(
                namespace = function.namespace(),
                function = function.name_any(),
                kind = attachment.kind.name,
                name = attachment.name(),
                message,
                "refused by the API server"
            );
            "; whoever runs Thaw finds the reason in the log of its operator".to_owned()
        }
    }
}
