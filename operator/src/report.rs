//! Tells people and the activator how a Function stands: gathers the facts, and writes the status and Events made from them.
//!
//! # Guarantees
//! The status is written only when it differs from what stands there, so a Function at rest costs no write.

mod entrypoints;
mod routes;

use std::time::Duration;

use crds::{
    FunctionStatus,
    conditions::Reason,
    function::{Function, Visibility},
    names,
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Api, Resource, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    core::ApiResource,
    runtime::events::Event,
};
use serde_json::json;
use tracing::{debug, info, warn};

use crate::{
    apply::{Applied, Problem, is_ending},
    desired::Plan,
    events::events,
    hosts::Hosts,
    observe::{self, Guarded, Observed},
    reconcile::{Context, Error},
    rollout::Rollbacks,
    status::{Difference, Facts, Trouble, difference, status},
};
use entrypoints::{reports, rollouts, unchanged};
use routes::{is_route, refused, unrouted};

/// How long a change of instance counts alone stays unreported, so that reporting takes no time from the boots it speaks of.
const COUNTS_DELAY: Duration = Duration::from_secs(1);

/// Reports what came of a plan, and says when to look again, if not only after a change.
///
/// # Errors
/// What another try may mend, after the report was written.
pub async fn report(
    function: &Function,
    observed: &Observed,
    plan: &Plan,
    applied: Applied,
    context: &Context,
) -> Result<Option<Duration>, Error> {
    let visibility = function.spec.visibility.unwrap_or_default();
    let addresses = urls(function, visibility, &observed.hosts, context);
    let mut troubles = troubles(plan, &applied);
    let mut unrouted = unrouted(function, observed, plan, &applied);
    // What is no refusal is an error, or left for another try, or ends with the Function.
    let is_refusal = |trouble: &Trouble| matches!(trouble, Trouble::Stalled(..));
    let has_to_look_again = troubles.iter().any(is_refusal) || unrouted.iter().any(may_end_unseen);
    if let Err(invalid) = &plan.wanted {
        let invalid = Trouble::Stalled(Reason::InvalidSpec, invalid.to_string());
        troubles.insert(0, invalid);
    }
    let entrypoints = match &plan.wanted {
        Ok(children) => {
            let rollbacks = Rollbacks::read(function);
            let rollouts = rollouts(function, observed, children, &applied, &rollbacks, &now());
            let verdicts = children.iter().map(|child| &child.verdict);
            troubles.extend(verdicts.filter_map(|verdict| verdict.trouble.clone()));
            troubles.extend(observed.findings.trouble.clone());
            troubles.extend(rollbacks.troubles);
            troubles.extend(rollouts.iter().flat_map(|rollout| rollout.troubles.clone()));
            let inside = inside(function);
            let url = addresses.first().unwrap_or(&inside);
            reports(observed, children, rollouts, url)
        }
        Err(_) => unchanged(&observed.previous, &observed.children),
    };
    if let Some((reason, message)) = refused(&observed.hosts) {
        troubles.push(Trouble::Stalled(reason, message.clone()));
        unrouted.insert(0, (reason, message));
    }
    let facts = Facts {
        generation: function.metadata.generation,
        urls: addresses,
        hosts: observed.hosts.custom.clone(),
        unrouted,
        entrypoints,
        troubles,
        previous: &observed.previous,
    };
    let wanted = status(facts, &now());
    let unseen = context.memory.unseen_status(function);
    let standing = unseen
        .or_else(|| function.status.clone())
        .unwrap_or_default();
    let written = write(function, &standing, &wanted, context).await;
    let reported = match written {
        Ok(Written::Stands | Written::Later(_)) => &wanted,
        // What was to be reported and was not will be told when it is. What was done to children is not done again.
        Ok(Written::Outrun) | Err(_) => &observed.previous,
    };
    let children = plan.wanted.as_deref().unwrap_or_default();
    let told = events(children, &applied, &observed.previous, reported);
    publish(function, told, context).await;

    let written = written?;
    let is_outrun = applied.is_outrun || written == Written::Outrun;
    if let Some(error) = applied.error {
        return Err(error.into());
    }
    if has_to_look_again || is_outrun {
        // Nothing tells when a quota or a webhook is mended, or when a foreign object goes away.
        return Ok(Some(context.memory.next_retry(function)));
    }
    context.memory.succeeded(function);
    let waits = [written.later(), observed.findings.again];
    Ok(waits.into_iter().flatten().min())
}

