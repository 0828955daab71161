//! What to tell about a Function: a pure function of what was decided, what came of it, and what was told before.
//!
//! The conditions follow kstatus, so that `kubectl wait`, Argo CD and Flux understand them: `Reconciling` while Thaw has
//! something left to do, `Stalled` when somebody else has, `Ready` when every entrypoint has a revision that takes traffic, at zero
//! instances too.

use crds::{
    FunctionStatus,
    conditions::{READY, RECONCILING, ROUTES_READY, Reason, STALLED},
    status::{BundledStatus, EntrypointStatus, Measured, Predecessor, Rollback},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// What an entrypoint's part of the status is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Name of the entrypoint or bundle.
    pub name: String,
    /// Where an entrypoint is reached.
    pub url: Option<String>,
    /// The entrypoints of a bundle.
    pub entrypoints: Vec<BundledStatus>,
    /// What still answers some of its paths.
    pub predecessors: Vec<Predecessor>,
    /// The revision that the manifest asks for; `None` when the manifest could not be read.
    pub revision: Option<String>,
    /// The revision that takes traffic.
    pub ready_revision: Option<String>,
    /// The revision that the activator is asked to verify.
    pub verifying: Option<String>,
    /// Older revisions that can be gone back to.
    pub kept_revisions: Vec<String>,
    /// The rollback that was asked for.
    pub rollback: Option<Rollback>,
    /// How large its image is.
    pub measured: Option<Measured>,
    /// Instances of all its revisions.
    pub instances: i32,
}

/// What keeps a Function from becoming what its manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Somebody has to change something.
    Stalled(Reason, String),
    /// Thaw goes on by itself.
    Retrying(Reason, String),
}

/// Everything that a status is made from.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The `metadata.generation` that was looked at.
    pub generation: Option<i64>,
    /// Where the function is reached, without a path; the default address first.
    pub urls: Vec<String>,
    /// The custom hosts that it has.
    pub hosts: Vec<String>,
    /// What keeps hosts from leading to it. The first counts.
    pub unrouted: Vec<(Reason, String)>,
    /// One for each entrypoint, in the order of the manifest.
    pub entrypoints: Vec<Report>,
    /// The first of each kind counts.
    pub troubles: Vec<Trouble>,
    /// What was told before.
    pub previous: &'a FunctionStatus,
}

/// How two statuses differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Not at all.
    None,
    /// In the number of instances alone.
    Counts,
    /// In more than that.
    More,
}

/// The status to report at `now`, without the parts that are the activator's.
pub fn status(facts: Facts<'_>, now: &Time) -> FunctionStatus {
    let conditions = conditions(&facts)
        .into_iter()
        .map(|(type_, status, reason, message)| {
            let since = unchanged_since(facts.previous, type_, status);
            Condition {
                type_: type_.to_owned(),
                status: status.to_owned(),
                reason: reason.as_str().to_owned(),
                message,
                observed_generation: facts.generation,
                last_transition_time: since.unwrap_or(now).clone(),
            }
        })
        .collect();
    FunctionStatus {
        observed_generation: facts.generation,
        url: facts.urls.first().cloned(),
        urls: facts.urls,
        hosts: facts.hosts,
        conditions,
        instances: Some(facts.entrypoints.iter().map(|e| e.instances).sum()),
        entrypoints: facts.entrypoints.into_iter().map(entrypoint).collect(),
    }
}

impl Report {
    /// Whether something answers each of its paths.
    fn is_answered(&self) -> bool {
        self.ready_revision.is_some() || self.predecessors.len() == self.entrypoints.len().max(1)
    }
}

fn entrypoint(report: Report) -> EntrypointStatus {
    EntrypointStatus {
        url: report.url,
        entrypoints: report.entrypoints,
        predecessors: report.predecessors,
        name: report.name,
        revision: report.revision,
        ready_revision: report.ready_revision,
        verifying: report.verifying,
        kept_revisions: report.kept_revisions,
        rollback: report.rollback,
        measured: report.measured,
        instances: Some(report.instances),
        verified: None,
        last_boot: None,
    }
}

/// A condition's type, status, reason and message.
type Stated = (&'static str, &'static str, Reason, String);

