//! One object: created, put back, or removed, and never taken from somebody else.

use std::{borrow::Cow, fmt::Debug};

use crds::{function::Function, names};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions},
    core::Status,
};
use serde::{Serialize, de::DeserializeOwned};
use tracing::debug;

use super::drift;
use crate::{
    attachment::{Attachment, Home},
    desired::Child,
    observe::is_controlled_by,
};

/// What became of one child.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the object exists and is this Function's.
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
    /// The API server does not have the API. When it comes, a watch tells.
    Absent,
    /// Its namespace is being deleted, and that of a Function takes the Function with it: nothing is left to do.
    Ending,
    /// Another try may succeed.
    Transient,
}

impl Outcome {
    /// Nothing yet, and another try may succeed.
    pub(super) fn transient() -> Self {
        Self {
            problem: Some(Problem::Transient),
            ..Self::default()
        }
    }
}

/// Something that another try may mend.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {kind} {name}")]
pub struct Error {
    operation: &'static str,
    kind: &'static str,
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

/// An object as it should be.
pub(super) trait Wanted: Sync {
    /// The kind of object.
    type Object: Resource + Clone + Debug + DeserializeOwned + Serialize + Send + Sync;

    /// Name of the kind, for people.
    fn kind(&self) -> &'static str;

    /// As it is applied.
    fn object(&self) -> &Self::Object;

    /// As it is created.
    ///
    /// The creation's field manager is not the one of the later applies: an apply that no longer names a field that it named before would
    /// give it back, that is, reset it. So what is named here alone stays as others write it, and what is named in both can be changed
    /// but not be taken back.
    fn created(&self) -> Self::Object;

    /// Whether an object of this name is the one of `function`.
    fn is_of(&self, found: &Self::Object, function: &Function) -> bool;

    /// Whether an apply would change nothing about an object.
    fn is_met(&self, found: &Self::Object) -> bool;

    /// Whether a cluster may lack the API.
    fn is_optional(&self) -> bool;
}

impl Wanted for Child {
    type Object = Deployment;

    fn kind(&self) -> &'static str {
        "Deployment"
    }

    fn object(&self) -> &Deployment {
        &self.deployment
    }

    fn created(&self) -> Deployment {
        let mut deployment = self.deployment.clone();
        if let Some(spec) = &mut deployment.spec {
            spec.replicas = Some(0);
        }
        deployment
    }

    fn is_of(&self, found: &Deployment, function: &Function) -> bool {
        is_controlled_by(found, function)
    }

    fn is_met(&self, found: &Deployment) -> bool {
        drift::is_none(found, &self.deployment)
    }

    fn is_optional(&self) -> bool {
        false
    }
}

impl Wanted for Attachment {
    type Object = DynamicObject;

    fn kind(&self) -> &'static str {
        self.kind.name
    }

    fn object(&self) -> &DynamicObject {
        &self.object
    }

    fn created(&self) -> DynamicObject {
        self.bare()
    }

    fn is_of(&self, found: &DynamicObject, function: &Function) -> bool {
        self.kind.is_of(found, function)
    }

    fn is_met(&self, found: &DynamicObject) -> bool {
        drift::is_none_from(found, self)
    }

    fn is_optional(&self) -> bool {
        self.kind.is_optional
    }
}

/// Makes one object as it should be.
pub(super) async fn ensure<W: Wanted>(
    api: &Api<W::Object>,
    function: &Function,
    wanted: &W,
    found: Option<&W::Object>,
) -> (Outcome, Option<Error>) {
    let mut outcome = Outcome::default();
    let found = match found {
        Some(found) => Ok(found.clone()),
        None => create(api, wanted, &mut outcome).await,
    };
    let end = match found {
        Ok(found) => mend(api, function, wanted, &found, &mut outcome).await,
        Err(error) => Err(error.into()),
    };
    let Err(obstacle) = end else {
        return (outcome, None);
    };
    let (problem, error) = judge(wanted, obstacle, outcome.exists);
    outcome.problem = Some(problem);
    (outcome, error)
}

