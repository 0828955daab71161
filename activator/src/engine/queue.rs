//! Invocations that wait for a slot, first in, first out.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::{Engine, Refusal, Role};

/// A place in the queue. Smaller is earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WaiterId {
    since: Instant,
    /// Tells those apart that came in the same moment.
    nth: i64,
}

/// The queue. Every operation is O(log n).
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiters: BTreeSet<WaiterId>,
    last: i64,
    first: i64,
}

impl Queue {
    /// A place at the end.
    pub(super) fn push(&mut self, now: Instant) -> WaiterId {
        self.last += 1;
        self.insert(now, self.last)
    }

    /// A place behind those who have waited longer, for one that had its turn already.
    pub(super) fn push_again(&mut self, since: Instant) -> WaiterId {
        self.first -= 1;
        self.insert(since, self.first)
    }

    fn insert(&mut self, since: Instant, nth: i64) -> WaiterId {
        let waiter = WaiterId { since, nth };
        self.waiters.insert(waiter);
        waiter
    }

    /// The first, and since when it waits.
    pub(super) fn first(&self) -> Option<(WaiterId, Instant)> {
        self.waiters.first().map(|waiter| (*waiter, waiter.since))
    }

    pub(super) fn pop(&mut self) -> Option<WaiterId> {
        self.waiters.pop_first()
    }

    pub(super) fn remove(&mut self, waiter: WaiterId) {
        self.waiters.remove(&waiter);
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = WaiterId> {
        std::mem::take(&mut self.waiters).into_iter()
    }

    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }
}

impl Engine {
    /// Refuses those whose time is over.
    pub(super) fn expire_waiters(&mut self, now: Instant) {
        while let Some((waiter, since)) = self.queue.first()
            && self
                .waiter_deadline(since)
                .is_some_and(|deadline| deadline <= now)
        {
            self.queue.remove(waiter);
            let refusal = match (self.role, self.serving_since) {
                (Role::Standby, _) => Refusal::Unavailable,
                (_, Some(_)) => Refusal::QueueTimeout,
                (_, None) => Refusal::BootTimeout(self.what_booting_waits_for()),
            };
            self.effects.refused.push((waiter, refusal));
        }
    }

    /// `queue` counts while some instance serves, `boot` while none does; neither counts against the other.
    pub(super) fn waiter_deadline(&self, since: Instant) -> Option<Instant> {
        match self.serving_since {
            Some(serving) => self
                .settings
                .queue_timeout
                .map(|timeout| since.max(serving) + timeout),
            None => {
                let since = self
                    .unserved_since
                    .map_or(since, |unserved| since.max(unserved));
                self.settings.boot_timeout.map(|timeout| since + timeout)
            }
        }
    }
}
