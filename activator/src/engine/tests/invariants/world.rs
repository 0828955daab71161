//! A cluster, those who call, and a clock that stands still unless it is told: what the shell around an engine lives in.
//!
//! The timers that the engine asks for ring exactly when they are due, so whatever it does too late is its own doing.

use super::*;

/// Failed boots are followed by a pause no longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Ticks at one moment that are no spinning yet: suspects and boots may be due together.
const TICKS_AT_ONCE: usize = 8;

pub(super) struct World {
    pub(super) core: Core,
    pub(super) settings: Settings,
    pub(super) now: Instant,
    pub(super) cluster: Cluster,
    pub(super) clients: Clients,
    pub(super) role: Role,
    /// What the engine uses though it has left.
    pub(super) kept: Vec<InstanceId>,
    /// How many instances serve, and since when some or none do.
    serves: (u32, Instant),
    /// An instance goes out of rotation by the input at hand.
    pub(super) is_losing: bool,
    wake: Option<Instant>,
    failed_at: Option<Instant>,
}

impl World {
    pub(super) fn new(plan: &Plan, fault: Option<Fault>) -> Result<Self, Violation> {
        let (now, settings) = (Instant::now(), plan.settings);
        let mut world = Self {
            core: Core::new(plan, fault, now),
            settings,
            now,
            cluster: Cluster::default(),
            clients: Clients::default(),
            role: Role::Standby,
            kept: vec![],
            serves: (0, now),
            is_losing: false,
            wake: None,
            failed_at: None,
        };
        for is_held in plan.inherited.iter().flatten() {
            let id = world.cluster.make();
            let pod = world.cluster.pods.get_mut(&id).expect("just made");
            (pod.is_ready, pod.is_held) = (true, *is_held);
            let effects = world.core.seen(id, *is_held, now);
            world.carry_out(effects)?;
        }
        world.cluster.replicas = world.cluster.pods.len() as u32;
        if plan.inherited.is_none() {
            world.own(Takeover::Released)?;
        }
        let replicas = Some(world.cluster.replicas);
        world.other(|engine, now| engine.observed(replicas, now))?;
        Ok(world)
    }

    pub(super) fn other(&mut self, input: impl FnOnce(&mut Engine, Instant) -> Effects) -> Held {
        let now = self.now;
        let effects = self.core.other(|engine| input(engine, now));
        self.carry_out(effects)
    }

    /// Everything that a shell does with effects. A new effect belongs here.
    pub(super) fn carry_out(&mut self, effects: Effects) -> Held {
        let Effects {
            dispatched,
            refused,
            dial,
            boots,
            freeze,
            thaw,
            mark,
            released,
            scale,
            wake,
        } = effects;
        for (waiter, instance) in dispatched {
            let invocation = self.clients.answer(waiter, End::Slot)?;
            self.run(invocation, instance)?;
        }
        for (waiter, refusal) in refused {
            let invocation = self.clients.answer(waiter, End::Refused)?;
            self.timed_out_in_time(invocation, &refusal)?;
        }
        for id in dial {
            let pod = self.cluster.pods.get_mut(&id);
            pod.into_iter().for_each(|pod| pod.is_dialed = true);
        }
        self.note_failures(&boots);
        self.cluster.order(&freeze, &thaw);
        self.cluster.marks.extend(mark);
        self.kept.retain(|id| !released.contains(id));
        if let Some(replicas) = scale {
            self.write(replicas)?;
        }
        self.wake = wake;
        self.note_serving();
        self.check()
    }

    pub(super) fn wake(&self) -> Option<Instant> {
        self.wake
    }

    fn note_failures(&mut self, boots: &[BootReport]) {
        for boot in boots.iter().filter(|boot| boot.failure.is_some()) {
            self.failed_at = Some(self.now);
            let pod = boot.instance.and_then(|id| self.cluster.pods.get_mut(&id));
            pod.into_iter().for_each(|pod| pod.has_failed = true);
        }
    }

    fn note_serving(&mut self) {
        let census = self.core.engine().census();
        let (before, since) = self.serves;
        let serves = census.idle + census.busy + census.frozen;
        // When the only one goes and another is taken back at the same moment, none served in between.
        let is_other = std::mem::take(&mut self.is_losing) && before == 1;
        let is_new = is_other || (serves > 0) != (before > 0);
        self.serves = (serves, if is_new { self.now } else { since });
    }

