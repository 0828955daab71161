//! How many instances there should be, and which ones go.

use tokio::time::Instant;

use super::{
    Burst, Claim, Effects, Engine, InstanceId, Marking, Role, Settings, Shelf, State,
    estimate::{UpIn, missing},
    instance::NEVER_AGAIN,
};

/// `clamp(min, ceil(demand / concurrency), max)`: the law that a developer can predict with a pencil.
pub(super) fn wanted(demand: u64, settings: &Settings) -> u32 {
    let needed = demand.div_ceil(u64::from(settings.concurrency));
    u32::try_from(needed)
        .unwrap_or(u32::MAX)
        .clamp(settings.min.min(settings.max), settings.max)
}

impl Engine {
    /// The cluster's `replicas`, as a watch shows it. `None`: the Deployment does not exist.
    pub fn observed(&mut self, replicas: Option<u32>, now: Instant) -> Effects {
        if self.writing.is_none() {
            self.replicas = replicas;
        }
        self.settle(now)
    }

    /// A write of `replicas` ended. `None`: the Deployment does not exist.
    pub fn scaled(&mut self, replicas: Option<u32>, now: Instant) -> Effects {
        self.writing = None;
        self.replicas = replicas;
        self.settle(now)
    }

    /// The deletion costs of these pods are written. A marking that was overtaken by a later one, or by an invocation, says nothing.
    pub fn marked(&mut self, marked: &[(InstanceId, Marking)], now: Instant) -> Effects {
        // Not while a boot that began meanwhile is in flight: a ReplicaSet would delete that one.
        let next = if self.boots() > 0 {
            State::Spent
        } else {
            State::Retiring
        };
        for (id, marking) in marked {
            self.fleet.change(*id, |instance| {
                if instance.state == State::Marking && instance.marking == *marking {
                    instance.state = next.clone();
                }
            });
        }
        self.settle(now)
    }

    /// So many boots are permitted; what is not used now is given up.
    pub fn permit(&mut self, boots: u32, now: Instant) -> Effects {
        self.permits = Some(boots);
        let effects = self.settle(now);
        self.permits = Some(0);
        effects
    }

    /// What counts against the bounds that entrypoints share.
    pub fn claim(&self) -> Claim {
        Claim {
            instances: self.written(),
            boots: self.boots(),
            lacking: self.lacking,
            pool: self.settings.pool,
        }
    }

    /// A pod is being deleted or is gone.
    pub fn gone(&mut self, id: InstanceId, now: Instant) -> Effects {
        let Some(instance) = self.fleet.remove(id) else {
            return self.settle(now);
        };
        let retiring = self.fleet.on(Shelf::Retiring);
        let retiring = retiring.filter_map(|(_, id)| Some((id, self.fleet.get(id)?)));
        let spared = retiring
            .min_by_key(|(_, i)| (i.is_spent(), i.marking))
            .map(|(id, _)| id);
        let replaced = match (instance.state, spared) {
            (State::Retiring, _) => false,
            // The ReplicaSet deletes one less then: not the one with the highest cost.
            (_, Some(spared)) => {
                self.put_back(spared);
                false
            }
            (_, None) => true,
        };
        // Somebody else deleted it: its ReplicaSet makes another.
        if replaced
            && self.role == Role::Owner
            && self
                .replicas
                .is_some_and(|replicas| replicas > self.written())
        {
            self.asked.push_back(now);
        }
        self.settle(now)
    }

    /// What `replicas` must be for the cluster to have exactly the instances that this engine counts on or has not let go.
    pub fn written(&self) -> u32 {
        self.fleet.len() - self.fleet.count(&[Shelf::Retiring]) + self.unseen()
    }

    /// Boots asked for whose instance has not been seen.
    pub(super) fn unseen(&self) -> u32 {
        u32::try_from(self.asked.len()).unwrap_or(u32::MAX)
    }

    /// Instances that serve or will: what demand is compared with.
    pub(super) fn usable(&self) -> u32 {
        self.fleet.count(&Shelf::SERVING) + self.boots()
    }

    /// Boots in flight.
    pub(super) fn boots(&self) -> u32 {
        self.fleet.count(&[Shelf::Booting]) + self.unseen()
    }

    pub(super) fn scale(&mut self, now: Instant) {
        let wanted = self.wanted();
        // Before asking: where room is short, a spent instance has the place that the next one needs.
        self.weed_out(wanted, now);
        self.withdraw(wanted);
        self.ask(wanted.min(self.worth(now)), now);
        let written = self.written();
        if self.writing.is_none() && self.replicas.is_some_and(|replicas| replicas != written) {
            self.writing = Some(written);
            self.effects.scale = Some(written);
        }
    }

    fn wanted(&self) -> u32 {
        wanted(
            self.queue.len() as u64 + u64::from(self.running()),
            &self.settings,
        )
    }

