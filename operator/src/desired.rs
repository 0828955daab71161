//! What there should be: a pure function of the manifest and of what there is.

mod deployment;
mod http_route;
mod ingress;
mod network_policy;
mod service;

use std::sync::Arc;

use crds::{
    entrypoint::{InvalidSpec, Route, resolve, revision_history_limit},
    function::{Function, VerifyWhen, Visibility},
    names,
    status::Predecessor,
};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{ResourceExt, api::DynamicObject};

use crate::{
    attachment::{Attachment, Kind},
    inquire::Findings,
    observe::{self, Observed},
    platform::Platform,
    size::{Admission, Verdict},
};
use deployment::Identity;

/// What to do about a Function.
#[derive(Debug)]
pub struct Plan {
    /// One child for each bundle and each entrypoint that is in none, in the order of the manifest; or why there is none.
    pub wanted: Result<Vec<Child>, InvalidSpec>,
    /// Deployments that no entrypoint wants, or whose image is refused, and that have no instance left.
    pub orphans: Vec<Arc<Deployment>>,
    /// What the Function should have besides.
    pub attachments: Vec<Attachment>,
    /// What it has besides and should not.
    pub surplus: Vec<(Kind, Arc<DynamicObject>)>,
}

/// A Deployment that should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// Name of the entrypoint or bundle.
    pub entrypoint: String,
    /// Whether it is a bundle.
    pub is_bundle: bool,
    /// The paths that lead here.
    pub routes: Vec<Route>,
    /// What answered some of these paths before, and is not this entrypoint's revision with the traffic.
    pub predecessors: Vec<Predecessor>,
    /// Revision of the entrypoint's template.
    pub revision: String,
    /// Whether the revision has to answer before it takes the traffic.
    pub verify: VerifyWhen,
    /// The image, for people.
    pub image: String,
    /// Whether pods of it may be.
    pub verdict: Verdict,
    /// The Deployment, without `replicas`.
    pub deployment: Deployment,
}

/// Decides what to do about `function`. A manifest that breaks a rule changes nothing: a bad edit takes nothing down.
pub fn decide(function: &Function, observed: &Observed, platform: &Platform) -> Plan {
    let wanted = children(function, observed);
    let orphans = match &wanted {
        Ok(wanted) => orphans(wanted, observed, revision_history_limit(&function.spec)),
        Err(_) => Vec::new(),
    };
    let mut attachments = Vec::from_iter(network_policy::render(function, platform));
    if wanted.is_ok() {
        attachments.push(service::render(function, platform));
        attachments.extend(route(function, &observed.hosts.custom, platform));
    }
    let surplus = match &wanted {
        Ok(_) => surplus(&attachments, observed),
        Err(_) => Vec::new(),
    };
    Plan {
        wanted,
        orphans,
        attachments,
        surplus,
    }
}

/// What leads custom hosts to the activator. Nothing does if only callers inside the cluster may come.
fn route(function: &Function, hosts: &[String], platform: &Platform) -> Option<Attachment> {
    let visibility = function.spec.visibility.unwrap_or_default();
    if hosts.is_empty() || visibility == Visibility::Cluster {
        return None;
    }
    match (&platform.gateway, &platform.ingress) {
        (Some(gateway), _) => Some(http_route::render(function, hosts, gateway, platform)),
        (None, Some(ingress)) => Some(ingress::render(function, hosts, ingress, platform)),
        (None, None) => None,
    }
}

fn surplus(wanted: &[Attachment], observed: &Observed) -> Vec<(Kind, Arc<DynamicObject>)> {
    let is_wanted = |kind: Kind, object: &DynamicObject| {
        let mut all = wanted.iter();
        all.any(|wanted| wanted.kind == kind && wanted.name() == object.name_any())
    };
    let found = observed.attachments.iter();
    found
        .filter(|(kind, object)| !is_wanted(*kind, object))
        .cloned()
        .collect()
}

