//! What goes wrong.

use super::call::{Asked, Verb};

/// A fault that stands until it is lifted.
pub(super) struct Fault {
    pub(super) verbs: &'static [Verb],
    pub(super) part: &'static str,
    pub(super) trouble: Trouble,
}

/// How a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It is answered with this code and reason, and perhaps when to come again, in seconds.
    Refusal(u16, &'static str, Option<u64>),
    /// It has no effect and no answer; watches fall silent.
    Lost,
    /// It has its effect and no answer.
    Unanswered,
    /// Its connection breaks: a watch begins, and ends at once.
    Cut,
    /// A watch begins, and ends with the word that its version is too old.
    Gone,
    /// The namespace is being deleted, so that nothing can be created in it.
    Ending,
}

impl Fault {
    pub(super) fn concerns(&self, asked: &Asked) -> bool {
        let name = asked.body["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("{}/{name}", asked.path);
        self.verbs.contains(&asked.verb) && path.contains(self.part)
    }
}
