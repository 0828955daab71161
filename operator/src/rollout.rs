//! Which revision of an entrypoint takes the traffic: a pure function of the manifest, of what was reported before, and of what the
//! activator answered.
//!
//! # Guarantees
//! - Traffic leaves a revision only for one that answered the activator, that took traffic before, or that the manifest does not want
//!   verified. So does the traffic of a path that goes from one entrypoint or bundle to another.
//! - Everything that a decision needs stands in the status, and the traffic moves in the same write that ends the question. So a restart
//!   in between changes nothing, and the activator never sees a revision that it is neither asked about nor sends traffic to.

mod rollback;

use crds::{
    conditions::Reason,
    function::VerifyWhen,
    status::{BootOutcome, EntrypointStatus, Predecessor, Rollback, Verified},
};

use crate::status::Trouble;
pub use rollback::Rollbacks;

/// What there is to decide on for one entrypoint.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// Name of the entrypoint.
    pub entrypoint: &'a str,
    /// The revision that the manifest asks for.
    pub wanted: &'a str,
    /// Whether it has to answer first.
    pub when: VerifyWhen,
    /// What was reported last.
    pub before: &'a EntrypointStatus,
    /// What the activator said last.
    pub answer: Option<&'a Verified>,
    /// The revision that a person wants to go back to.
    pub rollback: Option<&'a str>,
    /// How many older revisions are kept.
    pub limit: usize,
    /// What answers some of its paths until a revision has taken them over.
    pub predecessors: &'a [Predecessor],
    /// Whether the revision's image is too large.
    pub is_too_large: bool,
}

/// How an entrypoint goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// The revision that takes the traffic from now on.
    pub ready: Option<String>,
    /// The revision that the activator has to verify.
    pub verifying: Option<String>,
    /// Older revisions to keep, the last that took traffic first.
    pub kept: Vec<String>,
    /// The rollback that was asked for, and whether it is still in effect.
    pub rollback: Option<Rollback>,
    /// What goes on answering some of its paths.
    pub predecessors: Vec<Predecessor>,
    /// What a person should know.
    pub troubles: Vec<Trouble>,
}

/// Decides how an entrypoint goes on. `exists` says whether a revision has a Deployment.
pub fn rollout(situation: Situation<'_>, exists: impl Fn(&str) -> bool) -> Rollout {
    let Situation { wanted, before, .. } = situation;
    let previous = before.ready_revision.as_deref().filter(|r| exists(r));
    // It may have the traffic already, if nobody could measure it before it booted.
    let mut kept_ones = before.kept_revisions.iter().map(String::as_str);
    let last = kept_ones.find(|kept| situation.is_too_large && exists(kept));
    let previous = previous.or(last);
    let back = rollback::decide(situation, &exists);
    let mut troubles = Vec::from_iter(back.trouble);
    let trusted = || exists(wanted) && is_trusted(situation, previous);
    let ready = back
        .to
        .or_else(|| trusted().then_some(wanted))
        .or(previous)
        .map(str::to_owned);
    let is_waiting = back.to.is_none() && ready.as_deref() != Some(wanted) && exists(wanted);
    if is_waiting {
        troubles.push(waiting(situation, previous));
    }
    Rollout {
        kept: kept(situation, ready.as_deref(), &exists),
        verifying: is_waiting.then(|| wanted.to_owned()),
        rollback: back.record,
        predecessors: if back.to.is_some() || ready.as_deref() == Some(wanted) {
            Vec::new()
        } else {
            situation.predecessors.to_vec()
        },
        ready,
        troubles,
    }
}

/// Whether the wanted revision may take the traffic; `previous` is the one that would lose it.
fn is_trusted(situation: Situation<'_>, previous: Option<&str>) -> bool {
    let Situation {
        wanted,
        when,
        before,
        entrypoint,
        predecessors,
        ..
    } = situation;
    let answers_still =
        |before: &Predecessor| before.entrypoint == entrypoint && before.revision == wanted;
    let has_served = previous == Some(wanted)
        || before.kept_revisions.iter().any(|kept| kept == wanted)
        || predecessors.iter().any(answers_still);
    let has_answered =
        || answer(situation).is_some_and(|answer| answer.outcome == BootOutcome::Succeeded);
    has_served
        || has_answered()
        || match when {
            VerifyWhen::Never => true,
            // Nobody is served by an older one.
            VerifyWhen::Update => previous.is_none() && predecessors.is_empty(),
            VerifyWhen::Always => false,
        }
}

/// What the activator said about the wanted revision, if it was asked about that one.
fn answer(situation: Situation<'_>) -> Option<&Verified> {
    let Situation {
        wanted,
        before,
        answer,
        ..
    } = situation;
    let was_asked = before.verifying.as_deref() == Some(wanted);
    answer.filter(|answer| was_asked && answer.revision == wanted)
}

fn waiting(situation: Situation<'_>, previous: Option<&str>) -> Trouble {
    let Situation {
        entrypoint, wanted, ..
    } = situation;
    let meanwhile = meanwhile(previous, situation.predecessors);
    match answer(situation) {
        Some(failed) => Trouble::Stalled(
            Reason::RevisionFailed,
            format!(
                "{entrypoint}: revision {wanted} cannot take the traffic: {}: {}; {meanwhile}, and it is tried again",
                failed.reason, failed.message
            ),
        ),
        None => Trouble::Retrying(
            Reason::Verifying,
            format!(
                "{entrypoint}: revision {wanted} has to answer before it takes the traffic; {meanwhile}"
            ),
        ),
    }
}

fn meanwhile(previous: Option<&str>, predecessors: &[Predecessor]) -> String {
    let own = previous.map(|revision| format!("revision {revision} keeps the traffic"));
    let others = predecessors.iter().map(|before| {
        let Predecessor {
            path,
            entrypoint,
            revision,
        } = before;
        format!("{entrypoint}@{revision} keeps that of {path}")
    });
    let all: Vec<_> = own.into_iter().chain(others).collect();
    if all.is_empty() {
        return "nothing takes the traffic yet".to_owned();
    }
    all.join(", ")
}

/// Those that took traffic and do so no longer. The order is that of their last traffic and not of their creation: what was gone back to
/// and left again is not the first to be removed.
fn kept(
    situation: Situation<'_>,
    ready: Option<&str>,
    exists: impl Fn(&str) -> bool,
) -> Vec<String> {
    let Situation { before, limit, .. } = situation;
    let all = before.ready_revision.iter().chain(&before.kept_revisions);
    let mut kept = Vec::new();
    for revision in all {
        if ready != Some(revision) && exists(revision) && !kept.contains(revision) {
            kept.push(revision.clone());
        }
    }
    kept.truncate(limit);
    kept
}

#[cfg(test)]
mod tests;