/// Reports why nothing is changed: the object does not even have the shape of a Function (a number that overflows, say), or nobody knows
/// which revisions there should be. What serves goes on serving.
///
/// # Errors
/// What another try may mend.
pub async fn report_unchanged(
    object: &Guarded,
    trouble: Trouble,
    context: &Context,
) -> Result<Option<Duration>, Error> {
    let standing = read_status(object, context).await?;
    let children = observe::children(object, &context.caches);
    let (hosts, visibility) = match &object.0 {
        Ok(function) => (
            context.claims.hosts(function, &context.platform),
            function.spec.visibility.unwrap_or_default(),
        ),
        Err(_) => (
            context.claims.kept(object, &context.platform),
            reported_visibility(object, &standing),
        ),
    };
    let is_retried = matches!(trouble, Trouble::Retrying(..));
    let facts = Facts {
        generation: object.meta().generation,
        urls: urls(object, visibility, &hosts, context),
        unrouted: refused(&hosts).into_iter().collect(),
        hosts: hosts.custom,
        entrypoints: unchanged(&standing, &children),
        troubles: vec![trouble],
        previous: &standing,
    };
    let wanted = status(facts, &now());
    let written = write(object, &standing, &wanted, context).await?;
    if written == Written::Outrun {
        return Ok(Some(context.memory.next_retry(object)));
    }
    let told = events(&[], &Applied::default(), &standing, &wanted);
    publish(object, told, context).await;
    if is_retried {
        return Ok(Some(context.memory.next_retry(object)));
    }
    context.memory.succeeded(object);
    Ok(written.later())
}

/// Where a Function is reached, without a path.
fn urls<K: Resource>(
    function: &K,
    visibility: Visibility,
    hosts: &Hosts,
    context: &Context,
) -> Vec<String> {
    match visibility {
        Visibility::Public => hosts.all().map(|host| context.platform.url(host)).collect(),
        Visibility::Cluster => vec![inside(function)],
    }
}

/// Who may come to a Function that cannot be read, as far as its status tells.
fn reported_visibility<K: Resource>(function: &K, standing: &FunctionStatus) -> Visibility {
    if standing.urls == [inside(function)] {
        Visibility::Cluster
    } else {
        Visibility::Public
    }
}

/// Where callers inside the cluster reach a Function.
fn inside<K: Resource>(function: &K) -> String {
    let namespace = function.namespace().unwrap_or_default();
    format!("http://{}.{namespace}", function.name_any())
}

/// Whether nothing tells when this ends. A missing API is watched for, and what could not be written yet is an error.
fn may_end_unseen((reason, _): &(Reason, String)) -> bool {
    matches!(reason, Reason::NameConflict | Reason::ChildRefused)
}

/// What came in the way of the children. What waits for an attachment has no trouble of its own.
fn troubles(plan: &Plan, applied: &Applied) -> Vec<Trouble> {
    let attachments = plan.attachments.iter().zip(&applied.attachments);
    let others = attachments.filter(|(attachment, _)| !is_route(attachment.kind));
    let attachments = others.filter_map(|(attachment, outcome)| {
        let object = format!("{} {}", attachment.kind.name, attachment.name());
        Some(trouble(None, &object, outcome.problem.as_ref()?))
    });
    let children = plan.wanted.iter().flatten().zip(&applied.outcomes);
    let children = children.filter_map(|(child, outcome)| {
        let object = format!("Deployment {}", child.deployment.name_any());
        Some(trouble(
            Some(&child.entrypoint),
            &object,
            outcome.problem.as_ref()?,
        ))
    });
    attachments.chain(children).collect()
}

fn trouble(entrypoint: Option<&str>, object: &str, problem: &Problem) -> Trouble {
    let of = entrypoint.map_or_else(String::new, |entrypoint| format!("{entrypoint}: "));
    match problem {
        Problem::Refused(message) => Trouble::Stalled(
            Reason::ChildRefused,
            format!("{of}the API server refused {object}: {message}"),
        ),
        Problem::Foreign => Trouble::Stalled(
            Reason::NameConflict,
            format!(
                "{of}{object} exists and is not this Function's; remove it, or rename the function{}",
                entrypoint.map_or("", |_| " or entrypoint")
            ),
        ),
        Problem::Ending => Trouble::Retrying(
            Reason::Progressing,
            format!("{of}{object} is not written: its namespace is being deleted"),
        ),
        Problem::Absent | Problem::Transient => Trouble::Retrying(
            Reason::Progressing,
            format!("{of}{object} could not be written yet"),
        ),
    }
}

