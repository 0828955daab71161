//! Whether this engine hands out the slots of its instances, and how it begins and ends.

use tokio::time::Instant;

use super::{Effects, Engine, Instance, InstanceId, Refusal, Shelf, State};

/// Whether this engine hands out the slots of its instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Another replica owns them, or nobody yet. Invocations queue.
    Standby,
    /// This engine does.
    Owner,
    /// No longer; what was accepted is finished on the instances that were kept.
    Leaving,
}

/// How ownership came to this engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// The previous owner released it; what it still uses is marked as held.
    Released,
    /// The previous owner vanished; nobody knows what its instances run.
    Lapsed,
}

impl Engine {
    /// This replica owns the entrypoint from now on, unless it is leaving.
    pub fn own(&mut self, takeover: Takeover, now: Instant) -> Effects {
        if self.role == Role::Standby {
            self.role = Role::Owner;
        }
        if self.role == Role::Owner {
            while let Some((_, id)) = self.fleet.first(Shelf::Unowned) {
                self.adopt(id, takeover, now);
            }
        }
        self.settle(now)
    }

    /// This replica stops owning the entrypoint. Returns the instances that it goes on using until its invocations have ended, and
    /// those that may run something else; the next owner must not touch them before [`Effects::released`].
    pub fn leave(&mut self, now: Instant) -> (Vec<InstanceId>, Effects) {
        self.role = Role::Leaving;
        self.asked.clear();
        self.lacking = 0;
        let waiting = !self.queue.is_empty();
        let is_kept = |instance: &Instance| match instance.state {
            State::Serving => instance.running > 0 || waiting,
            State::Booting { .. } => waiting,
            State::Spent | State::Suspect { .. } => true,
            _ => instance.running > 0,
        };
        let (kept, left): (Vec<_>, Vec<_>) = self
            .fleet
            .iter()
            .partition(|(_, instance)| is_kept(instance));
        let kept = kept.into_iter().map(|(id, _)| id).collect();
        let left: Vec<_> = left.into_iter().map(|(id, _)| id).collect();
        left.into_iter().for_each(|id| self.let_go(id));
        (kept, self.settle(now))
    }

    /// A leaving owner gives up what it does not need.
    pub(super) fn clear_out(&mut self) {
        if self.usable() == 0 {
            let refused = self.queue.drain().map(|waiter| (waiter, Refusal::Draining));
            self.effects.refused.extend(refused);
        }
        if !self.queue.is_empty() {
            return;
        }
        for shelf in Shelf::UNUSED
            .into_iter()
            .chain([Shelf::Booting, Shelf::Thawing])
        {
            while let Some((_, id)) = self.fleet.first(shelf) {
                self.let_go(id);
                self.effects.released.push(id);
            }
        }
    }

    /// Leaves an instance to the next owner, who must find it running.
    fn let_go(&mut self, id: InstanceId) {
        if self
            .fleet
            .remove(id)
            .is_some_and(|instance| instance.is_frozen())
        {
            self.effects.thaw.push(id);
        }
    }
}
