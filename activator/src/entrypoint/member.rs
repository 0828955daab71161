//! An instance of the entrypoint and how far its boot has come.

use std::{sync::Arc, time::Duration};

use tokio::{task::AbortHandle, time::Instant};

use crate::instance::Instance;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) instance: Arc<Instance>,
    pub(super) stages: Stages,
    /// The engine asked to connect.
    pub(super) wanted: bool,
    pub(super) dialing: Option<AbortHandle>,
}

impl Member {
    pub(super) fn new(name: &str) -> Self {
        let instance = Arc::new(Instance::new(name.to_owned()));
        let stages = Stages {
            seen: Instant::now(),
            scheduled: None,
            located: None,
        };
        Self {
            instance,
            stages,
            wanted: false,
            dialing: None,
        }
    }
}

/// When each stage of the boot was seen to end.
#[derive(Debug)]
pub(super) struct Stages {
    seen: Instant,
    pub(super) scheduled: Option<Instant>,
    pub(super) located: Option<Instant>,
}

impl Stages {
    /// Lengths of the stages of a boot that took this long until now.
    pub(super) fn lengths(&self, took: Duration) -> [(&'static str, Duration); 5] {
        let now = Instant::now();
        let asked = now.checked_sub(took).unwrap_or(now);
        let scheduled = self.scheduled.unwrap_or(self.seen);
        let located = self.located.unwrap_or(scheduled);
        [
            ("create", self.seen.saturating_duration_since(asked)),
            ("schedule", scheduled.saturating_duration_since(self.seen)),
            ("start", located.saturating_duration_since(scheduled)),
            ("connect", now.saturating_duration_since(located)),
            ("total", took),
        ]
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.dialing.take().inspect(AbortHandle::abort);
    }
}
