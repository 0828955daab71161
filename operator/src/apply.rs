//! Makes the cluster what was decided. The only place that writes children.
//!
//! # Guarantees
//! - `spec.replicas` of a Deployment is 0 at creation and never written again.
//! - An object that is not this Function's is neither changed nor deleted.
//! - What guards instances is as wanted before the first Deployment is created; one that exists goes on serving.
//! - What one child meets does not keep another from being applied.

mod drift;
mod object;

use std::sync::Arc;

use crds::function::Function;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client, ResourceExt};

use crate::{desired::Plan, observe::Observed};
pub use object::{Error, Outcome, Problem};
pub(crate) use object::{Removal, is_ending, remove};
use object::{ensure, owned};

/// What became of a [`Plan`].
#[derive(Debug, Default)]
pub struct Applied {
    /// One for each wanted attachment, in the same order.
    pub attachments: Vec<Outcome>,
    /// One for each wanted child, in the same order.
    pub outcomes: Vec<Outcome>,
    /// Orphans that are gone now.
    pub removed: Vec<Arc<Deployment>>,
    /// Whether something that was to go changed since it was observed.
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
    let is_guarded = attach(client, function, observed, plan, &mut applied).await;
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
        let (outcome, error) = ensure(&api, function, child, found.map(Arc::as_ref)).await;
        applied.outcomes.push(outcome);
        applied.error = applied.error.or(error);
    }
    for orphan in &plan.orphans {
        match remove(&api, "Deployment", &**orphan).await {
            Ok(Removal::Done) => applied.removed.push(orphan.clone()),
            Ok(Removal::Needless) => {}
            Ok(Removal::Outrun) => applied.is_outrun = true,
            Err(error) => applied.error = applied.error.or(Some(error)),
        }
    }
    applied
}

/// Applies what a Function has besides its Deployments. Whether everything is as wanted that instances need for their protection.
async fn attach(
    client: &Client,
    function: &Function,
    observed: &Observed,
    plan: &Plan,
    applied: &mut Applied,
) -> bool {
    let mut is_guarded = true;
    for attachment in &plan.attachments {
        let namespace = attachment.object.namespace().unwrap_or_default();
        let api = attachment.kind.api(client, &namespace);
        let found = observed.attachment(attachment.kind, attachment.name());
        let (outcome, error) = match owned(client, attachment, found.is_some()).await {
            Ok(attachment) => ensure(&api, function, &*attachment, found).await,
            Err(error) => (Outcome::transient(), Some(error)),
        };
        is_guarded &= outcome.problem.is_none() || !attachment.kind.is_guard;
        applied.attachments.push(outcome);
        applied.error = applied.error.take().or(error);
    }
    for (kind, surplus) in &plan.surplus {
        let api = kind.api(client, &surplus.namespace().unwrap_or_default());
        match remove(&api, kind.name, &**surplus).await {
            Ok(Removal::Done | Removal::Needless) => {}
            Ok(Removal::Outrun) => applied.is_outrun = true,
            Err(error) => applied.error = applied.error.take().or(Some(error)),
        }
    }
    is_guarded
}
