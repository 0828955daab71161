//! Admission and scaling of one entrypoint revision, as a pure state machine.
//!
//! Inputs are methods: an invocation arrives, is cancelled or ends; an instance is seen, accepts, fails or goes; the cluster
//! confirms a write; a timer that the engine asked for is due. Each returns [`Effects`] for its caller to carry out. There is no
//! clock, no I/O, no Kubernetes and no HTTP in here.
//!
//! # Guarantees
//! - An instance never runs more than `concurrency` invocations.
//! - Invocations are admitted first in, first out. Of the instances with a free slot the one used last is taken, so that the others
//!   idle out by themselves.
//! - The cluster is asked for `clamp(min, ceil(demand / concurrency), max)` instances, at every arrival and every end, plus those that
//!   are out of rotation and not gone yet. With `scale.burst: Drain` it may be fewer: those that the queue is worth.
//! - Replicas go down only by instances that run nothing, and only while no boot is in flight: a ReplicaSet deletes pods that are not
//!   ready before it looks at their deletion cost.
//! - One write of `replicas` is under way at a time, and none raises it before the instances of the last lowering are gone: a ReplicaSet
//!   that saw only the sum would delete nothing.

mod boot;
mod effects;
mod estimate;
mod instance;
mod queue;
mod scale;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crds::function::Burst;
use tokio::time::Instant;

pub use effects::{Admission, BootFailure, BootReport, Effects, Ending, Refusal};
pub use instance::{Census, InstanceId, Marking, State};
pub use queue::WaiterId;

use estimate::Estimate;
use instance::Instance;
use queue::Queue;

/// What the manifest says about admission and scaling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Instances that stay without demand.
    pub min: u32,
    /// The most usable instances.
    pub max: u32,
    /// Invocations at once in one instance.
    pub concurrency: u32,
    /// How many boots a queue is worth.
    pub burst: Burst,
    /// An instance unused this long goes.
    pub idle_after: Duration,
    /// Invocations that may wait.
    pub queue: usize,
    /// Longest wait while some instance serves.
    pub queue_timeout: Option<Duration>,
    /// Longest wait while none does, and longest boot.
    pub boot_timeout: Option<Duration>,
    /// How long an instance of unknown state may still be running something.
    pub suspect_for: Duration,
}

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

/// One entrypoint revision. See the module documentation.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    role: Role,
    queue: Queue,
    instances: BTreeMap<InstanceId, Instance>,
    /// Instances with a free slot by the time of their last use, oldest first.
    free: BTreeSet<(u64, InstanceId)>,
    /// Counts uses, for the order of `free`.
    uses: u64,
    /// Counts markings, for the order of deletion costs.
    markings: Marking,
    /// Boots asked for whose pod has not been seen, by the time of asking.
    asked: VecDeque<Instant>,
    /// `replicas` as the cluster has it; `None` until it is known.
    replicas: Option<u32>,
    /// The `replicas` whose write is under way.
    writing: Option<u32>,
    /// Since when some instance serves.
    serving_since: Option<Instant>,
    /// Since when none does, if one did.
    unserved_since: Option<Instant>,
    /// Failed boots in a row, and when the next may start.
    failures: boot::Backoff,
    /// How long a boot takes.
    boot: Estimate,
    /// How long an invocation takes.
    service: Estimate,
    effects: Effects,
}

