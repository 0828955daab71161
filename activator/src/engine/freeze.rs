//! Stopping unused instances from running, and letting them run again for those who wait.
//!
//! A thaw always wins: it is asked for although the freeze before it is not confirmed yet, and the cluster keeps their order.

use tokio::time::Instant;

use super::{Effects, Engine, InstanceId, Role, fleet::Shelf, instance::Activity};

impl Engine {
    /// The instance runs no longer.
    pub fn frozen(&mut self, id: InstanceId, now: Instant) -> Effects {
        self.fleet.change(id, |instance| {
            if instance.activity == Activity::Freezing {
                instance.activity = Activity::Frozen;
            }
        });
        self.settle(now)
    }

    /// The instance runs again.
    pub fn thawed(&mut self, id: InstanceId, now: Instant) -> Effects {
        self.fleet.change(id, |instance| {
            if instance.activity == Activity::Thawing {
                instance.activity = Activity::Awake;
            }
        });
        self.settle(now)
    }

    /// Thaws as many as those who wait can use, the one used last first.
    pub(super) fn thaw(&mut self) {
        if self.role == Role::Standby {
            return;
        }
        let waiting = self
            .queue
            .len()
            .div_ceil(self.settings.concurrency as usize);
        let coming = self.fleet.count(&[Shelf::Thawing]) as usize;
        for _ in coming..waiting {
            let Some(id) = self.fleet.last(Shelf::Frozen) else {
                return;
            };
            self.wake_up(id);
        }
    }

    /// Lets an instance run again.
    pub(super) fn wake_up(&mut self, id: InstanceId) {
        self.fleet
            .change(id, |instance| instance.activity = Activity::Thawing);
        self.effects.thaw.push(id);
    }

    /// Freezes what has not been used for `freeze.after`.
    pub(super) fn freeze(&mut self, now: Instant) {
        let Some(after) = self
            .settings
            .freeze_after
            .filter(|_| self.role == Role::Owner)
        else {
            return;
        };
        while let Some((used_at, id)) = self.fleet.first(Shelf::Idle)
            && used_at + after <= now
        {
            self.fleet
                .change(id, |instance| instance.activity = Activity::Freezing);
            self.effects.freeze.push(id);
        }
    }

    /// When the next instance is to be frozen.
    pub(super) fn next_freeze(&self) -> Option<Instant> {
        let after = self
            .settings
            .freeze_after
            .filter(|_| self.role == Role::Owner)?;
        let (used_at, _) = self.fleet.first(Shelf::Idle)?;
        Some(used_at + after)
    }
}