/// What an obstacle means, and the error if another try may mend it.
fn judge<W: Wanted>(wanted: &W, obstacle: Obstacle, exists: bool) -> (Problem, Option<Error>) {
    let (kind, name) = (wanted.kind(), wanted.object().name_any());
    match obstacle {
        Obstacle::Api(kube::Error::Api(status))
            if wanted.is_optional() && !exists && status.code == 404 =>
        {
            (Problem::Absent, None)
        }
        Obstacle::Foreign => (Problem::Foreign, None),
        Obstacle::Api(kube::Error::Api(status)) if is_ending(&status) => {
            debug!(kind, name, "not written: its namespace is being deleted");
            (Problem::Ending, None)
        }
        Obstacle::Api(kube::Error::Api(status)) if is_refusal(&status) => {
            (Problem::Refused(status.message.clone()), None)
        }
        other => {
            let error = Error {
                operation: if exists { "apply" } else { "create" },
                kind,
                name,
                source: other.into(),
            };
            (Problem::Transient, Some(error))
        }
    }
}

/// An attachment as it may be created: beside the activator it is owned by an object of the chart, so that uninstalling removes it. Nobody
/// makes that object anew while this runs but for a person; then Kubernetes removes what it owned, and it is created again.
///
/// # Errors
/// The API server cannot say who the owner is.
pub(super) async fn owned<'a>(
    client: &Client,
    attachment: &'a Attachment,
    is_there: bool,
) -> Result<Cow<'a, Attachment>, Error> {
    if is_there || attachment.kind.home != Home::Activator {
        return Ok(Cow::Borrowed(attachment));
    }
    let namespace = attachment.object.namespace().unwrap_or_default();
    let api: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    let found = api.get_opt(names::ACTIVATOR_DEPLOYMENT).await;
    let found = found.map_err(|source| Error {
        operation: "read",
        kind: "Deployment",
        name: names::ACTIVATOR_DEPLOYMENT.to_owned(),
        source: source.into(),
    })?;
    let mut owned = attachment.clone();
    owned.owner = found.and_then(|deployment| deployment.owner_ref(&()));
    Ok(Cow::Owned(owned))
}

/// The object that is there now: a new one, or the one that the cache had not seen.
async fn create<W: Wanted>(
    api: &Api<W::Object>,
    wanted: &W,
    outcome: &mut Outcome,
) -> kube::Result<W::Object> {
    let post = PostParams {
        field_manager: Some(names::CREATOR.to_owned()),
        ..PostParams::default()
    };
    match api.create(&post, &wanted.created()).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            api.get(&wanted.object().name_any()).await
        }
        created => {
            outcome.is_new = created.is_ok();
            created
        }
    }
}

/// Puts back what somebody changed, if anything.
async fn mend<W: Wanted>(
    api: &Api<W::Object>,
    function: &Function,
    wanted: &W,
    found: &W::Object,
    outcome: &mut Outcome,
) -> Result<(), Obstacle> {
    if !wanted.is_of(found, function) {
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
    if found.meta().deletion_timestamp.is_some() {
        return Err(Obstacle::Leftover);
    }
    outcome.exists = true;
    if wanted.is_met(found) {
        return Ok(());
    }
    let mut object = wanted.object().clone();
    // With the UID, an apply never creates (a Deployment with 1 replica!) what was deleted in the meantime.
    object.meta_mut().uid = found.uid();
    let params = PatchParams::apply(names::OPERATOR).force();
    api.patch(&object.name_any(), &params, &Patch::Apply(&object))
        .await?;
    Ok(())
}

/// What became of an object that was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// It is gone.
    Done,
    /// It was gone already.
    Needless,
    /// It changed since it was observed. The cache will show it, and then it is decided anew.
    Outrun,
}

/// Removes an object unless it changed since it was observed, for instance because an instance was asked for.
pub(crate) async fn remove<K>(
    api: &Api<K>,
    kind: &'static str,
    object: &K,
) -> Result<Removal, Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let name = object.name_any();
    let params = DeleteParams::background().preconditions(Preconditions {
        uid: object.uid(),
        resource_version: object.resource_version(),
    });
    match api.delete(&name, &params).await {
        Ok(_) => Ok(Removal::Done),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Removal::Needless),
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(Removal::Outrun),
        Err(error) => Err(Error {
            operation: "delete",
            kind,
            name,
            source: error.into(),
        }),
    }
}

/// Answers that stay the same until somebody changes something: a bad value (400, 422), a quota, a policy or a webhook (403).
fn is_refusal(status: &Status) -> bool {
    matches!(status.code, 400 | 403 | 405 | 413 | 415 | 422)
}

/// Whether nothing can be created because the namespace is being deleted.
pub(crate) fn is_ending(status: &Status) -> bool {
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    causes.any(|cause| cause.reason == "NamespaceTerminating")
}
