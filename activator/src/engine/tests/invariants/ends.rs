//! When demand ends, and when the entrypoint does.

use super::*;

/// The cluster has caught up after fewer: each lets one instance go at least.
const ROUNDS: usize = 100;

impl World {
    /// Everybody ends, the cluster catches up, the idle window passes.
    pub(super) fn quiet(&mut self) -> Held {
        if self.role == Role::Leaving {
            return Ok(());
        }
        self.own(Takeover::Released)?;
        while !self.clients.waiting.is_empty() {
            self.cancel(0)?;
        }
        while !self.clients.slots.is_empty() {
            self.end(0, Ending::Clean)?;
        }
        self.catch_up()?;
        // Suspects and pauses have a time of their own, before the window begins.
        if self.core.engine().census().draining > 0 || self.pauses() {
            self.sleep(self.settings.suspect_for + seconds(31), Self::catch_up)?;
        }
        self.sleep(self.settings.idle_after, Self::catch_up)?;
        let (pods, replicas) = (self.cluster.pods.len(), self.cluster.replicas);
        let min = self.settings.min;
        let is_minimum = pods == min as usize && replicas == min;
        Property::IdleToMinimum.requires(is_minimum, || {
            let census = self.core.engine().census();
            format!("{pods} pods and {replicas} replicas instead of {min}: {census:?}")
        })
    }

    /// The cluster does all that it was asked for.
    fn catch_up(&mut self) -> Held {
        for _ in 0..ROUNDS {
            self.confirm_mark()?;
            self.confirm_scale()?;
            self.permit(u32::MAX)?;
            self.reconcile()?;
            while self.cluster.nth_dialed(0).is_some() {
                self.accept(0)?;
            }
            self.obey_all()?;
            let is_idle = self.cluster.write.is_none() && self.cluster.marks.is_empty();
            if is_idle && self.cluster.pods.len() == self.cluster.replicas as usize {
                return Ok(());
            }
        }
        Property::IdleToMinimum.violated("the cluster is asked for more and more".to_owned())
    }

    fn obey_all(&mut self) -> Held {
        while self
            .cluster
            .pods
            .keys()
            .any(|id| self.cluster.has_orders(*id))
        {
            self.obey()?;
        }
        Ok(())
    }

    /// The end of the entrypoint, or of this replica's use of it.
    pub(super) fn finish(&mut self) -> Held {
        if self.role != Role::Leaving {
            self.quiet()?;
            let effects = self.core.retire(self.now);
            self.carry_out(effects)?;
            self.catch_up()?;
            let pods = self.cluster.pods.len();
            Property::NothingLeft.requires(pods == 0, || format!("{pods} pods"))?;
            let (written, wake) = (self.core.engine().written(), self.wake());
            Property::NothingLeft.requires(written == 0 && wake.is_none(), || {
                format!("{written} instances in mind, a timer at {wake:?}")
            })?;
        }
        self.obey_all()?;
        while self.cluster.nth_dialed(0).is_some() {
            self.accept(0)?;
        }
        while !self.clients.slots.is_empty() {
            self.end(0, Ending::Clean)?;
        }
        self.obey_all()?;
        // The next owner could not tell a frozen instance from a dead one.
        let is_asleep = |(_, pod): &(&InstanceId, &Pod)| pod.is_up && pod.is_frozen;
        let frozen = self.cluster.pods.iter().find(is_asleep);
        Property::NothingLeft.requires(frozen.is_none(), || format!("{frozen:?} is left"))?;
        let waiting = &self.clients.waiting;
        Property::NothingLeft.requires(waiting.is_empty(), || format!("{waiting:?} wait"))?;
        let is_quiet = self.core.engine().is_quiet();
        Property::NothingLeft.requires(is_quiet, || "the engine is not quiet".to_owned())
    }
}
