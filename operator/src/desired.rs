//! What there should be: a pure function of the manifest and of what there is.

mod deployment;
mod network_policy;

use std::sync::Arc;

use crds::{
    entrypoint::{InvalidSpec, resolve, revision_history_limit},
    function::{Function, VerifyWhen},
    names,
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
    /// One child for each entrypoint, in the order of the manifest; or why there is none.
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
    /// Name of the entrypoint.
    pub entrypoint: String,
    /// Path of the entrypoint.
    pub path: String,
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
    let attachments: Vec<_> = network_policy::render(function, platform)
        .into_iter()
        .collect();
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
            image: entrypoint.template.image,
            entrypoint: entrypoint.name,
            path: entrypoint.path,
            verify: entrypoint.verify.when,
            revision,
            deployment,
        }
    };
    Ok(entrypoints.into_iter().map(child).collect())
}

/// The activator drains what no entrypoint wants; what it has drained is removed.
///
/// A revision that was reported to take the traffic is kept until another one has been reported, for until then requests go there; and
/// so are those that can be gone back to.
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
