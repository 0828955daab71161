//! Makes the cluster what was decided. The only place that writes children.
//!
//! # Guarantees
//! - `spec.replicas` of a Deployment is 0 at creation and never written again.
//! - An object that is not this Function's is neither changed nor deleted.
//! - What guards instances is as wanted before the first Deployment is created; one that exists goes on serving.
//! - What one child meets does not keep another from being applied.
//! - It ends in time to be reported on, however slow answers are: what is not done by then is left to another try.

mod drift;
mod object;

use std::{sync::Arc, time::Duration};

use crds::function::Function;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client, ResourceExt};
use tokio::time::{Instant, timeout_at};

use crate::{desired::Plan, observe::Observed};
pub use object::{Error, Outcome, Problem};
pub(crate) use object::{Removal, is_ending, remove};
use object::{ensure, owned};

/// How long all of it may take. A reconcile is given up after 60 s, and writing the status takes up to [`crate::client::ANSWER`].
const TIME: Duration = Duration::from_secs(40);

/// What became of a [`Plan`].
#[derive(Debug, Default)]
pub struct Applied {
    /// One for each wanted attachment, in the same order.
    pub attachments: Vec<Outcome>,
    /// One for each wanted child, in the same order.
    pub outcomes: Vec<Outcome>,
    /// Orphans that are gone now.
    pub removed: Vec<Arc<Deployment>>,
    /// Whether another pass has to do the rest: something that was to go changed since it was observed, or there was no time left.
    pub is_outrun: bool,
    /// The first error that another try may mend.
    pub error: Option<Error>,
}

/// Creates, mends and removes children as planned.
pub async fn apply(
    client: &Client,
    function: &Function,
    observed: &Observed,
    plan: &Plan,
) -> Applied {
    let mut applied = Applied::default();
    let end = Instant::now() + TIME;
    let is_guarded = attach(client, function, observed, plan, end, &mut applied).await;
    let namespace = function.namespace().unwrap_or_default();
    let api: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    for child in plan.wanted.iter().flatten() {
        if !child.verdict.admission.may_boot() {
            applied.outcomes.push(Outcome::default());
            continue;
        }
        let found = observed.child(&child.deployment.name_any());
        if found.is_none() && !is_guarded {
            applied.outcomes.push(Outcome::default());
            continue;
        }
        let found = found.map(Arc::as_ref);
        let ensured = timeout_at(end, ensure(&api, function, child, found)).await;
        applied.is_outrun |= ensured.is_err();
        let (outcome, error) = ensured.unwrap_or_else(|_| (late(found), None));
        applied.outcomes.push(outcome);
        applied.error = applied.error.or(error);
    }
    for orphan in &plan.orphans {
        match timeout_at(end, remove(&api, "Deployment", &**orphan)).await {
            Ok(Ok(Removal::Done)) => applied.removed.push(orphan.clone()),
            Ok(Ok(Removal::Needless)) => {}
            Ok(Ok(Removal::Outrun)) | Err(_) => applied.is_outrun = true,
            Ok(Err(error)) => applied.error = applied.error.or(Some(error)),
        }
    }
    applied
}

/// What is known of a child that there was no time for: one that serves goes on.
fn late(found: Option<&Deployment>) -> Outcome {
    Outcome {
        exists: found.is_some_and(|found| found.metadata.deletion_timestamp.is_none()),
        ..Outcome::transient()
    }
}

/// Applies what a Function has besides its Deployments. Whether everything is as wanted that instances need for their protection.
async fn attach(
    client: &Client,
    function: &Function,
    observed: &Observed,
    plan: &Plan,
    end: Instant,
    applied: &mut Applied,
) -> bool {
    let mut is_guarded = true;
    for attachment in &plan.attachments {
        let namespace = attachment.object.namespace().unwrap_or_default();
        let api = attachment.kind.api(client, &namespace);
        let found = observed.attachment(attachment.kind, attachment.name());
        let ensured = timeout_at(end, async {
            match owned(client, attachment, found.is_some()).await {
                Ok(attachment) => ensure(&api, function, &*attachment, found).await,
                Err(error) => (Outcome::transient(), Some(error)),
            }
        });
        let ensured = ensured.await;
        applied.is_outrun |= ensured.is_err();
        let (outcome, error) = ensured.unwrap_or_else(|_| (Outcome::transient(), None));
        is_guarded &= outcome.problem.is_none() || !attachment.kind.is_guard;
        applied.attachments.push(outcome);
        applied.error = applied.error.take().or(error);
    }
    for (kind, surplus) in &plan.surplus {
        let api = kind.api(client, &surplus.namespace().unwrap_or_default());
        match timeout_at(end, remove(&api, kind.name, &**surplus)).await {
            Ok(Ok(Removal::Done | Removal::Needless)) => {}
            Ok(Ok(Removal::Outrun)) | Err(_) => applied.is_outrun = true,
            Ok(Err(error)) => applied.error = applied.error.take().or(Some(error)),
        }
    }
    is_guarded
}
