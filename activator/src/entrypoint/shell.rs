//! The state behind the lock, and what an input leads to.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use super::{Entrypoint, Order, Slot, bounds::pass_on, member::Member, slot::Answer};
use crate::{
    engine::{BootReport, Claim, Effects, Ending, Engine, InstanceId, Refusal, Settings, WaiterId},
    instance::Booted,
    sync::MutexGuard,
};

/// The farthest timer. A timer wheel holds some years, and a tick that comes too early does no harm.
const FARTHEST: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug)]
pub(super) struct Shell {
    pub(super) engine: Engine,
    /// When each arrived, and how it learns the outcome.
    waiters: HashMap<WaiterId, (Instant, oneshot::Sender<Result<Slot, Refusal>>)>,
    pub(super) members: BTreeMap<InstanceId, Member>,
    /// UID in the cluster → instance, and the version that was seen last.
    pub(super) by_uid: HashMap<String, (InstanceId, u64)>,
    last_id: u64,
    /// The next timer.
    pub(super) wake: Option<Instant>,
    /// What the budget was told last, and grants of which it has not been told that they are used.
    pub(super) claimed: Claim,
    pub(super) redeemed: u32,
    /// Until when the instances are paid for.
    paid_until: Option<Instant>,
}

impl Shell {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            engine: Engine::paced(settings),
            waiters: HashMap::new(),
            members: BTreeMap::new(),
            by_uid: HashMap::new(),
            last_id: 0,
            wake: None,
            claimed: Claim::default(),
            redeemed: 0,
            paid_until: None,
        }
    }

    pub(super) fn add(&mut self, uid: &str, name: &str, version: u64) -> InstanceId {
        self.last_id += 1;
        let id = InstanceId(self.last_id);
        self.members.insert(id, Member::new(name));
        self.by_uid.insert(uid.to_owned(), (id, version));
        id
    }

    pub(super) fn wait(
        &mut self,
        waiter: WaiterId,
        arrived: Instant,
    ) -> oneshot::Receiver<Result<Slot, Refusal>> {
        let (to, outcome) = oneshot::channel();
        self.waiters.insert(waiter, (arrived, to));
        outcome
    }

    pub(super) fn cancel(&mut self, waiter: WaiterId, now: Instant) -> Effects {
        self.waiters.remove(&waiter);
        self.engine.cancel(waiter, now)
    }

    /// An entrypoint at zero keeps no memory for instances and waiters.
    pub(super) fn shrink(&mut self) {
        if self.members.is_empty() {
            self.members = BTreeMap::new();
            self.by_uid.shrink_to_fit();
            self.waiters.shrink_to_fit();
        }
    }

    /// Name of an instance in the cluster.
    pub(super) fn name(&self, id: &InstanceId) -> Option<String> {
        Some(self.members.get(id)?.instance.name.clone())
    }

    fn answer(&mut self, waiter: WaiterId) -> (Instant, oneshot::Sender<Result<Slot, Refusal>>) {
        self.waiters
            .remove(&waiter)
            .expect("a waiter stays until it is answered or cancelled")
    }
}