/// What became of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    /// It is there.
    Stands,
    /// It has to wait this long still.
    Later(Duration),
    /// The object changed since it was looked at. The change brings the next look.
    Outrun,
}

impl Written {
    fn later(self) -> Option<Duration> {
        match self {
            Self::Later(wait) => Some(wait),
            Self::Stands | Self::Outrun => None,
        }
    }
}

/// Writes the status if it differs from what stands there.
async fn write<K: Resource<DynamicType = ()>>(
    object: &K,
    standing: &FunctionStatus,
    wanted: &FunctionStatus,
    context: &Context,
) -> Result<Written, Error> {
    match difference(standing, wanted) {
        Difference::None => {
            context.memory.reported(object, wanted.clone());
            return Ok(Written::Stands);
        }
        Difference::Counts => {
            let wait = context.memory.until_counts_are_due(object, COUNTS_DELAY);
            if !wait.is_zero() {
                return Ok(Written::Later(wait));
            }
        }
        Difference::More => {}
    }
    let written = apply_status(object, wanted, context).await?;
    if written == Written::Stands {
        context.memory.reported(object, wanted.clone());
    }
    Ok(written)
}

async fn apply_status<K: Resource<DynamicType = ()>>(
    object: &K,
    wanted: &FunctionStatus,
    context: &Context,
) -> Result<Written, Error> {
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        // The UID keeps the status off a Function that was deleted and made anew. The version keeps off what is said too late, by a leader
        // that was stopped and does not know yet that another one leads.
        "metadata": {
            "name": object.name_any(),
            "uid": object.uid(),
            "resourceVersion": object.resource_version(),
        },
        "status": wanted,
    });
    let params = PatchParams::apply(names::OPERATOR).force();
    let functions = api(object, context);
    match functions
        .patch_status(&object.name_any(), &params, &Patch::Apply(patch))
        .await
    {
        Ok(_) => Ok(Written::Stands),
        // It was deleted in the meantime.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Written::Stands),
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(Written::Outrun),
        Err(source) => Err(Error::Status {
            operation: "apply",
            source,
        }),
    }
}

async fn read_status(object: &Guarded, context: &Context) -> Result<FunctionStatus, Error> {
    let found = api(object, context).get_opt(&object.name_any()).await;
    let found = found.map_err(|source| Error::Status {
        operation: "read",
        source,
    })?;
    let status = found.map(|found| found.data["status"].clone());
    Ok(serde_json::from_value(status.unwrap_or_default()).unwrap_or_default())
}

/// Functions without their types: a status has to be written even when the spec cannot be read.
fn api<K: Resource<DynamicType = ()>>(object: &K, context: &Context) -> Api<DynamicObject> {
    let namespace = object.namespace().unwrap_or_default();
    let functions = ApiResource::erase::<Function>(&());
    Api::namespaced_with(context.client.clone(), &namespace, &functions)
}

/// Publishes Events. One that is lost is not worth a retry, which would tell the others again: the status says it all.
async fn publish<K: Resource<DynamicType = ()>>(object: &K, told: Vec<Event>, context: &Context) {
    let regarding = object.object_ref(&());
    for event in told {
        let (reason, note) = (&event.reason, event.note.as_deref().unwrap_or_default());
        info!(
            namespace = regarding.namespace,
            function = regarding.name,
            reason,
            note,
            "told"
        );
        match context.recorder.publish(&event, &regarding).await {
            Err(kube::Error::Api(status)) if is_ending(&status) => {
                debug!(
                    reason,
                    "event not published: the namespace is being deleted"
                );
            }
            Err(error) => warn!(%error, reason, "event not published"),
            Ok(()) => {}
        }
    }
}

/// The time in whole seconds, as it stands in a condition: with a fraction it would differ from what is read back.
fn now() -> Time {
    let now = Timestamp::now().as_second();
    Time(Timestamp::from_second(now).expect("the time of now is in the range of times"))
}