fn conditions(facts: &Facts<'_>) -> [Stated; 4] {
    let stalled = facts.troubles.iter().find_map(|trouble| match trouble {
        Trouble::Stalled(reason, message) => Some((*reason, message.clone())),
        Trouble::Retrying(..) => None,
    });
    let retrying = facts.troubles.iter().find_map(|trouble| match trouble {
        Trouble::Retrying(reason, message) => Some((*reason, message.clone())),
        Trouble::Stalled(..) => None,
    });
    let unready: Vec<&str> = facts
        .entrypoints
        .iter()
        .filter(|entrypoint| !entrypoint.is_answered())
        .map(|entrypoint| entrypoint.name.as_str())
        .collect();
    let is_ready = unready.is_empty() && !facts.entrypoints.is_empty();
    // Who is not ready is either worked on or stuck: kstatus must never find neither.
    let retrying = retrying.or_else(|| {
        let waiting = || format!("no revision takes traffic yet: {}", unready.join(", "));
        (!is_ready && stalled.is_none()).then(|| (Reason::Progressing, waiting()))
    });

    let ready = match stalled.as_ref().or(retrying.as_ref()) {
        Some((reason, message)) if !is_ready => (READY, "False", *reason, message.clone()),
        _ => (READY, "True", Reason::Available, available(facts)),
    };
    let state = |type_, trouble: Option<(Reason, String)>| match trouble {
        Some((reason, message)) => (type_, "True", reason, message),
        None if is_ready => (type_, "False", Reason::Available, String::new()),
        None => (type_, "False", Reason::Progressing, String::new()),
    };
    [
        ready,
        state(RECONCILING, retrying),
        state(STALLED, stalled),
        routes(facts),
    ]
}

/// A host that is missing takes nothing from those that are there, so it is no part of `Ready`.
fn routes(facts: &Facts<'_>) -> Stated {
    match facts.unrouted.first() {
        None => {
            let message = "every host leads to the function".to_owned();
            (ROUTES_READY, "True", Reason::Available, message)
        }
        Some((reason, message)) => (ROUTES_READY, "False", *reason, message.clone()),
    }
}

/// Says what happens next; the number of instances is left out, so that the message stands still while they come and go.
fn available(facts: &Facts<'_>) -> String {
    let is_old = |e: &&Report| e.revision.is_some() && e.revision != e.ready_revision;
    let old: Vec<_> = facts.entrypoints.iter().filter(is_old).collect();
    if old.is_empty() {
        return "every entrypoint takes traffic; an instance boots on the first invocation".into();
    }
    let is_back = |e: &Report| e.rollback.as_ref().is_some_and(|back| back.from.is_some());
    let name = |e: &&Report| {
        let why = if is_back(e) { " (rolled back)" } else { "" };
        format!("{}{why}", e.name)
    };
    let names: Vec<_> = old.iter().map(name).collect();
    format!(
        "an older revision takes the traffic of {}",
        names.join(", ")
    )
}

/// When the condition took this status, if it has it already.
fn unchanged_since<'a>(
    previous: &'a FunctionStatus,
    type_: &str,
    status: &str,
) -> Option<&'a Time> {
    let mut conditions = previous.conditions.iter();
    let before = conditions.find(|condition| condition.type_ == type_)?;
    (before.status == status).then_some(&before.last_transition_time)
}

/// Compares what stands on the object with what should. What others wrote there (`lastBoot`, `verified`, and an entry that is left of a removed
/// entrypoint only because of it) does not count.
pub fn difference(standing: &FunctionStatus, wanted: &FunctionStatus) -> Difference {
    let mut ours = standing.clone();
    ours.entrypoints
        .retain(|e| wanted.entrypoints.iter().any(|w| w.name == e.name) || e.revision.is_some());
    for entrypoint in &mut ours.entrypoints {
        (entrypoint.last_boot, entrypoint.verified) = (None, None);
    }
    if ours == *wanted {
        return Difference::None;
    }
    ours.instances = wanted.instances;
    for entrypoint in &mut ours.entrypoints {
        let mut all = wanted.entrypoints.iter();
        let wanted = all.find(|wanted| wanted.name == entrypoint.name);
        entrypoint.instances = wanted.and_then(|wanted| wanted.instances);
    }
    if ours == *wanted {
        Difference::Counts
    } else {
        Difference::More
    }
}

#[cfg(test)]
mod tests;
