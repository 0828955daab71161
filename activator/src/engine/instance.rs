//! One instance as the engine knows it.

use tokio::time::Instant;

/// Names an instance within its entrypoint revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(pub u64);

/// Counts markings: a later one has a lower deletion cost. The default is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Marking(pub(super) u64);

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
        /// It was there before: nobody here asked for it.
        is_adopted: bool,
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

/// Whether the processes of an instance run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// They do, and it has not served yet: its first invocation may find it still warming up, so it is not frozen before.
    Fresh,
    /// They do.
    Awake,
    /// Until the cluster confirms that they do not.
    Freezing,
    /// They do not.
    Frozen,
    /// Until the cluster confirms that they do again.
    Thawing,
}

/// `last_use` of an instance that serves nothing.
pub(super) const NEVER_AGAIN: u64 = 0;

#[derive(Debug)]
pub(super) struct Instance {
    pub(super) state: State,
    pub(super) activity: Activity,
    /// Invocations that it runs.
    pub(super) running: u32,
    /// Count of uses at its last use, for the order of reuse; [`NEVER_AGAIN`] before the first and after the last.
    pub(super) last_use: u64,
    /// When it was used last, or accepted first.
    pub(super) used_at: Instant,
    /// Its last marking.
    pub(super) marking: Marking,
    /// Another replica says that it is using the instance.
    pub(super) held: bool,
}

impl Instance {
    pub(super) fn new(state: State, held: bool, now: Instant) -> Self {
        Self {
            state,
            activity: Activity::Fresh,
            running: 0,
            last_use: NEVER_AGAIN,
            used_at: now,
            marking: Marking::default(),
            held,
        }
    }

    /// It never served, or will not again.
    pub(super) fn is_spent(&self) -> bool {
        self.last_use == NEVER_AGAIN
    }

    /// Its processes do not run, or will not in a moment.
    pub(super) fn is_frozen(&self) -> bool {
        matches!(self.activity, Activity::Freezing | Activity::Frozen)
    }
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
    /// In rotation and stopped from running.
    pub frozen: u32,
    /// Out of rotation, not gone yet.
    pub draining: u32,
}
