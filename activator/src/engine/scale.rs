//! How many instances there should be, and which ones go.

use tokio::time::Instant;

use super::{
    Burst, Effects, Engine, Instance, InstanceId, Marking, Role, Settings, State,
    estimate::missing, instance::NEVER_AGAIN,
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
        let boots = self.boots();
        for (id, marking) in marked {
            let Some(instance) = self.instances.get_mut(id) else {
                continue;
            };
            if instance.state == State::Marking && instance.marking == *marking {
                // Not while a boot that began meanwhile is in flight: a ReplicaSet would delete that one.
                instance.state = if boots > 0 {
                    State::Spent
                } else {
                    State::Retiring
                };
            }
        }
        self.settle(now)
    }

    /// A pod is being deleted or is gone.
    pub fn gone(&mut self, id: InstanceId, now: Instant) -> Effects {
        let Some(instance) = self.forget(id) else {
            return self.settle(now);
        };
        let retiring = self
            .instances
            .iter()
            .filter(|(_, i)| i.state == State::Retiring);
        let spared = retiring
            .min_by_key(|(_, i)| (i.is_spent(), i.marking))
            .map(|(id, _)| *id);
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
        let kept = self
            .instances
            .values()
            .filter(|instance| instance.state != State::Retiring)
            .count();
        u32::try_from(kept + self.asked.len()).unwrap_or(u32::MAX)
    }

    /// Instances that serve or will: what demand is compared with.
    pub(super) fn usable(&self) -> u32 {
        let usable = self
            .ids_in(|state| matches!(state, State::Booting { .. } | State::Serving))
            .count();
        u32::try_from(usable + self.asked.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn scale(&mut self, now: Instant) {
        let wanted = self.wanted();
        // Before asking: where room is short, a spent instance has the place that the next one needs.
        self.weed_out(wanted, now);
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
        let up_in = |instance: &Instance| match instance.state {
            State::Serving => Some(Some(0.0)),
            State::Booting { since, .. } => Some(self.boot.rest(now - since)),
            _ => None,
        };
        let coming = self.asked.iter().map(|asked| self.boot.rest(now - *asked));
        let instances = self.instances.values().filter_map(up_in).chain(coming);
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

    /// Boots in flight.
    fn boots(&self) -> usize {
        self.ids_in(|state| matches!(state, State::Booting { .. }))
            .count()
            + self.asked.len()
    }

    /// Asks for what is missing. Waits for a lowering to be written and its instances to be gone, since a ReplicaSet acts on the sum
    /// alone.
    fn ask(&mut self, wanted: u32, now: Instant) {
        let lowering = self
            .writing
            .is_some_and(|replicas| Some(replicas) < self.replicas);
        let is_going = |i: &Instance| {
            i.state == State::Retiring || (i.state == State::Marking && i.is_spent())
        };
        let going = self.instances.values().any(is_going);
        if lowering || going || self.failures.retry_at(now).is_some() {
            return;
        }
        for _ in self.usable()..wanted {
            self.asked.push_back(now);
        }
    }

    /// Whether instances may be taken out now: one lowering at a time, and none while a boot is in flight.
    fn may_weed_out(&self) -> bool {
        let under_way = |state: &State| matches!(state, State::Marking | State::Retiring);
        self.boots() == 0 && self.ids_in(under_way).next().is_none()
    }

    /// Takes out of rotation what idled out or is spent.
    fn weed_out(&mut self, wanted: u32, now: Instant) {
        if !self.may_weed_out() {
            return;
        }
        let surplus = self.usable().saturating_sub(wanted);
        let idled_out = |instance: &Instance| {
            instance.state == State::Serving
                && instance.running == 0
                && instance.used_at + self.settings.idle_after <= now
        };
        let idle = self
            .instances
            .iter()
            .filter(|(_, i)| idled_out(i))
            .map(|(id, i)| (i.last_use, *id));
        let mut idle: Vec<_> = idle.collect();
        idle.sort_unstable();
        idle.truncate(surplus as usize);
        let spent = self
            .instances
            .iter()
            .filter(|(_, i)| i.state == State::Spent && i.running == 0);
        let going: Vec<_> = idle
            .into_iter()
            .rev()
            .map(|(_, id)| id)
            .chain(spent.map(|(id, _)| *id))
            .collect();
        for id in going {
            let instance = self
                .instances
                .get_mut(&id)
                .expect("taken from the map above");
            self.free.remove(&(instance.last_use, id));
            if instance.state == State::Spent {
                instance.last_use = NEVER_AGAIN;
            }
            self.markings.0 += 1;
            instance.marking = self.markings;
            instance.state = State::Marking;
            self.effects.mark.push((id, self.markings));
        }
    }

    /// An instance that is out of rotation but not scaled away yet serves again when there is nothing else.
    pub(super) fn reclaim(&mut self) {
        if !self.free.is_empty() || self.role != Role::Owner {
            return;
        }
        let marking = self
            .instances
            .iter()
            .filter(|(_, i)| i.state == State::Marking && !i.is_spent());
        if let Some(id) = marking.max_by_key(|(_, i)| i.last_use).map(|(id, _)| *id) {
            let instance = self
                .instances
                .get_mut(&id)
                .expect("taken from the map above");
            instance.state = State::Serving;
            self.free.insert((instance.last_use, id));
        }
    }

    /// An instance that was to go stays.
    fn put_back(&mut self, id: InstanceId) {
        let concurrency = self.settings.concurrency;
        let instance = self
            .instances
            .get_mut(&id)
            .expect("the caller looked it up");
        instance.state = if instance.is_spent() {
            State::Spent
        } else {
            State::Serving
        };
        if instance.state == State::Serving && instance.running < concurrency {
            self.free.insert((instance.last_use, id));
        }
    }

    pub(super) fn instance_wake(&self, instance: &Instance) -> Option<Instant> {
        match instance.state {
            State::Booting { since, .. } => self.boot_deadline(since),
            State::Suspect { until } => Some(until),
            State::Serving if instance.running == 0 => {
                Some(instance.used_at + self.settings.idle_after)
            }
            _ => None,
        }
    }

    /// Whether idle instances go when their time comes, so that a timer for it is of use.
    pub(super) fn is_weeding(&self) -> bool {
        self.role == Role::Owner && self.usable() > self.wanted() && self.may_weed_out()
    }
}
impl Engine {
    /// stub
    pub fn frozen(&mut self, _id: InstanceId, now: Instant) -> Effects {
        self.settle(now)
    }
    /// stub
    pub fn thawed(&mut self, _id: InstanceId, now: Instant) -> Effects {
        self.settle(now)
    }
}
