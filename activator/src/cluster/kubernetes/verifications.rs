//! The verifications that run.

use std::{collections::HashMap, sync::Arc};

use tokio_util::task::AbortOnDropHandle;

use super::reports::Reports;
use crate::{
    entrypoint::{Entrypoint, Key},
    verification::{Check, verify},
};

/// A task for each revision that the operator asks about; it ends when nobody asks any more.
pub(super) struct Verifications {
    reports: Reports,
    running: HashMap<Key, (Check, AbortOnDropHandle<()>)>,
}

impl Verifications {
    pub(super) fn new(reports: Reports) -> Self {
        let running = HashMap::new();
        Self { reports, running }
    }

    /// Exactly these of a Function's revisions are verified from now on. One that is verified already goes on, unless it has to do
    /// something else now.
    pub(super) fn keep(
        &mut self,
        namespace: &str,
        function: &str,
        wanted: Vec<(Arc<Entrypoint>, Check)>,
    ) {
        self.running.retain(|key, (check, _)| {
            let is_other = key.namespace != namespace || key.function != function;
            let is_wanted = |(entrypoint, wanted): &(Arc<Entrypoint>, Check)| {
                entrypoint.key == *key && wanted == check
            };
            is_other || wanted.iter().any(is_wanted)
        });
        for (entrypoint, check) in wanted {
            let key = entrypoint.key.clone();
            let reports = self.reports.clone();
            self.running.entry(key.clone()).or_insert_with(|| {
                tracing::info!(entrypoint = %key, "verifying");
                let tell = move |failure| reports.verified(&key, failure);
                let task = tokio::spawn(verify(entrypoint, check.clone(), tell));
                (check, AbortOnDropHandle::new(task))
            });
        }
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> Vec<Key> {
        self.running.keys().cloned().collect()
    }
}
