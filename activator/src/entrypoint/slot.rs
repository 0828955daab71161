//! The right to run one invocation, and the wait for it.

use std::{sync::Arc, time::Duration};

use tokio::{sync::oneshot, time::Instant};

use super::Entrypoint;
use crate::{
    alarm::Alarm,
    engine::{Ending, InstanceId, Refusal, WaiterId},
    held::Permit,
    instance::Instance,
};

/// An outcome on its way to a waiter, delivered outside the lock: a slot that nobody takes any more goes back through it.
pub(super) struct Answer {
    pub(super) to: oneshot::Sender<Result<Slot, Refusal>>,
    pub(super) outcome: Result<Slot, Refusal>,
}

impl Answer {
    pub(super) fn deliver(self) {
        if let Err(Ok(unused)) = self.to.send(self.outcome) {
            unused.give_back();
        }
    }
}

/// A place in the queue, given up when dropped.
pub(super) struct Waiting<'a> {
    pub(super) entrypoint: &'a Entrypoint,
    pub(super) waiter: WaiterId,
    pub(super) outcome: oneshot::Receiver<Result<Slot, Refusal>>,
    /// Counts it among what all entrypoints hold.
    pub(super) _permit: Option<Permit>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.outcome.is_terminated() {
            return;
        }
        self.outcome.close();
        match self.outcome.try_recv() {
            Ok(Ok(unused)) => unused.give_back(),
            Ok(Err(_)) => {}
            Err(_) => self
                .entrypoint
                .input(|shell, now| ((), shell.cancel(self.waiter, now))),
        }
    }
}

/// The right to run one invocation on an instance. Dropped without [`Slot::finish`], the instance is not used again.
#[derive(Debug)]
pub struct Slot {
    pub(super) entrypoint: Option<Arc<Entrypoint>>,
    pub(super) id: InstanceId,
    /// The instance.
    pub(crate) instance: Arc<Instance>,
    /// When the invocation began to wait.
    pub(super) arrived: Instant,
    /// When it got the slot.
    pub(crate) started: Instant,
    /// How long the instance booted, if this invocation waited for it.
    pub(crate) boot: Option<Duration>,
    /// How long it took to thaw for this invocation.
    pub(crate) thaw: Option<Duration>,
    /// For the clocks of the invocation.
    pub(crate) alarm: Alarm,
    pub(super) ending: Ending,
}

impl Slot {
    /// The answer ended as it should: the instance takes the next invocation.
    pub fn finish(&mut self) {
        self.ending = Ending::Clean;
        self.free();
    }

    /// Nothing was done with it.
    pub(crate) fn give_back(mut self) {
        self.ending = Ending::Unused;
        self.instance.forget_entry();
        self.free();
    }

    /// The entrypoint took the slot back in its own way.
    pub(super) fn forget(&mut self) {
        self.entrypoint = None;
        self.instance.leave();
    }

    fn free(&mut self) {
        let Some(entrypoint) = self.entrypoint.take() else {
            return;
        };
        self.instance.leave();
        let took = entrypoint.input(|shell, now| {
            if let Some(member) = shell.members.get_mut(&self.id) {
                member.alarms.push(std::mem::take(&mut self.alarm));
            }
            let took = now - self.started;
            if self.ending == Ending::Clean {
                shell.engine.took(took);
            }
            (took, shell.engine.end(self.id, self.ending, now))
        });
        if self.ending != Ending::Unused {
            entrypoint.meter.used(took);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.free();
    }
}