    /// An invocation gets a slot.
    pub(super) fn run(&mut self, invocation: Invocation, instance: InstanceId) -> Held {
        let pod = self.cluster.pods.get(&instance);
        let runs = pod.is_some_and(|pod| pod.is_up && !pod.is_frozen);
        let runs = runs && !self.cluster.has_orders(instance);
        Property::RunningWithinSlots.requires(runs, || {
            format!("{instance:?} is not up, or frozen: {pod:?}")
        })?;
        let is_foreign = pod.is_some_and(|pod| pod.is_foreign(self.now));
        let is_kept = self.role != Role::Leaving || self.kept.contains(&instance);
        Property::OneOwner.requires(!is_foreign && is_kept, || {
            format!("{instance:?} is another replica's: {pod:?}")
        })?;
        let load = self.clients.load(instance);
        Property::OneOwner.requires(load < self.settings.concurrency as usize, || {
            format!("{instance:?} runs {load} already")
        })?;
        self.clients.slots.push((invocation, instance));
        Ok(())
    }

    fn write(&mut self, replicas: u32) -> Held {
        let (under_way, role) = (self.cluster.write, self.role);
        Property::OneWrite.requires(under_way.is_none() && role == Role::Owner, || {
            format!("{replicas} is written by {role:?} while {under_way:?} is")
        })?;
        self.cluster.write = Some(replicas);
        let census = self.core.engine().census();
        let usable = census.booting + census.idle + census.busy + census.frozen;
        let on_top = self.core.engine().written().saturating_sub(usable);
        // Instances that are there already are let go one lowering after the other, also after `max` was lowered.
        let there = self.cluster.replicas.max(self.cluster.pods.len() as u32);
        let Settings { min, max, .. } = self.settings;
        let what =
            || format!("{replicas} replicas for {min}..={max} and {census:?}, {there} there");
        let is_below = replicas <= (max + on_top).max(there);
        Property::WantedWithinBounds.requires(is_below, what)?;
        // Nothing is asked for while others go, in the pause after a failed boot, or without a permit.
        let lacks = self.core.engine().claim().lacking > 0;
        let is_above = replicas >= min || census.draining > 0 || lacks || self.pauses();
        Property::WantedWithinBounds.requires(is_above, what)
    }

    /// Whether a boot failed a moment ago.
    pub(super) fn pauses(&self) -> bool {
        let failed_at = self.failed_at;
        failed_at.is_some_and(|failed_at| self.now < failed_at + LONGEST_PAUSE)
    }

    /// `queue_timeout` counts while some instance serves, `boot_timeout` while none does.
    fn deadline(&self, invocation: Invocation) -> Option<Instant> {
        let (serves, since) = self.serves;
        let timeout = if serves > 0 {
            self.settings.queue_timeout
        } else {
            self.settings.boot_timeout
        };
        timeout.map(|timeout| invocation.since.max(since) + timeout)
    }

    fn timed_out_in_time(&self, invocation: Invocation, refusal: &Refusal) -> Held {
        let waited = self.now - invocation.since;
        let is_over = match refusal {
            Refusal::QueueTimeout => self.settings.queue_timeout.is_some_and(|t| t <= waited),
            _ => true,
        };
        Property::Deadline.requires(is_over, || format!("{refusal:?} after {waited:?}"))
    }

    fn check(&self) -> Held {
        let (waiting, queued) = (self.clients.waiting.len(), self.core.waiting());
        let counts = || format!("{waiting} wait, {queued} are in the queue");
        Property::NoneLost.requires(queued >= waiting, counts)?;
        Property::OneAnswer.requires(queued <= waiting, counts)?;
        let (slots, running) = (self.clients.slots.len(), self.core.engine().running());
        Property::RunningWithinSlots.requires(slots == running as usize, || {
            format!("{slots} run, the engine counts {running}")
        })?;
        self.none_waits_after(self.now)
    }

    /// Whose time is over at `moment` waits no more.
    fn none_waits_after(&self, moment: Instant) -> Held {
        for (invocation, waiter) in &self.clients.waiting {
            let deadline = self.deadline(*invocation);
            Property::Deadline.requires(deadline.is_none_or(|at| moment < at), || {
                format!("{waiter:?} waits, its time was over at {deadline:?}: {moment:?}")
            })?;
        }
        Ok(())
    }

    /// Time passes; every timer rings when it is due, and `then` follows on each.
    pub(super) fn sleep(&mut self, time: Duration, then: impl Fn(&mut Self) -> Held) -> Held {
        let until = self.now + time;
        let mut ticks = 0;
        while let Some(wake) = self.wake.filter(|wake| *wake <= until) {
            ticks = if wake > self.now { 0 } else { ticks + 1 };
            Property::TimersMoveOn.requires(ticks <= TICKS_AT_ONCE, || format!("{wake:?}"))?;
            self.now = self.now.max(wake);
            self.none_waits_after(self.now - Duration::from_nanos(1))?;
            let effects = self.core.tick(self.now);
            self.carry_out(effects)?;
            then(self)?;
        }
        self.now = until;
        self.none_waits_after(self.now)?;
        then(self)
    }
}
