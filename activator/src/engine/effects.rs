//! What the engine answers to an input.

use std::time::Duration;

use tokio::time::Instant;

use super::{InstanceId, Marking, WaiterId};

/// Why an invocation gets no slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `limits.queue` invocations wait already.
    QueueFull,
    /// The caller may hold no more that wait, whatever this queue has room for.
    HeldFull,
    /// `timeouts.queue` passed.
    QueueTimeout,
    /// The boot cannot succeed.
    BootFailed(BootFailure),
    /// `timeouts.boot` passed.
    BootTimeout(BootFailure),
    /// The replica goes away and has no instance any more.
    Draining,
    /// No replica took the entrypoint over in time.
    Unavailable,
}

/// Why a boot ended without an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootFailure {
    /// Kubernetes' reason, such as `ErrImagePull`.
    pub reason: String,
    /// What a person should read.
    pub message: String,
}

/// How an invocation left its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It never began: its client had left before it got the slot.
    Unused,
    /// The answer ended as it should.
    Clean,
    /// It was cut, timed out or the instance broke the protocol: the instance may still be running it and is not used again.
    Broken,
}

/// What the caller does after an input. Slots are handed over only after the boots that they waited for are noted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Waiters that got a slot.
    pub dispatched: Vec<(WaiterId, InstanceId)>,
    /// Waiters that will get none.
    pub refused: Vec<(WaiterId, Refusal)>,
    /// Instances to connect to; answered by [`super::Engine::accepted`].
    pub dial: Vec<InstanceId>,
    /// Boots that ended: the instance, how long it took, and the failure if it was one.
    pub boots: Vec<BootReport>,
    /// Instances to stop from running; answered by [`super::Engine::frozen`].
    pub freeze: Vec<InstanceId>,
    /// Instances to let run again; answered by [`super::Engine::thawed`].
    pub thaw: Vec<InstanceId>,
    /// Pods whose deletion cost must be written before they are scaled away, each lower than the one before and than all earlier ones:
    /// the first may be taken back into use, and then the others must go before it. Answered by [`super::Engine::marked`].
    pub mark: Vec<(InstanceId, Marking)>,
    /// Instances that a leaving owner no longer uses.
    pub released: Vec<InstanceId>,
    /// `replicas` to write; answered by [`super::Engine::scaled`].
    pub scale: Option<u32>,
    /// When to call [`super::Engine::tick`], if nothing happens before.
    pub wake: Option<Instant>,
}

/// How one boot ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootReport {
    /// The instance, unless none came to be.
    pub instance: Option<InstanceId>,
    /// From asking for it.
    pub took: Duration,
    /// Why it failed; `None` after a success.
    pub failure: Option<BootFailure>,
    /// The failure was `timeouts.boot` passing.
    pub timed_out: bool,
}

/// What an arrival is told at once.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// A slot was free.
    Run(InstanceId),
    /// Wait for [`Effects::dispatched`] or [`Effects::refused`].
    Wait(WaiterId),
    /// No slot and no place in the queue.
    Refuse(Refusal),
}

/// What an entrypoint has, and what it wants that the caller has not permitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Instances that are there or asked for.
    pub instances: u32,
    /// Boots in flight.
    pub boots: u32,
    /// More that are wanted.
    pub lacking: u32,
    /// The nodes that it boots on.
    pub pool: u64,
}

impl Effects {
    /// Adds what followed from a later input of the same moment.
    pub(crate) fn join(&mut self, later: Self) {
        let Self {
            dispatched,
            refused,
            dial,
            boots,
            freeze,
            thaw,
            mark,
            released,
            scale,
            wake,
        } = later;
        self.dispatched.extend(dispatched);
        self.refused.extend(refused);
        self.dial.extend(dial);
        self.boots.extend(boots);
        self.freeze.extend(freeze);
        self.thaw.extend(thaw);
        self.mark.extend(mark);
        self.released.extend(released);
        self.scale = scale.or(self.scale);
        self.wake = wake;
    }
}