    /// How many instances the queue is worth besides those that are there: no limit, unless the manifest says `Drain`.
    fn worth(&self, now: Instant) -> u32 {
        let Settings {
            burst: Burst::Drain,
            min,
            concurrency,
            ..
        } = self.settings
        else {
            return u32::MAX;
        };
        if self.queue.is_empty() {
            return self.usable().max(min);
        }
        let up = |since: Instant| self.boot.rest(now - since);
        let serving = self.fleet.count(&Shelf::SERVING) as usize;
        let booting = self.fleet.on(Shelf::Booting).map(|(since, _)| since);
        let coming = booting.chain(self.asked.iter().copied()).map(up);
        let instances = std::iter::repeat_n(Some(UpIn::default()), serving).chain(coming);
        let missing = missing(
            self.queue.len(),
            concurrency,
            self.boot,
            self.service,
            instances,
        );
        missing.map_or(u32::MAX, |missing| {
            self.usable().saturating_add(missing).max(min)
        })
    }

    /// Asks for what is missing. Waits for a lowering to be written and its instances to be gone, since a ReplicaSet acts on the sum
    /// alone.
    fn ask(&mut self, wanted: u32, now: Instant) {
        self.lacking = 0;
        let lowering = self
            .writing
            .is_some_and(|replicas| Some(replicas) < self.replicas);
        let going = self.fleet.count(&[Shelf::SpentMarking, Shelf::Retiring]) > 0;
        if lowering || going || self.failures.retry_at(now).is_some() {
            return;
        }
        let missing = wanted.saturating_sub(self.usable());
        let permitted = self.permits.map_or(missing, |permits| missing.min(permits));
        self.lacking = missing - permitted;
        for _ in 0..permitted {
            self.asked.push_back(now);
        }
    }

    /// Nothing is booted beside what is about to be scaled away and can still be taken back.
    pub(super) fn take_back(&mut self) {
        while self.role == Role::Owner
            && self.usable() < self.wanted()
            && let Some(id) = self.fleet.last(Shelf::Marking)
        {
            self.put_back(id);
        }
    }

    /// Takes back what was asked for and is wanted no longer, as far as the cluster has not heard of it.
    fn withdraw(&mut self, wanted: u32) {
        let heard = self.writing.max(self.replicas).unwrap_or_default();
        let unheard = self.written().saturating_sub(heard);
        let surplus = self.usable().saturating_sub(wanted);
        for _ in 0..surplus.min(unheard).min(self.unseen()) {
            self.asked.pop_back();
        }
    }

    /// Whether instances may be taken out now: one lowering at a time, and none while a boot is in flight.
    fn may_weed_out(&self) -> bool {
        self.boots() == 0 && self.fleet.count(&Shelf::GOING) == 0
    }

    /// Takes out of rotation what idled out or is spent.
    fn weed_out(&mut self, wanted: u32, now: Instant) {
        if !self.may_weed_out() {
            return;
        }
        let surplus = self.usable().saturating_sub(wanted);
        let mut going = self.idled_out(surplus as usize, now);
        going.reverse();
        going.extend(self.fleet.on(Shelf::Spent).map(|(_, id)| id));
        for id in going {
            self.markings.0 += 1;
            let marking = self.markings;
            self.fleet.change(id, |instance| {
                if instance.state == State::Spent {
                    instance.last_use = NEVER_AGAIN;
                }
                (instance.state, instance.marking) = (State::Marking, marking);
            });
            self.effects.mark.push((id, marking));
        }
    }

    /// The instances unused for longest, at most so many, among those whose idle window is over.
    fn idled_out(&self, most: usize, now: Instant) -> Vec<InstanceId> {
        let is_over = |used_at: &Instant| *used_at + self.settings.idle_after <= now;
        let on = |shelf| {
            self.fleet
                .on(shelf)
                .take_while(move |(used_at, _)| is_over(used_at))
                .take(most)
        };
        let mut idle: Vec<_> = Shelf::UNUSED.into_iter().flat_map(on).collect();
        let last_use = |id: InstanceId| self.fleet.get(id).map(|instance| instance.last_use);
        idle.sort_unstable_by_key(|(_, id)| last_use(*id));
        idle.truncate(most);
        idle.into_iter().map(|(_, id)| id).collect()
    }

    /// An instance that is out of rotation but not scaled away yet serves again when there is nothing else.
    pub(super) fn reclaim(&mut self) -> Option<InstanceId> {
        let id = self.fleet.last(Shelf::Marking)?;
        let is_awake = self
            .fleet
            .get(id)
            .is_some_and(|instance| !instance.is_frozen());
        if self.role != Role::Owner || !is_awake {
            return None;
        }
        self.put_back(id);
        Some(id)
    }

    /// An instance that was to go stays.
    pub(super) fn put_back(&mut self, id: InstanceId) {
        self.fleet.change(id, |instance| {
            instance.state = if instance.is_spent() {
                State::Spent
            } else {
                State::Serving
            };
        });
    }

    /// When the next idle instance goes, if one may go.
    pub(super) fn next_weeding(&self) -> Option<Instant> {
        let is_weeding =
            self.role == Role::Owner && self.usable() > self.wanted() && self.may_weed_out();
        let oldest = |shelf| self.fleet.first(shelf).map(|(used_at, _)| used_at);
        let oldest = Shelf::UNUSED.into_iter().filter_map(oldest).min();
        oldest
            .filter(|_| is_weeding)
            .map(|used_at| used_at + self.settings.idle_after)
    }
}
