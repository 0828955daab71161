//! What there is: the Deployments of one Function and what was last reported on it. Reads caches, never the API server.

use std::{collections::HashMap, sync::Arc};

use crds::{
    FunctionStatus,
    function::Function,
    names,
    status::{EntrypointStatus, Verified},
};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Resource, ResourceExt,
    api::DynamicObject,
    runtime::reflector::{ObjectRef, Store, store::Writer},
};

pub use crate::guarded::Guarded;
use crate::{
    attachment::{self, Kind},
    hosts::Hosts,
    inquire::Findings,
    memory::Memory,
};

/// How a Function is known to the controller.
pub(crate) fn reference(name: &str, namespace: Option<&str>) -> ObjectRef<Guarded> {
    let reference = ObjectRef::new(name);
    match namespace {
        Some(namespace) => reference.within(namespace),
        None => reference,
    }
}

/// What the watches keep up to date.
#[derive(Clone)]
pub struct Caches {
    /// Every Function.
    pub functions: Store<Guarded>,
    /// Every Deployment that carries Thaw's label.
    pub deployments: Store<Deployment>,
    /// Everything else that carries Thaw's label.
    pub attachments: Vec<(Kind, Store<DynamicObject>)>,
}

/// The writing ends of [`Caches`].
pub struct Writers {
    /// Every Function.
    pub functions: Writer<Guarded>,
    /// Every Deployment that carries Thaw's label.
    pub deployments: Writer<Deployment>,
    /// Everything else that carries Thaw's label.
    pub attachments: Vec<(Kind, Writer<DynamicObject>)>,
}

impl Caches {
    /// Empty caches, to be filled through the writers.
    pub fn new() -> (Self, Writers) {
        Self::of(attachment::ALL)
    }

    /// Empty caches of these kinds of attachments.
    pub fn of(kinds: &[Kind]) -> (Self, Writers) {
        let writer = |kind: &Kind| (*kind, Writer::new(kind.resource()));
        let writers = Writers {
            functions: Writer::default(),
            deployments: Writer::default(),
            attachments: kinds.iter().map(writer).collect(),
        };
        let attachments = writers.attachments.iter();
        let caches = Self {
            functions: writers.functions.as_reader(),
            deployments: writers.deployments.as_reader(),
            attachments: attachments
                .map(|(kind, writer)| (*kind, writer.as_reader()))
                .collect(),
        };
        (caches, writers)
    }

    /// The attachments that `is_wanted`.
    pub(crate) fn attachments(
        &self,
        is_wanted: impl Fn(Kind, &DynamicObject) -> bool,
    ) -> Vec<(Kind, Arc<DynamicObject>)> {
        let of_kind = |(kind, store): &(Kind, Store<DynamicObject>)| {
            let found = store.state_filter(|object| is_wanted(*kind, object));
            let kind = *kind;
            found.into_iter().map(move |object| (kind, object))
        };
        self.attachments.iter().flat_map(of_kind).collect()
    }
}

/// What there is of one Function.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Its Deployments, in no order.
    pub children: Vec<Arc<Deployment>>,
    /// What it has besides, in no order.
    pub attachments: Vec<(Kind, Arc<DynamicObject>)>,
    /// What the operator reported last, whether or not the cache has seen it.
    pub previous: FunctionStatus,
    /// The hosts that it has.
    pub hosts: Hosts,
    /// What the activator says about revisions that it was asked to verify, by entrypoint.
    pub answers: HashMap<String, Verified>,
    /// What was found out beside the caches.
    pub findings: Findings,
}

impl Observed {
    /// The Deployment of this name.
    pub fn child(&self, name: &str) -> Option<&Arc<Deployment>> {
        self.children.iter().find(|child| child.name_any() == name)
    }

    /// The attachment of this kind and name.
    pub fn attachment(&self, kind: Kind, name: &str) -> Option<&DynamicObject> {
        let mut all = self.attachments.iter();
        let found = all.find(|(of, object)| *of == kind && object.name_any() == name);
        found.map(|(_, object)| &**object)
    }

    /// What was reported about an entrypoint.
    pub fn reported(&self, entrypoint: &str) -> Option<&EntrypointStatus> {
        let mut entrypoints = self.previous.entrypoints.iter();
        entrypoints.find(|reported| reported.name == entrypoint)
    }
}

/// Everything that the decisions about `function` need, but for its hosts.
pub fn observe(function: &Function, caches: &Caches, memory: &Memory) -> Observed {
    Observed {
        hosts: Hosts::default(),
        children: children(function, caches),
        attachments: caches.attachments(|kind, object| kind.is_of(object, function)),
        previous: memory
            .status(function)
            .or_else(|| function.status.clone())
            .unwrap_or_default(),
        answers: answers(function),
        findings: Findings::default(),
    }
}

fn answers(function: &Function) -> HashMap<String, Verified> {
    let status = function.status.iter();
    let entrypoints = status.flat_map(|status| &status.entrypoints);
    entrypoints
        .filter_map(|entrypoint| Some((entrypoint.name.clone(), entrypoint.verified.clone()?)))
        .collect()
}

/// The Deployments of an object, told by its UID, so that those of a deleted one of the same name are not taken for it.
pub fn children<K: Resource>(owner: &K, caches: &Caches) -> Vec<Arc<Deployment>> {
    caches.deployments.state_filter(|deployment| {
        deployment.metadata.namespace == owner.meta().namespace
            && is_controlled_by(deployment, owner)
    })
}

/// Whether `owner` is the one controller of the object.
pub fn is_controlled_by(object: &impl Resource, owner: &impl Resource) -> bool {
    let owners = object.owner_references().iter();
    owner.meta().uid.is_some()
        && owners
            .filter(|reference| reference.controller == Some(true))
            .any(|reference| Some(&reference.uid) == owner.meta().uid.as_ref())
}

/// Instances that a Deployment has.
pub fn instances(deployment: &Deployment) -> i32 {
    let status = deployment.status.as_ref();
    status.and_then(|status| status.replicas).unwrap_or(0)
}

/// The value of one of Thaw's labels.
pub fn label<'a>(deployment: &'a Deployment, key: &str) -> &'a str {
    deployment.labels().get(key).map_or("", String::as_str)
}

/// Which entrypoint a Deployment serves.
pub fn entrypoint(deployment: &Deployment) -> &str {
    label(deployment, names::ENTRYPOINT)
}

/// Which revision a Deployment is.
pub fn revision(deployment: &Deployment) -> &str {
    label(deployment, names::REVISION)
}