impl Entrypoint {
    pub(super) fn lock(&self) -> MutexGuard<'_, Shell> {
        self.state.lock().expect("nothing panics under this lock")
    }

    pub(super) fn me(&self) -> Arc<Self> {
        self.this.upgrade().expect("a method runs on a living Arc")
    }

    pub(super) fn order(&self, order: Order) {
        // Refused only when the process ends.
        self.orders.send((self.me(), order)).ok();
    }

    /// Adds the time since the last call to what the instances cost.
    pub(super) fn pay(&self, shell: &mut Shell, now: Instant) {
        if let Some(since) = shell.paid_until.replace(now) {
            self.meter.paid(now - since, shell.engine.census());
        }
    }

    /// Gives the engine an input and carries out what follows.
    pub(super) fn input<T>(&self, input: impl FnOnce(&mut Shell, Instant) -> (T, Effects)) -> T {
        let mut shell = self.lock();
        // Under the lock, so that the engine's time never goes back.
        let now = Instant::now();
        self.pay(&mut shell, now);
        let (output, mut effects) = input(&mut shell, now);
        let grants = self.claim(&mut shell, &mut effects, now);
        let (answers, orders) = self.follow(&mut shell, effects, now);
        // Under the lock: the cluster hears of a thaw after the freeze that was decided before it.
        orders.into_iter().for_each(|order| self.order(order));
        drop(shell);
        answers.into_iter().for_each(Answer::deliver);
        pass_on(grants);
        output
    }

    /// Notes what the engine decided, and says what is to be done once the lock is released.
    fn follow(
        &self,
        shell: &mut Shell,
        effects: Effects,
        now: Instant,
    ) -> (Vec<Answer>, Vec<Order>) {
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
        let mut orders = Vec::new();
        for id in dial {
            let member = shell.members.get_mut(&id);
            orders.extend(member.and_then(|member| member.dial(id)));
        }
        boots
            .iter()
            .for_each(|report| self.note_boot(shell, report, now));
        // After the boots that they waited for are noted.
        let mut answers = Vec::new();
        for (waiter, instance) in dispatched {
            let (arrived, to) = shell.answer(waiter);
            let outcome = Ok(self.slot(shell, instance, arrived, now));
            answers.push(Answer { to, outcome });
        }
        for (waiter, refusal) in refused {
            let (_, to) = shell.answer(waiter);
            let outcome = Err(refusal);
            answers.push(Answer { to, outcome });
        }
        orders.extend(boots.into_iter().map(Order::Report));
        for id in freeze {
            let name = shell.members.get(&id).map(|member| member.freeze());
            orders.extend(name.map(|name| Order::Freeze(id, name)));
        }
        for id in thaw {
            let name = shell.members.get_mut(&id).map(|member| member.thaw(now));
            orders.extend(name.map(|name| Order::Thaw(id, name)));
        }
        let released = released.iter().filter_map(|id| shell.name(id));
        orders.extend(released.map(Order::Release));
        let marked = mark
            .iter()
            .filter_map(|mark| Some((*mark, shell.name(&mark.0)?)));
        let marked: Vec<_> = marked.collect();
        orders.extend((!marked.is_empty()).then_some(Order::Mark(marked)));
        orders.extend(scale.map(|_| Order::Scale));
        // One that comes too early ticks in vain and asks for the next.
        let wake = wake.map(|wake| wake.min(now + FARTHEST));
        if let Some(wake) = wake
            && shell.wake.is_none_or(|at| wake < at)
        {
            shell.wake = Some(wake);
            orders.push(Order::Wake(wake));
        }
        (answers, orders)
    }

    fn note_boot(&self, shell: &Shell, report: &BootReport, now: Instant) {
        let booted = report.instance.filter(|_| report.failure.is_none());
        if let Some(member) = booted.and_then(|id| shell.members.get(&id)) {
            // Once: an instance boots once.
            let stages = member.stages.lengths(report.took);
            let (took, at) = (report.took, now);
            member.instance.boot.set(Booted { took, at, stages }).ok();
            self.meter.booted(&stages);
        }
    }

    pub(super) fn slot(
        &self,
        shell: &mut Shell,
        id: InstanceId,
        arrived: Instant,
        now: Instant,
    ) -> Slot {
        let member = shell
            .members
            .get_mut(&id)
            .expect("the engine knows only members");
        let instance = member.instance.clone();
        let (is_first, running) = instance.enter();
        self.meter.admitted(running);
        // Cold is an invocation that waited for the boot, not one that found an instance booted for a minimum.
        let waited_for = |done: &Instant| arrived < *done;
        let boot = instance
            .boot
            .get()
            .filter(|boot| is_first && waited_for(&boot.at));
        let boot = boot.map(|boot| boot.took);
        let thaw = member.thaw.take().filter(|(_, at)| waited_for(at));
        let alarm = member.alarms.pop().unwrap_or_default();
        Slot {
            entrypoint: Some(self.me()),
            id,
            instance,
            arrived,
            started: now,
            boot,
            thaw: thaw.map(|(took, _)| took),
            alarm,
            ending: Ending::Broken,
        }
    }
}
