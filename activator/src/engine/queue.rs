//! Invocations that wait for a slot, first in, first out.

use std::collections::BTreeMap;

use tokio::time::Instant;

/// A place in the queue. Smaller is earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WaiterId(i64);

/// The queue. Every operation is O(log n).
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Since when each waits.
    waiters: BTreeMap<WaiterId, Instant>,
    last: i64,
    first: i64,
}

impl Queue {
    /// A place at the end.
    pub(super) fn push(&mut self, now: Instant) -> WaiterId {
        self.last += 1;
        self.waiters.insert(WaiterId(self.last), now);
        WaiterId(self.last)
    }

    /// A place before everybody, for one that had its turn already.
    pub(super) fn push_first(&mut self, since: Instant) -> WaiterId {
        self.first -= 1;
        self.waiters.insert(WaiterId(self.first), since);
        WaiterId(self.first)
    }

    pub(super) fn first(&self) -> Option<(WaiterId, Instant)> {
        self.waiters
            .first_key_value()
            .map(|(waiter, since)| (*waiter, *since))
    }

    pub(super) fn pop(&mut self) -> Option<WaiterId> {
        self.waiters.pop_first().map(|(waiter, _)| waiter)
    }

    pub(super) fn remove(&mut self, waiter: WaiterId) {
        self.waiters.remove(&waiter);
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = WaiterId> {
        std::mem::take(&mut self.waiters).into_keys()
    }

    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }
}
