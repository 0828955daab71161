//! What must hold after every step, by name.

/// A guarantee of the engine. See its module documentation and that of each world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Property {
    /// No more invocations run than `concurrency` times the instances that are up, and the engine counts them right.
    RunningWithinSlots,
    /// A slot has one owner: one invocation, of one replica.
    OneOwner,
    /// An answered invocation does not wait any more, and none is answered twice.
    OneAnswer,
    /// An invocation that waits is in the queue.
    NoneLost,
    /// First in, first out.
    Fifo,
    /// `replicas` lies within [min, max], plus what is out of rotation.
    WantedWithinBounds,
    /// No demand for `idle_after`: exactly `min` are left.
    IdleToMinimum,
    /// A waiter has ended when its time is over, and no timeout is called before.
    Deadline,
    /// A cancelled waiter leaves the queue at once and is never heard of again.
    CancelledStays,
    /// One write of `replicas` at a time, by the owner.
    OneWrite,
    /// A ReplicaSet is never made to delete an instance that runs something.
    BusyIsKept,
    /// A retired entrypoint has no instance, no invocation and no timer; one that left has no invocation.
    NothingLeft,
    /// A timer that rang is not set again for the same moment.
    TimersMoveOn,
}

impl Property {
    pub(super) const ALL: [Self; 13] = [
        Self::RunningWithinSlots,
        Self::OneOwner,
        Self::OneAnswer,
        Self::NoneLost,
        Self::Fifo,
        Self::WantedWithinBounds,
        Self::IdleToMinimum,
        Self::Deadline,
        Self::CancelledStays,
        Self::OneWrite,
        Self::BusyIsKept,
        Self::NothingLeft,
        Self::TimersMoveOn,
    ];

    /// An error that says `what` happened, unless the property `holds`.
    pub(super) fn requires(self, holds: bool, what: impl FnOnce() -> String) -> Held {
        if holds { Ok(()) } else { self.violated(what()) }
    }

    pub(super) fn violated<T>(self, what: String) -> Result<T, Violation> {
        Err(Violation {
            property: self,
            what,
        })
    }
}

#[derive(Clone, Debug)]
pub(super) struct Violation {
    pub(super) property: Property,
    pub(super) what: String,
}

pub(super) type Held = Result<(), Violation>;
