//! Those who call: each waits, holds a slot, or has ended in one way.

use super::*;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Slot,
    Refused,
    Cancelled,
}

/// An invocation, in the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Invocation {
    pub(super) since: Instant,
    place: u64,
    /// It had a slot already.
    is_again: bool,
}

#[derive(Debug, Default)]
pub(super) struct Clients {
    /// Those that wait, first come first.
    pub(super) waiting: Vec<(Invocation, WaiterId)>,
    /// Slots from dispatch to end.
    pub(super) slots: Vec<(Invocation, InstanceId)>,
    ended: Vec<(WaiterId, End)>,
    arrivals: u64,
}

impl Clients {
    pub(super) fn arrive(&mut self, now: Instant) -> Invocation {
        self.arrivals += 1;
        Invocation {
            since: now,
            place: self.arrivals,
            is_again: false,
        }
    }

    /// Puts it where its arrival belongs.
    pub(super) fn wait(&mut self, invocation: Invocation, waiter: WaiterId) {
        let at = self
            .waiting
            .partition_point(|(other, _)| *other < invocation);
        self.waiting.insert(at, (invocation, waiter));
    }

    /// Gives a slot back that was of no use; the invocation is to wait again.
    pub(super) fn give_back(&mut self, at: usize) -> (Invocation, InstanceId) {
        let (invocation, instance) = self.slots.swap_remove(at);
        let is_again = true;
        (
            Invocation {
                is_again,
                ..invocation
            },
            instance,
        )
    }

    /// Who leaves by choice.
    pub(super) fn cancel(&mut self, at: usize) -> WaiterId {
        let (_, waiter) = self.waiting.remove(at);
        self.ended.push((waiter, End::Cancelled));
        waiter
    }

    /// The waiter ends by the engine's word.
    pub(super) fn answer(&mut self, waiter: WaiterId, end: End) -> Result<Invocation, Violation> {
        let Some(at) = self.waiting.iter().position(|(_, id)| *id == waiter) else {
            return self.already_ended(waiter, end);
        };
        let (first, invocation) = (self.waiting[0].0, self.waiting[at].0);
        // When it waits again, nobody knows its place among those of the same moment.
        let is_in_order = at == 0 || invocation.is_again && invocation.since == first.since;
        Property::Fifo.requires(is_in_order || end != End::Slot, || {
            format!("{waiter:?}, {invocation:?}, was dispatched before {first:?}")
        })?;
        self.waiting.remove(at);
        self.ended.push((waiter, end));
        Ok(invocation)
    }

    fn already_ended<T>(&self, waiter: WaiterId, end: End) -> Result<T, Violation> {
        let before = self.ended.iter().rev().find(|(id, _)| *id == waiter);
        let before = before.map(|(_, end)| *end);
        let property = match before {
            Some(End::Cancelled) => Property::CancelledStays,
            _ => Property::OneAnswer,
        };
        property.violated(format!("{waiter:?} ends as {end:?} after {before:?}"))
    }

    pub(super) fn load(&self, instance: InstanceId) -> usize {
        let of_instance = |(_, id): &&(_, InstanceId)| *id == instance;
        self.slots.iter().filter(of_instance).count()
    }

    /// Cuts what runs on an instance; returns how many that were.
    pub(super) fn cut(&mut self, instance: InstanceId) -> usize {
        let before = self.slots.len();
        self.slots.retain(|(_, id)| *id != instance);
        before - self.slots.len()
    }
}
