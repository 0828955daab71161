//! Going back to an older revision, because a person says so.

use std::collections::BTreeMap;

use crds::{conditions::Reason, entrypoint, function::Function, names, status::Rollback};
use kube::ResourceExt;

use super::Situation;
use crate::status::Trouble;

/// What the annotation of a Function asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollbacks {
    /// The revision to go back to, by entrypoint.
    pub asked: BTreeMap<String, String>,
    /// What nobody can make sense of.
    pub troubles: Vec<Trouble>,
}

impl Rollbacks {
    /// Reads the annotation: `entrypoint@revision`, separated by commas.
    pub fn read(function: &Function) -> Self {
        let mut all = Self::default();
        let annotation = function.annotations().get(names::ROLLBACK);
        let parts = annotation.iter().flat_map(|value| value.split(','));
        for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
            let spec = &function.spec;
            match part.split_once('@') {
                Some((entrypoint, revision))
                    if entrypoint::names(spec).any(|e| e == entrypoint) =>
                {
                    all.asked.insert(entrypoint.to_owned(), revision.to_owned());
                }
                Some((entrypoint, _)) => {
                    let problem = match entrypoint::bundle_of(spec, entrypoint) {
                        Some(bundle) => {
                            format!("{entrypoint} is in bundle {bundle}; write {bundle}@revision")
                        }
                        None => format!("no entrypoint or bundle is named {entrypoint:?}"),
                    };
                    all.complain(part, &problem);
                }
                None => all.complain(part, "write entrypoint@revision"),
            }
        }
        all
    }

    fn complain(&mut self, part: &str, problem: &str) {
        let message = format!("annotation {}: {part:?}: {problem}", names::ROLLBACK);
        self.troubles
            .push(Trouble::Stalled(Reason::InvalidRollback, message));
    }
}

/// What became of a rollback.
pub(super) struct Back<'a> {
    /// The revision that takes the traffic because of it.
    pub(super) to: Option<&'a str>,
    /// What to remember.
    pub(super) record: Option<Rollback>,
    /// Why it is not possible.
    pub(super) trouble: Option<Trouble>,
}

/// A rollback is in effect until the manifest asks for another revision than it did when the rollback began; the annotation may stay
/// longer than that, since it is the user's.
pub(super) fn decide<'a>(situation: Situation<'a>, exists: impl Fn(&str) -> bool) -> Back<'a> {
    let Situation { wanted, before, .. } = situation;
    let mut back = Back {
        to: None,
        record: None,
        trouble: None,
    };
    let Some(asked) = situation.rollback else {
        return back;
    };
    let known = before.rollback.as_ref().filter(|r| r.revision == asked);
    let from = known.map_or(Some(wanted), |known| known.from.as_deref());
    let record = |from: Option<&str>| {
        Some(Rollback {
            revision: asked.to_owned(),
            from: from.map(str::to_owned),
        })
    };
    if from != Some(wanted) {
        back.record = record(None);
        return back;
    }
    let mut choices = before.ready_revision.iter().chain(&before.kept_revisions);
    if choices.any(|choice| choice == asked) && exists(asked) {
        back.to = Some(asked);
        back.record = record(from);
    } else {
        back.trouble = Some(unknown(situation, asked));
    }
    back
}

fn unknown(situation: Situation<'_>, asked: &str) -> Trouble {
    let Situation {
        entrypoint, before, ..
    } = situation;
    let kept = before.kept_revisions.join(", ");
    let kept = if kept.is_empty() { "none" } else { &kept };
    Trouble::Stalled(
        Reason::InvalidRollback,
        format!(
            "{entrypoint}: annotation {}: revision {asked} is not kept; kept, the last one first: {kept}",
            names::ROLLBACK
        ),
    )
}