fn children(function: &Function, observed: &Observed) -> Result<Vec<Child>, InvalidSpec> {
    let entrypoints = resolve(&function.spec)?;
    let Findings {
        configs, verdicts, ..
    } = &observed.findings;
    let child = |mut entrypoint: crds::Entrypoint| {
        entrypoint.template.config = configs.get(&entrypoint.name).cloned();
        let template = &entrypoint.template;
        let revision = template.revision(&function.name_any(), &entrypoint.name);
        let identity = Identity {
            function,
            entrypoint: &entrypoint.name,
            revision: &revision,
        };
        let deployment = deployment::render(identity, template);
        Child {
            verdict: verdicts.get(&entrypoint.name).cloned().unwrap_or_default(),
            predecessors: predecessors(function, observed, &entrypoint),
            image: entrypoint.template.image,
            entrypoint: entrypoint.name,
            is_bundle: entrypoint.is_bundle,
            routes: entrypoint.routes,
            verify: entrypoint.verify.when,
            revision,
            deployment,
        }
    };
    Ok(entrypoints.into_iter().map(child).collect())
}

/// What answers paths of an entrypoint that were another's before: it came into a bundle, or left one, or has a new name.
fn predecessors(
    function: &Function,
    observed: &Observed,
    entrypoint: &crds::Entrypoint,
) -> Vec<Predecessor> {
    let reported = observed.reported(&entrypoint.name);
    let ready = reported.and_then(|reported| reported.ready_revision.as_deref());
    let predecessor = |route: &Route| {
        let (name, revision) = observed.previous.answering(&entrypoint.name, &route.path)?;
        let is_own = name == entrypoint.name && ready == Some(revision);
        let is_there = !is_own && exists(function, observed, name, revision);
        is_there.then(|| Predecessor {
            path: route.path.clone(),
            entrypoint: name.to_owned(),
            revision: revision.to_owned(),
        })
    };
    entrypoint.routes.iter().filter_map(predecessor).collect()
}

/// The activator drains what no entrypoint wants; what it has drained is removed.
///
/// A revision that was reported to take the traffic is kept until another one has been reported, for until then requests go there; and
/// so are those that can be gone back to, and those that answer paths which another entrypoint has not taken over yet.
fn orphans(wanted: &[Child], observed: &Observed, limit: usize) -> Vec<Arc<Deployment>> {
    let is_wanted = |deployment: &Deployment| {
        wanted
            .iter()
            .filter(|child| child.verdict.admission != Admission::Refused)
            .any(|child| child.deployment.name_any() == deployment.name_any())
    };
    let is_of_use = |deployment: &Deployment| {
        let (entrypoint, revision) = (
            observe::entrypoint(deployment),
            observe::revision(deployment),
        );
        let mut predecessors = wanted.iter().flat_map(|child| &child.predecessors);
        if predecessors.any(|p| p.entrypoint == entrypoint && p.revision == revision) {
            return true;
        }
        let is_there = wanted.iter().any(|child| child.entrypoint == entrypoint);
        let reported = observed.reported(entrypoint).filter(|_| is_there);
        reported.is_some_and(|reported| {
            let kept = reported.kept_revisions.iter().take(limit);
            reported
                .ready_revision
                .iter()
                .chain(kept)
                .any(|r| r == revision)
        })
    };
    let children = observed.children.iter();
    children
        .filter(|child| !is_wanted(child) && !is_of_use(child) && is_drained(child))
        .cloned()
        .collect()
}

/// No instance, none asked for, and none about to be made by a Deployment controller that lags behind.
fn is_drained(deployment: &Deployment) -> bool {
    let asked = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    let seen = deployment
        .status
        .as_ref()
        .and_then(|s| s.observed_generation);
    asked == Some(0)
        && observe::instances(deployment) == 0
        && seen >= deployment.metadata.generation
        && deployment.metadata.deletion_timestamp.is_none()
}

/// Whether the Deployment of an entrypoint's revision is among the children.
pub fn exists(function: &Function, observed: &Observed, entrypoint: &str, revision: &str) -> bool {
    let name = names::deployment(&function.name_any(), entrypoint, revision);
    observed.child(&name).is_some()
}

#[cfg(test)]
mod tests;
