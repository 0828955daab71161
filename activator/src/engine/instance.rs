//! One instance as the engine sees it.

use tokio::time::Instant;

/// Names an instance within its entrypoint revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(pub u64);

/// Where an instance is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Seen while this replica was not the owner.
    Unowned,
    /// Until it accepts a connection.
    Booting {
        /// When it was asked for.
        since: Instant,
        /// What Kubernetes last said it waits for: reason and message.
        waits_for: Option<super::BootFailure>,
    },
    /// In rotation: idle or busy.
    Serving,
    /// In use by another replica that is leaving, or of a state that nobody knows. Not used before this time.
    Suspect {
        /// When whatever it runs must have ended.
        until: Instant,
    },
    /// Out of rotation for good: its boot failed, it broke, or it crashed. Scaled away when it runs nothing.
    Spent,
    /// Out of rotation; its deletion cost is being written. An invocation may still take it back.
    Marking,
    /// Scaled away; its deletion has not been seen yet.
    Retiring,
}

#[derive(Debug)]
pub(super) struct Instance {
    pub(super) state: State,
    /// Invocations that it runs.
    pub(super) running: u32,
    /// Count of uses at its last use, for the order of reuse.
    pub(super) last_use: u64,
    /// When it was used last, or accepted first.
    pub(super) used_at: Instant,
    /// Counts markings: a later one has a lower deletion cost. 0 before the first.
    pub(super) marking: u64,
    /// Another replica says that it is using the instance.
    pub(super) held: bool,
}

/// Instances by state, as the metric `thaw_instances` counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Asked for or not accepting yet.
    pub booting: u32,
    /// In rotation, running nothing.
    pub idle: u32,
    /// Running an invocation.
    pub busy: u32,
    /// Out of rotation, not gone yet.
    pub draining: u32,
}

impl Census {
    pub(super) fn with(mut self, instance: &Instance) -> Self {
        let count = match (&instance.state, instance.running) {
            (State::Booting { .. }, _) => &mut self.booting,
            (State::Serving, 0) => &mut self.idle,
            (State::Serving, _) => &mut self.busy,
            (
                State::Unowned
                | State::Suspect { .. }
                | State::Spent
                | State::Marking
                | State::Retiring,
                _,
            ) => &mut self.draining,
        };
        *count += 1;
        self
    }
}
