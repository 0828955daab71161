//! The budget that entrypoints share.

use std::sync::{Arc, Weak};

use tokio::time::Instant;

use super::{Entrypoint, Order, shell::Shell};
use crate::{
    budget::{Budget, Caps, Grants, Seat},
    engine::Effects,
    sync::Mutex,
};

/// One budget for all entrypoints. Its lock is taken under theirs, and never the other way round.
#[derive(Clone, Debug)]
pub struct SharedBudget(Arc<Mutex<Budget<Weak<Entrypoint>>>>);

impl SharedBudget {
    /// Nothing is used yet.
    pub fn new(caps: Caps) -> Self {
        Self(Arc::new(Mutex::new(Budget::new(caps))))
    }

    pub(super) fn join(&self, entrypoint: Weak<Entrypoint>, namespace: &str) -> Seat {
        self.with(|budget| budget.join(entrypoint, namespace))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Budget<Weak<Entrypoint>>) -> T) -> T {
        change(&mut self.0.lock().expect("nothing panics under this lock"))
    }
}

impl Entrypoint {
    /// Tells the budget what changed, and boots what it grants. What it grants to others comes back, to be passed on once the lock of
    /// this entrypoint is released.
    pub(super) fn claim(
        &self,
        shell: &mut Shell,
        effects: &mut Effects,
        now: Instant,
    ) -> Grants<Arc<Self>> {
        let mut others = Vec::new();
        loop {
            let claim = shell.engine.claim();
            let redeemed = std::mem::take(&mut shell.redeemed);
            if claim == shell.claimed && redeemed == 0 {
                return others;
            }
            shell.claimed = claim;
            let grants = self
                .budget
                .with(|budget| budget.claim(self.seat, claim, redeemed));
            for (entrypoint, boots) in reachable(grants) {
                if std::ptr::eq(&*entrypoint, self) {
                    shell.redeemed = boots;
                    effects.join(shell.engine.permit(boots, now));
                } else {
                    others.push((entrypoint, boots));
                }
            }
        }
    }
}

impl Drop for Entrypoint {
    fn drop(&mut self) {
        let grants = self.budget.with(|budget| budget.leave(self.seat));
        pass_on(reachable(grants));
    }
}

/// Tells others what they may boot; in a task of the cluster, since their locks are not taken from within an input.
pub(super) fn pass_on(grants: Grants<Arc<Entrypoint>>) {
    for (entrypoint, boots) in grants {
        entrypoint.order(Order::Permit(boots));
    }
}

fn reachable(grants: Grants<Weak<Entrypoint>>) -> Grants<Arc<Entrypoint>> {
    let reach = |(entrypoint, boots): (Weak<Entrypoint>, u32)| Some((entrypoint.upgrade()?, boots));
    grants.into_iter().filter_map(reach).collect()
}
