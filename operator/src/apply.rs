//! Makes the cluster what was decided. The only place that writes Deployments.
//!
//! # Guarantees
//! - `spec.replicas` is 0 at creation and never written again.
//! - An object that this Function does not control is neither changed nor deleted.
//! - What one entrypoint meets does not keep another from being applied.

use std::sync::Arc;

use crds::{function::Function, names};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::Value;

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
        let (outcome, error) = ensure(&api, function, observed, child).await;
        applied.outcomes.push(outcome);
        applied.error = applied.error.or(error);
    }
    for orphan in &plan.orphans {
        match remove(&api, orphan).await {
            Ok(()) => applied.removed.push(orphan.clone()),
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
        Obstacle::Api(kube::Error::Api(status)) if is_refusal(status.code) => {
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
    if is_applied(found) && holds(&json(found), &json(&wanted)) {
        return Ok(());
    }
    let params = PatchParams::apply(names::OPERATOR).force();
    api.patch(&wanted.name_any(), &params, &Patch::Apply(&wanted))
        .await?;
    Ok(())
}

/// Whether the operator's apply has ever been here, after which only what it applied is compared.
fn is_applied(deployment: &Deployment) -> bool {
    let managers = deployment.managed_fields().iter();
    managers
        .filter(|entry| entry.operation.as_deref() == Some("Apply"))
        .any(|entry| entry.manager.as_deref() == Some(names::OPERATOR))
}

fn json(deployment: &Deployment) -> Value {
    serde_json::to_value(deployment).expect("a Deployment is plain data with string keys")
}

/// Whether `found` says everything that `wanted` says. The API server adds defaults, so it may say more; of objects in a list (they
/// are merged by key) there may be more and in another order, other lists must be equal.
fn holds(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| match found.get(key) {
                Some(found) => holds(found, value),
                None => is_empty(value),
            })
        }
        (Value::Array(found), Value::Array(wanted)) if wanted.iter().all(Value::is_object) => {
            let is_found = |value| found.iter().any(|found| holds(found, value));
            wanted.iter().all(is_found)
        }
        _ => found == wanted,
    }
}

/// What the API server leaves out when it answers.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Removes an orphan unless it changed since it was observed, for instance because an instance was asked for.
async fn remove(api: &Api<Deployment>, orphan: &Deployment) -> Result<(), Error> {
    let name = orphan.name_any();
    let params = DeleteParams::background().preconditions(Preconditions {
        uid: orphan.metadata.uid.clone(),
        resource_version: orphan.metadata.resource_version.clone(),
    });
    match api.delete(&name, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(Error::new("delete", name, error.into())),
    }
}

/// Answers that stay the same until somebody changes something: a bad value (400, 422), a quota, a policy or a webhook (403).
fn is_refusal(code: u16) -> bool {
    matches!(code, 400 | 403 | 405 | 413 | 415 | 422)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_of_the_api_server_are_no_drift() {
        let wanted = json!({"spec": {"containers": [{"name": "a", "args": ["x", "y"]}]}});
        let same = json!({"spec": {"containers": [{"name": "s"}, {"name": "a", "args": ["x", "y"], "tty": false}]}, "status": {}});
        assert!(holds(&same, &wanted));
        for changed in [
            json!({"spec": {"containers": [{"name": "a", "args": ["y", "x"]}]}}),
            json!({"spec": {"containers": [{"name": "a"}]}}),
            json!({"spec": {"containers": []}}),
            json!({}),
        ] {
            assert!(!holds(&changed, &wanted), "{changed} is drift");
        }
    }
}
