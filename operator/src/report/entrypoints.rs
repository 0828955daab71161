//! How each entrypoint stands.

use std::sync::Arc;

use crds::{
    FunctionStatus,
    entrypoint::revision_history_limit,
    function::Function,
    status::{BootOutcome, BundledStatus, EntrypointStatus, Verified},
};
use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::Time};

use crate::{
    apply::{Applied, Outcome},
    desired::{self, Child},
    observe::{self, Observed},
    rollout::{Rollbacks, Rollout, Situation, rollout},
    size::Admission,
    status::Report,
};

/// Seconds after the first answer of an instance within which its node has told how large the image is: three reports of the kubelet.
const NODES_WORD: i64 = 30;

/// How each entrypoint goes on, in the order of the children.
pub(super) fn rollouts(
    function: &Function,
    observed: &Observed,
    children: &[Child],
    applied: &Applied,
    rollbacks: &Rollbacks,
    now: &Time,
) -> Vec<Rollout> {
    let nothing = EntrypointStatus::default();
    let next = |(child, outcome): (&Child, &Outcome)| {
        let exists = |revision: &str| {
            if revision == child.revision {
                outcome.exists
            } else {
                desired::exists(function, observed, &child.entrypoint, revision)
            }
        };
        let situation = Situation {
            entrypoint: &child.entrypoint,
            wanted: &child.revision,
            when: child.verify,
            before: observed.reported(&child.entrypoint).unwrap_or(&nothing),
            answer: answer(observed, child, now),
            rollback: rollbacks.asked.get(&child.entrypoint).map(String::as_str),
            limit: revision_history_limit(&function.spec),
            predecessors: &child.predecessors,
            is_too_large: child.verdict.admission == Admission::Refused,
        };
        rollout(situation, exists)
    };
    children.iter().zip(&applied.outcomes).map(next).collect()
}

/// What the activator said about a revision. As long as a node may still say that its image is too large, a good answer is kept back, so
/// that the traffic need not go back.
fn answer<'a>(observed: &'a Observed, child: &Child, now: &Time) -> Option<&'a Verified> {
    let answer = observed.answers.get(&child.entrypoint)?;
    let is_new = now.0.as_second() - answer.at.0.as_second() < NODES_WORD;
    let is_kept_back = child.verdict.admission == Admission::Unmeasured
        && answer.outcome == BootOutcome::Succeeded
        && is_new;
    (!is_kept_back).then_some(answer)
}

pub(super) fn reports(
    observed: &Observed,
    children: &[Child],
    rollouts: Vec<Rollout>,
    url: &str,
) -> Vec<Report> {
    let report = |(child, rollout): (&Child, Rollout)| Report {
        name: child.entrypoint.clone(),
        url: own_url(child, url),
        entrypoints: bundled(child, url),
        predecessors: rollout.predecessors,
        revision: Some(child.revision.clone()),
        ready_revision: rollout.ready,
        verifying: rollout.verifying,
        kept_revisions: rollout.kept,
        rollback: rollout.rollback,
        measured: child.verdict.measured.clone(),
        instances: instances(&observed.children, &child.entrypoint),
    };
    children.iter().zip(rollouts).map(report).collect()
}

/// Where an entrypoint is reached.
fn own_url(child: &Child, url: &str) -> Option<String> {
    let mut routes = child.routes.iter().filter(|_| !child.is_bundle);
    routes.next().map(|route| format!("{url}{}", route.path))
}

/// The entrypoints of a bundle.
fn bundled(child: &Child, url: &str) -> Vec<BundledStatus> {
    let routes = child.routes.iter().filter(|_| child.is_bundle);
    let bundled = routes.map(|route| BundledStatus {
        name: route.entrypoint.clone(),
        url: format!("{url}{}", route.path),
    });
    bundled.collect()
}

/// What was reported before, with the instances of now: for a manifest that changes nothing.
pub(super) fn unchanged(previous: &FunctionStatus, children: &[Arc<Deployment>]) -> Vec<Report> {
    let entrypoints = previous.entrypoints.iter();
    entrypoints
        // What is left of a removed entrypoint holds only what the activator wrote.
        .filter(|entrypoint| entrypoint.revision.is_some())
        .map(|entrypoint| Report {
            name: entrypoint.name.clone(),
            url: entrypoint.url.clone(),
            entrypoints: entrypoint.entrypoints.clone(),
            predecessors: entrypoint.predecessors.clone(),
            revision: entrypoint.revision.clone(),
            ready_revision: entrypoint.ready_revision.clone(),
            verifying: entrypoint.verifying.clone(),
            kept_revisions: entrypoint.kept_revisions.clone(),
            rollback: entrypoint.rollback.clone(),
            measured: entrypoint.measured.clone(),
            instances: instances(children, &entrypoint.name),
        })
        .collect()
}

fn instances(children: &[Arc<Deployment>], entrypoint: &str) -> i32 {
    let children = children.iter();
    let of_entrypoint = children.filter(|child| observe::entrypoint(child) == entrypoint);
    of_entrypoint.map(|child| observe::instances(child)).sum()
}
