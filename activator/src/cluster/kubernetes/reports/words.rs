//! What stands in a status and what has to be said there, by entrypoint.

use std::collections::{BTreeMap, HashMap};

use crds::status::{BootOutcome, LastBoot, Verified};

/// Something that is said about an entrypoint.
pub(super) trait Word {
    /// What makes two of them the same to a reader.
    fn tells(&self) -> (BootOutcome, &str, &str, Option<&str>);
}

impl Word for LastBoot {
    fn tells(&self) -> (BootOutcome, &str, &str, Option<&str>) {
        let image = self.image.as_deref();
        (self.outcome, &self.reason, &self.revision, image)
    }
}

impl Word for Verified {
    fn tells(&self) -> (BootOutcome, &str, &str, Option<&str>) {
        (self.outcome, &self.reason, &self.revision, None)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Words<T> {
    /// What the Function's status says, as far as a watch has shown it.
    shown: HashMap<String, T>,
    /// What this process has to say that the status does not say yet.
    unsent: HashMap<String, T>,
}

impl<T> Default for Words<T> {
    fn default() -> Self {
        Self {
            shown: HashMap::new(),
            unsent: HashMap::new(),
        }
    }
}

impl<T: Word> Words<T> {
    /// Everything, the newest of each entrypoint.
    pub(super) fn all(&self) -> BTreeMap<&String, &T> {
        self.shown.iter().chain(&self.unsent).collect()
    }

    /// The newest about an entrypoint.
    pub(super) fn of(&self, entrypoint: &str) -> Option<&T> {
        let unsent = self.unsent.get(entrypoint);
        unsent.or_else(|| self.shown.get(entrypoint))
    }

    /// What a watch shows; what it does not show yet and is still of use is kept.
    pub(super) fn shown(
        &mut self,
        shown: HashMap<String, T>,
        is_of_use: impl Fn(&String, &T) -> bool,
    ) {
        self.unsent.retain(|name, word| {
            let is_shown = shown
                .get(name)
                .is_some_and(|shown| shown.tells() == word.tells());
            is_of_use(name, word) && !is_shown
        });
        self.shown = shown;
    }

    /// True if the status must be told.
    pub(super) fn note(&mut self, entrypoint: &str, word: T) -> bool {
        let shown = self.shown.get(entrypoint);
        if shown.is_some_and(|shown| shown.tells() == word.tells()) {
            self.unsent.remove(entrypoint);
            return false;
        }
        self.unsent.insert(entrypoint.to_owned(), word);
        true
    }
}