impl Engine {
    /// An engine with nothing in it, standing by.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            role: Role::Standby,
            queue: Queue::default(),
            instances: BTreeMap::new(),
            free: BTreeSet::new(),
            uses: 0,
            markings: Marking::default(),
            asked: VecDeque::new(),
            replicas: None,
            writing: None,
            serving_since: None,
            unserved_since: None,
            failures: boot::Backoff::default(),
            boot: Estimate::default(),
            service: Estimate::default(),
            effects: Effects::default(),
        }
    }

    /// Takes the manifest's word; nothing restarts.
    pub fn configure(&mut self, settings: Settings, now: Instant) -> Effects {
        let refill = settings.concurrency != self.settings.concurrency;
        self.settings = settings;
        if refill {
            self.refill_free();
        }
        self.settle(now)
    }

    /// No route leads here any more: what was accepted is finished, and idle instances go at once.
    pub fn retire(&mut self, now: Instant) -> Effects {
        (self.settings.min, self.settings.idle_after) = (0, Duration::ZERO);
        self.settle(now)
    }

    /// An invocation asks for a slot.
    pub fn arrive(&mut self, now: Instant) -> (Admission, Effects) {
        if self.queue.is_empty()
            && let Some(instance) = self.take_slot()
        {
            return (Admission::Run(instance), self.settle(now));
        }
        if let Some(failure) = self.boot_refused(now) {
            return (
                Admission::Refuse(Refusal::BootFailed(failure)),
                self.settle(now),
            );
        }
        if self.queue.len() >= self.settings.queue {
            return (Admission::Refuse(Refusal::QueueFull), self.settle(now));
        }
        let waiter = self.queue.push(now);
        (Admission::Wait(waiter), self.settle(now))
    }

    /// An invocation that had a slot could not reach its instance and no byte was sent: it waits again, in its old place.
    pub fn arrive_again(
        &mut self,
        instance: InstanceId,
        since: Instant,
        now: Instant,
    ) -> (WaiterId, Effects) {
        self.release(instance, Ending::Broken, now);
        let waiter = self.queue.push_first(since);
        (waiter, self.settle(now))
    }

    /// A waiter left.
    pub fn cancel(&mut self, waiter: WaiterId, now: Instant) -> Effects {
        self.queue.remove(waiter);
        self.settle(now)
    }

    /// An invocation that ends well took this long.
    pub fn took(&mut self, time: Duration) {
        self.service.note(time);
    }

    /// An invocation ended.
    pub fn end(&mut self, instance: InstanceId, ending: Ending, now: Instant) -> Effects {
        self.release(instance, ending, now);
        self.settle(now)
    }

    /// A timer is due.
    pub fn tick(&mut self, now: Instant) -> Effects {
        self.settle(now)
    }

    /// This replica owns the entrypoint from now on, unless it is leaving.
    pub fn own(&mut self, takeover: Takeover, now: Instant) -> Effects {
        if self.role == Role::Standby {
            self.role = Role::Owner;
        }
        if self.role == Role::Owner {
            let unknown: Vec<_> = self.ids_in(|state| *state == State::Unowned).collect();
            for id in unknown {
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
        let waiting = !self.queue.is_empty();
        self.instances.retain(|_, instance| match instance.state {
            State::Serving => instance.running > 0 || waiting,
            State::Booting { .. } => waiting,
            State::Spent | State::Suspect { .. } => true,
            _ => instance.running > 0,
        });
        let kept: Vec<_> = self.instances.keys().copied().collect();
        self.free.retain(|(_, id)| kept.contains(id));
        (kept, self.settle(now))
    }

    /// No invocation waits or runs here.
    pub fn is_quiet(&self) -> bool {
        self.queue.is_empty() && self.running() == 0
    }

    /// Invocations that wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Invocations that run.
    pub fn running(&self) -> u32 {
        self.instances
            .values()
            .map(|instance| instance.running)
            .sum()
    }

    /// Instances by state.
    pub fn census(&self) -> Census {
        let unseen = u32::try_from(self.asked.len()).unwrap_or(u32::MAX);
        self.instances.values().fold(
            Census {
                booting: unseen,
                ..Census::default()
            },
            Census::with,
        )
    }

    /// Whether the instance is still known.
    pub fn knows(&self, instance: InstanceId) -> bool {
        self.instances.contains_key(&instance)
    }

    /// Gives slots to waiters, refuses those whose time is over, and asks the cluster for what is missing. Every input ends here.
    fn settle(&mut self, now: Instant) -> Effects {
        self.expire_boots(now);
        self.note_serving(now);
        self.dispatch();
        self.expire_waiters(now);
        match self.role {
            Role::Owner => self.scale(now),
            Role::Leaving => self.let_go(),
            Role::Standby => {}
        }
        self.effects.wake = self.next_wake(now);
        std::mem::take(&mut self.effects)
    }

    fn dispatch(&mut self) {
        while !self.queue.is_empty() {
            let Some(instance) = self.take_slot() else {
                return;
            };
            let waiter = self.queue.pop().expect("the queue was not empty");
            self.effects.dispatched.push((waiter, instance));
        }
    }

    /// A slot of the instance used last.
    fn take_slot(&mut self) -> Option<InstanceId> {
        if self.role == Role::Standby {
            return None;
        }
        self.reclaim();
        let (use_, id) = *self.free.last()?;
        let instance = self
            .instances
            .get_mut(&id)
            .expect("free instances are known");
        instance.running += 1;
        if instance.running >= self.settings.concurrency {
            self.free.remove(&(use_, id));
        }
        Some(id)
    }

    /// Gives one slot back.
    fn release(&mut self, id: InstanceId, ending: Ending, now: Instant) {
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        instance.running = instance.running.saturating_sub(1);
        if ending == Ending::Broken {
            self.spend(id);
        } else if instance.state == State::Serving {
            self.set_free(id, now);
        }
    }

    fn set_free(&mut self, id: InstanceId, now: Instant) {
        let instance = self
            .instances
            .get_mut(&id)
            .expect("the caller looked it up");
        self.free.remove(&(instance.last_use, id));
        self.uses += 1;
        instance.last_use = self.uses;
        instance.used_at = now;
        if instance.running < self.settings.concurrency {
            self.free.insert((instance.last_use, id));
        }
    }

    /// Takes an instance out of rotation for good; it is scaled away when it runs nothing.
    fn spend(&mut self, id: InstanceId) {
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.state = State::Spent;
            self.free.remove(&(instance.last_use, id));
        }
    }

    /// A leaving owner gives up what it does not need.
    fn let_go(&mut self) {
        if self.usable() == 0 {
            let refused = self
                .queue
                .drain()
                .map(|waiter| (waiter, Refusal::Unavailable));
            self.effects.refused.extend(refused);
        }
        if !self.queue.is_empty() {
            return;
        }
        let is_known = |state: &State| matches!(state, State::Serving | State::Booting { .. });
        let idle = self
            .instances
            .iter()
            .filter(|(_, i)| i.running == 0 && is_known(&i.state));
        for id in idle.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.forget(id);
            self.effects.released.push(id);
        }
    }

    /// `concurrency` changed: which instances have a free slot?
    fn refill_free(&mut self) {
        let concurrency = self.settings.concurrency;
        let has_slot = |i: &Instance| i.state == State::Serving && i.running < concurrency;
        let free = self.instances.iter().filter(|(_, i)| has_slot(i));
        self.free = free.map(|(id, i)| (i.last_use, *id)).collect();
    }

    fn forget(&mut self, id: InstanceId) -> Option<Instance> {
        let instance = self.instances.remove(&id)?;
        self.free.remove(&(instance.last_use, id));
        Some(instance)
    }

    fn ids_in(&self, wanted: impl Fn(&State) -> bool) -> impl Iterator<Item = InstanceId> {
        self.instances
            .iter()
            .filter(move |(_, instance)| wanted(&instance.state))
            .map(|(id, _)| *id)
    }

    fn note_serving(&mut self, now: Instant) {
        let serves = self
            .instances
            .values()
            .any(|instance| instance.state == State::Serving);
        if serves {
            self.serving_since.get_or_insert(now);
        } else if self.serving_since.take().is_some() {
            self.unserved_since = Some(now);
        }
    }

    fn expire_waiters(&mut self, now: Instant) {
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
    fn waiter_deadline(&self, since: Instant) -> Option<Instant> {
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

    fn next_wake(&self, now: Instant) -> Option<Instant> {
        let waiter = self
            .queue
            .first()
            .and_then(|(_, since)| self.waiter_deadline(since));
        let retry = (!self.queue.is_empty() || self.settings.min > 0)
            .then(|| self.failures.retry_at(now))
            .flatten();
        let is_weeding = self.is_weeding();
        let instances = self
            .instances
            .values()
            .filter(|i| is_weeding || i.state != State::Serving);
        let instances = instances.filter_map(|instance| self.instance_wake(instance));
        let unseen = self
            .asked
            .front()
            .and_then(|asked| self.boot_deadline(*asked));
        instances.chain(waiter).chain(retry).chain(unseen).min()
    }
}

#[cfg(test)]
mod tests;
