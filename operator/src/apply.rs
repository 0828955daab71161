//! Makes the cluster what was decided. The only place that writes Deployments.
//!
//! # Guarantees
//! - `spec.replicas` is 0 at creation and never written again.
//! - An object that this Function does not control is neither changed nor deleted.
//! - What one entrypoint meets does not keep another from being applied.

mod drift;

use std::sync::Arc;

use crds::{function::Function, names};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::Status,
};

use crate::{
    desired::{Child, Plan},
    observe::{Observed, is_controlled_by},
};

/// What became of a [`Plan`].
#[derive(Debug, Default)]
pub struct Applied {
    /// One for each wanted child, in the same order.
    pub outcomes: Vec<Outcome>,
    /// Orphans that are gone now.
    pub removed: Vec<Arc<Deployment>>,
    /// The first error that another try may mend.
    pub error: Option<Error>,
}

/// What became of one child.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Whether its Deployment exists and is this Function's.
    pub exists: bool,
    /// Whether this pass created it.
    pub is_new: bool,
    /// What stands in the way of the rest.
    pub problem: Option<Problem>,
}

/// Why a child is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The API server refused it with this message; somebody has to change something.
    Refused(String),
    /// An object of its name belongs to somebody else.
    Foreign,
    /// Another try may succeed.
    Transient,
}

/// Something that another try may mend.
#[derive(Debug, thiserror::Error)]
#[error("{operation} Deployment {name}")]
pub struct Error {
    operation: &'static str,
    name: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Why one child was not applied.
#[derive(Debug, thiserror::Error)]
enum Obstacle {
    #[error("an object of this name belongs to somebody else")]
    Foreign,
    #[error("the one of a deleted Function is still there")]
    Leftover,
    #[error(transparent)]
    Api(#[from] kube::Error),
}

/// Creates, mends and removes Deployments as planned.
pub async fn apply(
    client: &Client,
    function: &Function,
    observed: &Observed,
    plan: &Plan,
) -> Applied {
    let namespace = function.namespace().unwrap_or_default();
    let api = Api::namespaced(client.clone(), &namespace);
    let mut applied = Applied::default();
    for child in plan.wanted.iter().flatten() {
        if !child.verdict.admission.may_boot() {
            applied.outcomes.push(Outcome::default());
            continue;
        }
        let (outcome, error) = ensure(&api, function, observed, child).await;
        applied.outcomes.push(outcome);
        applied.error = applied.error.or(error);
    }
    for orphan in &plan.orphans {
        match remove(&api, orphan).await {
            Ok(true) => applied.removed.push(orphan.clone()),
            Ok(false) => {}
            Err(error) => applied.error = applied.error.or(Some(error)),
        }
    }
    applied
}

async fn ensure(
    api: &Api<Deployment>,
    function: &Function,
    observed: &Observed,
    child: &Child,
) -> (Outcome, Option<Error>) {
    let name = child.deployment.name_any();
    let mut outcome = Outcome::default();
    let found = match observed.child(&name) {
        Some(found) => Ok(Deployment::clone(found)),
        None => create(api, child, &mut outcome).await,
    };
    let end = match found {
        Ok(found) => mend(api, function, child, &found, &mut outcome).await,
        Err(error) => Err(error.into()),
    };
    let Err(obstacle) = end else {
        return (outcome, None);
    };
    let (problem, error) = match obstacle {
        Obstacle::Foreign => (Problem::Foreign, None),
        Obstacle::Api(kube::Error::Api(status)) if is_refusal(&status) => {
            (Problem::Refused(status.message.clone()), None)
        }
        other => {
            let operation = if outcome.exists { "apply" } else { "create" };
            (Problem::Transient, Some(Error::new(operation, name, other)))
        }
    };
    outcome.problem = Some(problem);
    (outcome, error)
}

/// The Deployment that is there now: a new one, or the one that the cache had not seen.
async fn create(
    api: &Api<Deployment>,
    child: &Child,
    outcome: &mut Outcome,
) -> kube::Result<Deployment> {
    let mut deployment = child.deployment.clone();
    if let Some(spec) = &mut deployment.spec {
        spec.replicas = Some(0);
    }
    // Not the manager of the later applies: an apply that no longer names `replicas` would give the field back, that is, reset it.
    let post = PostParams {
        field_manager: Some(names::CREATOR.to_owned()),
        ..PostParams::default()
    };
    match api.create(&post, &deployment).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            api.get(&deployment.name_any()).await
        }
        created => {
            outcome.is_new = created.is_ok();
            created
        }
    }
}

/// Puts back what somebody changed, if anything.
async fn mend(
    api: &Api<Deployment>,
    function: &Function,
    child: &Child,
    found: &Deployment,
    outcome: &mut Outcome,
) -> Result<(), Obstacle> {
    if !is_controlled_by(found, function) {
        let is_of_namesake = found
            .owner_references()
            .iter()
            .any(|owner| owner.kind == Function::kind(&()) && owner.name == function.name_any());
        return Err(if is_of_namesake {
            Obstacle::Leftover
        } else {
            Obstacle::Foreign
        });
    }
    if found.metadata.deletion_timestamp.is_some() {
        return Err(Obstacle::Leftover);
    }
    outcome.exists = true;
    let mut wanted = child.deployment.clone();
    // With the UID, an apply never creates (with 1 replica!) what was deleted in the meantime.
    wanted.metadata.uid = found.metadata.uid.clone();
    if drift::is_none(found, &wanted) {
        return Ok(());
    }
    let params = PatchParams::apply(names::OPERATOR).force();
    api.patch(&wanted.name_any(), &params, &Patch::Apply(&wanted))
        .await?;
    Ok(())
}

/// Removes an orphan unless it changed since it was observed, for instance because an instance was asked for. The change itself
/// brings the next reconcile.
async fn remove(api: &Api<Deployment>, orphan: &Deployment) -> Result<bool, Error> {
    let name = orphan.name_any();
    let params = DeleteParams::background().preconditions(Preconditions {
        uid: orphan.metadata.uid.clone(),
        resource_version: orphan.metadata.resource_version.clone(),
    });
    match api.delete(&name, &params).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(false),
        Err(error) => Err(Error::new("delete", name, error.into())),
    }
}

/// Answers that stay the same until somebody changes something: a bad value (400, 422), a quota, a policy or a webhook (403). A
/// namespace that is being deleted takes the Function with it, which is nothing to tell.
fn is_refusal(status: &Status) -> bool {
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    let is_ending = causes.any(|cause| cause.reason == "NamespaceTerminating");
    !is_ending && matches!(status.code, 400 | 403 | 405 | 413 | 415 | 422)
}

impl Error {
    fn new(operation: &'static str, name: String, source: Obstacle) -> Self {
        Self {
            operation,
            name,
            source: source.into(),
        }
    }
}
