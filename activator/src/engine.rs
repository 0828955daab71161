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
mod fleet;
mod freeze;
mod instance;
mod owner;
mod queue;
mod scale;

use std::collections::VecDeque;
use std::time::Duration;

use crds::function::Burst;
use tokio::time::Instant;

pub use effects::{Admission, BootFailure, BootReport, Claim, Effects, Ending, Refusal};
pub use instance::{Census, InstanceId, Marking, State};
pub use owner::{Role, Takeover};
pub use queue::WaiterId;

use estimate::Estimate;
use fleet::{Fleet, Shelf};
use instance::{Activity, Instance};
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
    /// An instance unused this long is frozen; `None` where nothing freezes.
    pub freeze_after: Option<Duration>,
    /// Invocations that may wait.
    pub queue: usize,
    /// Longest wait while some instance serves.
    pub queue_timeout: Option<Duration>,
    /// Longest wait while none does, and longest boot.
    pub boot_timeout: Option<Duration>,
    /// How long an instance of unknown state may still be running something.
    pub suspect_for: Duration,
    /// The nodes that it boots on, for the bound of boots in flight.
    pub pool: u64,
}

/// One entrypoint revision. See the module documentation.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    role: Role,
    queue: Queue,
    fleet: Fleet,
    /// Counts uses, for the order of reuse.
    uses: u64,
    /// Counts markings, for the order of deletion costs.
    markings: Marking,
    /// Boots asked for whose pod has not been seen, by the time of asking.
    asked: VecDeque<Instant>,
    /// Boots that the caller permits now; `None` is any number.
    permits: Option<u32>,
    /// Boots that are wanted and not permitted.
    lacking: u32,
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
            fleet: Fleet::new(settings.concurrency),
            uses: 0,
            markings: Marking::default(),
            asked: VecDeque::new(),
            permits: None,
            lacking: 0,
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

    /// An engine that boots only what [`Engine::permit`] allows.
    pub fn paced(settings: Settings) -> Self {
        Self {
            permits: Some(0),
            ..Self::new(settings)
        }
    }

    /// Takes the manifest's word; nothing restarts.
    pub fn configure(&mut self, settings: Settings, now: Instant) -> Effects {
        if settings.concurrency != self.settings.concurrency {
            self.fleet.set_concurrency(settings.concurrency);
        }
        self.settings = settings;
        if settings.freeze_after.is_none() {
            while let Some(id) = self.fleet.last(Shelf::Frozen) {
                self.wake_up(id);
            }
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
        self.arrive_if(now, || true)
    }

    /// The same, and if it has to wait, the caller says whether it may.
    pub fn arrive_if(
        &mut self,
        now: Instant,
        may_wait: impl FnOnce() -> bool,
    ) -> (Admission, Effects) {
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
        if !may_wait() {
            return (Admission::Refuse(Refusal::HeldFull), self.settle(now));
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
        let waiter = self.queue.push_again(since);
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
        self.fleet.running()
    }

    /// Instances by state.
    pub fn census(&self) -> Census {
        use Shelf as S;
        let count = |shelves: &[Shelf]| self.fleet.count(shelves);
        Census {
            booting: count(&[S::Booting]) + self.unseen(),
            idle: count(&[S::Fresh, S::Idle, S::Thawing]),
            busy: count(&[S::Roomy, S::Full]),
            frozen: count(&[S::Frozen]),
            draining: count(&[S::Suspect, S::Ending, S::Spent]) + count(&S::GOING),
        }
    }

    /// Whether the instance is still known.
    pub fn knows(&self, instance: InstanceId) -> bool {
        self.fleet.get(instance).is_some()
    }

    /// Gives slots to waiters, refuses those whose time is over, and asks the cluster for what is missing. Every input ends here.
    fn settle(&mut self, now: Instant) -> Effects {
        self.expire_boots(now);
        self.take_back();
        self.note_serving(now);
        self.dispatch();
        self.expire_waiters(now);
        match self.role {
            Role::Owner => self.scale(now),
            Role::Leaving => self.clear_out(),
            Role::Standby => {}
        }
        self.thaw();
        self.freeze(now);
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
        let id = self.fleet.free().or_else(|| self.reclaim())?;
        self.fleet.change(id, |instance| instance.running += 1);
        Some(id)
    }

    /// Gives one slot back.
    fn release(&mut self, id: InstanceId, ending: Ending, now: Instant) {
        self.uses += 1;
        let uses = self.uses;
        self.fleet.change(id, |instance| {
            instance.running = instance.running.saturating_sub(1);
            match ending {
                Ending::Broken => instance.state = State::Spent,
                Ending::Clean if instance.state == State::Serving => {
                    (instance.last_use, instance.used_at) = (uses, now);
                    instance.activity = Activity::Awake;
                }
                Ending::Clean | Ending::Unused => {}
            }
        });
    }

    /// Takes an instance out of rotation for good; it is scaled away when it runs nothing.
    fn spend(&mut self, id: InstanceId) {
        self.fleet
            .change(id, |instance| instance.state = State::Spent);
    }

    fn note_serving(&mut self, now: Instant) {
        if self.fleet.count(&Shelf::SERVING) > 0 {
            self.serving_since.get_or_insert(now);
        } else if self.serving_since.take().is_some() {
            self.unserved_since = Some(now);
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
        let boot = self
            .first_boot()
            .and_then(|since| self.boot_deadline(since));
        let suspect = self.fleet.first(Shelf::Suspect).map(|(until, _)| until);
        let timers = [
            waiter,
            retry,
            boot,
            suspect,
            self.next_freeze(),
            self.next_weeding(),
        ];
        timers.into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests;
