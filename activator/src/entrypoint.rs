//! The shell around one engine: turns its effects into wake-ups, dials and orders to the cluster.
//!
//! All state is behind one short lock; what an input leads to is carried out after it is released.

mod key;
mod member;
mod order;
mod slot;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, Weak},
};

use tokio::{sync::oneshot, task::AbortHandle, time::Instant};

use crate::{
    engine::{
        Admission, BootFailure, Census, Effects, Ending, Engine, InstanceId, Refusal, Settings,
        Takeover, WaiterId,
    },
    metrics::Meter,
};
pub use key::Key;
use member::Member;
pub use order::{Mark, Order, Orders};
pub use slot::Slot;
use slot::{Answer, Waiting};

/// One revision of an entrypoint.
#[derive(Debug)]
pub struct Entrypoint {
    /// What it is.
    pub key: Key,
    /// Name of its Deployment.
    pub deployment: String,
    /// Counts for the metrics.
    pub(crate) meter: Meter,
    orders: Orders,
    state: Mutex<Shell>,
    /// For handing out `Arc`s of itself.
    this: Weak<Self>,
}

#[derive(Debug)]
struct Shell {
    engine: Engine,
    /// When each arrived, and how it learns the outcome.
    waiters: HashMap<WaiterId, (Instant, oneshot::Sender<Result<Slot, Refusal>>)>,
    members: HashMap<InstanceId, Member>,
    /// Pod UID → instance, and the version of the pod that was seen last.
    by_uid: HashMap<String, (InstanceId, u64)>,
    last_id: u64,
    /// The timer that is set, and its task.
    timer: Option<(Instant, AbortHandle)>,
}

impl Entrypoint {
    /// An entrypoint with no instances, standing by.
    pub fn new(key: Key, settings: Settings, orders: Orders, meter: Meter) -> Arc<Self> {
        let deployment = crds::names::deployment(&key.function, &key.entrypoint, &key.revision);
        let state = Mutex::new(Shell {
            engine: Engine::new(settings),
            waiters: HashMap::new(),
            members: HashMap::new(),
            by_uid: HashMap::new(),
            last_id: 0,
            timer: None,
        });
        Arc::new_cyclic(|this| Self {
            key,
            deployment,
            meter,
            orders,
            state,
            this: this.clone(),
        })
    }

    /// Waits for a slot.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue at once; a slot that was on its way goes to the next in line.
    ///
    /// # Errors
    /// The reason why there will be no slot.
    pub async fn admit(&self) -> Result<Slot, Refusal> {
        let arrived = Instant::now();
        let admitted = self.input(|shell, now| {
            let (admission, effects) = shell.engine.arrive(now);
            let admitted = match admission {
                Admission::Run(instance) => Admitted::Now(Ok(self.slot(shell, instance, arrived))),
                Admission::Refuse(refusal) => Admitted::Now(Err(refusal)),
                Admission::Wait(waiter) => Admitted::Later(waiter, shell.wait(waiter, arrived)),
            };
            (admitted, effects)
        });
        match admitted {
            Admitted::Now(outcome) => outcome,
            Admitted::Later(waiter, outcome) => self.wait(waiter, outcome).await,
        }
    }

    /// Waits again, in the old place, for an invocation that could not reach its instance.
    ///
    /// # Errors
    /// The reason why there will be no slot.
    pub async fn admit_again(&self, mut slot: Slot) -> Result<Slot, Refusal> {
        let (waiter, outcome) = self.input(|shell, now| {
            let (waiter, effects) = shell.engine.arrive_again(slot.id, slot.arrived, now);
            ((waiter, shell.wait(waiter, slot.arrived)), effects)
        });
        slot.forget();
        self.wait(waiter, outcome).await
    }

    async fn wait(
        &self,
        waiter: WaiterId,
        outcome: oneshot::Receiver<Result<Slot, Refusal>>,
    ) -> Result<Slot, Refusal> {
        let mut waiting = Waiting {
            entrypoint: self,
            waiter,
            outcome,
        };
        // The sender is dropped unused only with the entrypoint itself.
        (&mut waiting.outcome)
            .await
            .unwrap_or(Err(Refusal::Unavailable))
    }

    /// A pod was seen, in this version; the same again changes nothing.
    pub fn seen(&self, uid: &str, name: &str, held: bool, version: u64) -> InstanceId {
        self.input(|shell, now| match shell.by_uid.get_mut(uid) {
            Some((id, seen)) if *seen > version => (*id, Effects::default()),
            Some((id, seen)) => {
                *seen = version;
                (*id, shell.engine.hold(*id, held, now))
            }
            None => {
                let id = shell.add(uid, name, version);
                (id, shell.engine.seen(id, held, now))
            }
        })
    }

    /// The instance has a node.
    pub fn scheduled(&self, id: InstanceId) {
        if let Some(member) = self.lock().members.get_mut(&id) {
            member.stages.scheduled.get_or_insert_with(Instant::now);
        }
    }

    /// Where the instance will listen.
    pub fn located(&self, id: InstanceId, address: SocketAddr) {
        let mut shell = self.lock();
        if let Some(member) = shell.members.get_mut(&id)
            && member.instance.locate(address)
        {
            member.stages.located = Some(Instant::now());
            self.dial(id, member);
        }
    }

    /// What Kubernetes says the boot waits for.
    pub fn waits_for(&self, id: InstanceId, what: BootFailure) {
        self.input(|shell, now| ((), shell.engine.waits_for(id, what, now)));
    }

    /// The instance cannot boot, or crashed.
    pub fn broke(&self, id: InstanceId, failure: BootFailure) {
        self.input(|shell, now| ((), shell.engine.broke(id, failure, now)));
    }

    /// The cluster refuses to make pods.
    pub fn creation_refused(&self, failure: BootFailure) {
        self.input(|shell, now| ((), shell.engine.creation_refused(failure, now)));
    }

    /// The pod is being deleted or is gone.
    pub fn gone(&self, uid: &str) {
        self.input(|shell, now| {
            let Some((id, _)) = shell.by_uid.remove(uid) else {
                return ((), Effects::default());
            };
            shell.members.remove(&id);
            ((), shell.engine.gone(id, now))
        });
    }

    /// `replicas` as the cluster has it.
    pub fn observed(&self, replicas: Option<u32>) {
        self.input(|shell, now| ((), shell.engine.observed(replicas, now)));
    }

    /// A write of `replicas` ended.
    pub fn scaled(&self, replicas: Option<u32>) {
        self.input(|shell, now| ((), shell.engine.scaled(replicas, now)));
    }

    /// Deletion costs are written.
    pub fn marked(&self, marked: &[Mark]) {
        self.input(|shell, now| ((), shell.engine.marked(marked, now)));
    }

    /// Takes the manifest's word.
    pub fn configure(&self, settings: Settings) {
        self.meter.set_concurrency(settings.concurrency);
        self.input(|shell, now| ((), shell.engine.configure(settings, now)));
    }

    /// No route leads here any more.
    pub fn retire(&self) {
        self.input(|shell, now| ((), shell.engine.retire(now)));
    }

    /// This replica owns the entrypoint from now on.
    pub fn own(&self, takeover: Takeover) {
        self.input(|shell, now| ((), shell.engine.own(takeover, now)));
    }

    /// This replica stops owning the entrypoint. The names of the pods that it goes on using.
    pub fn leave(&self) -> Vec<String> {
        self.input(|shell, now| {
            let (kept, effects) = shell.engine.leave(now);
            let pods = kept
                .iter()
                .filter_map(|id| shell.members.get(id))
                .map(|member| member.instance.name.clone());
            (pods.collect(), effects)
        })
    }

    /// No invocation waits or runs here.
    pub fn is_quiet(&self) -> bool {
        self.lock().engine.is_quiet()
    }

    /// Invocations that wait, invocations that run, and instances by state.
    pub fn census(&self) -> (usize, u32, Census) {
        let shell = self.lock();
        let census = shell.engine.census();
        self.meter.advance(Instant::now(), || census);
        (shell.engine.waiting(), shell.engine.running(), census)
    }

    /// What `replicas` must be now.
    pub fn replicas(&self) -> u32 {
        self.lock().engine.written()
    }

    fn lock(&self) -> MutexGuard<'_, Shell> {
        self.state.lock().expect("nothing panics under this lock")
    }

    fn me(&self) -> Arc<Self> {
        self.this.upgrade().expect("a method runs on a living Arc")
    }

    /// Gives the engine an input and carries out what follows.
    fn input<T>(&self, input: impl FnOnce(&mut Shell, Instant) -> (T, Effects)) -> T {
        let now = Instant::now();
        let mut shell = self.lock();
        self.meter.advance(now, || shell.engine.census());
        let (output, effects) = input(&mut shell, now);
        let Effects {
            dispatched,
            refused,
            dial,
            boots,
            mark,
            released,
            scale,
            wake,
        } = effects;
        for id in dial {
            if let Some(member) = shell.members.get_mut(&id) {
                member.wanted = true;
                self.dial(id, member);
            }
        }
        for report in &boots {
            if let (Some(member), None) = (
                report.instance.and_then(|id| shell.members.get(&id)),
                &report.failure,
            ) {
                // Once: an instance boots once.
                member.instance.boot.set((report.took, now)).ok();
                self.meter.booted(&member.stages.lengths(report.took));
            }
        }
        let answers = self.answers(&mut shell, dispatched, refused);
        let name = |id: &InstanceId| {
            shell
                .members
                .get(id)
                .map(|member| member.instance.name.clone())
        };
        let marked: Vec<_> = mark
            .iter()
            .filter_map(|mark| Some((*mark, name(&mark.0)?)))
            .collect();
        let released: Vec<_> = released.iter().filter_map(name).collect();
        self.set_timer(&mut shell, wake);
        drop(shell);

        answers.into_iter().for_each(Answer::deliver);
        boots
            .into_iter()
            .for_each(|report| self.order(Order::Report(report)));
        released
            .into_iter()
            .for_each(|pod| self.order(Order::Release(pod)));
        if !marked.is_empty() {
            self.order(Order::Mark(marked));
        }
        if scale.is_some() {
            self.order(Order::Scale);
        }
        output
    }

    fn order(&self, order: Order) {
        // Refused only when the process ends.
        self.orders.send((self.me(), order)).ok();
    }

    fn answers(
        &self,
        shell: &mut Shell,
        dispatched: Vec<(WaiterId, InstanceId)>,
        refused: Vec<(WaiterId, Refusal)>,
    ) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(dispatched.len() + refused.len());
        for (waiter, instance) in dispatched {
            let (arrived, to) = shell
                .waiters
                .remove(&waiter)
                .expect("a waiter stays until it is answered or cancelled");
            let slot = self.slot(shell, instance, arrived);
            answers.push(Answer {
                to,
                outcome: Ok(slot),
            });
        }
        for (waiter, refusal) in refused {
            let (_, to) = shell
                .waiters
                .remove(&waiter)
                .expect("a waiter stays until it is answered or cancelled");
            answers.push(Answer {
                to,
                outcome: Err(refusal),
            });
        }
        answers
    }

    fn slot(&self, shell: &Shell, id: InstanceId, arrived: Instant) -> Slot {
        let instance = shell.members[&id].instance.clone();
        let (is_first, running) = instance.enter();
        self.meter.admitted(running);
        // Cold is an invocation that waited for the boot, not one that found an instance booted for a minimum.
        let boot = instance
            .boot
            .get()
            .filter(|(_, at)| is_first && arrived < *at);
        let boot = boot.map(|(took, _)| *took);
        Slot {
            entrypoint: Some(self.me()),
            id,
            instance,
            arrived,
            started: Instant::now(),
            boot,
            ending: Ending::Broken,
        }
    }

    fn dial(&self, id: InstanceId, member: &mut Member) {
        if !member.wanted || !member.instance.is_located() || member.dialing.is_some() {
            return;
        }
        let (entrypoint, instance) = (self.this.clone(), member.instance.clone());
        let task = tokio::spawn(async move {
            instance.boot().await;
            if let Some(entrypoint) = entrypoint.upgrade() {
                entrypoint.accepted(id);
            }
        });
        member.dialing = Some(task.abort_handle());
    }

    fn accepted(&self, id: InstanceId) {
        self.input(|shell, now| {
            if let Some(member) = shell.members.get_mut(&id) {
                (member.wanted, member.dialing) = (false, None);
            }
            ((), shell.engine.accepted(id, now))
        });
    }

    /// One timer is enough: one that is due too early ticks in vain and sets the next.
    fn set_timer(&self, shell: &mut Shell, wake: Option<Instant>) {
        let Some(wake) = wake else { return };
        if shell.timer.as_ref().is_some_and(|(at, _)| *at <= wake) {
            return;
        }
        let entrypoint = self.this.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep_until(wake).await;
            if let Some(entrypoint) = entrypoint.upgrade() {
                entrypoint.input(|shell, now| {
                    shell.timer = None;
                    ((), shell.engine.tick(now))
                });
            }
        });
        if let Some((_, earlier)) = shell.timer.replace((wake, task.abort_handle())) {
            earlier.abort();
        }
    }
}

impl Shell {
    fn add(&mut self, uid: &str, name: &str, version: u64) -> InstanceId {
        self.last_id += 1;
        let id = InstanceId(self.last_id);
        self.members.insert(id, Member::new(name));
        self.by_uid.insert(uid.to_owned(), (id, version));
        id
    }

    fn wait(
        &mut self,
        waiter: WaiterId,
        arrived: Instant,
    ) -> oneshot::Receiver<Result<Slot, Refusal>> {
        let (to, outcome) = oneshot::channel();
        self.waiters.insert(waiter, (arrived, to));
        outcome
    }
}

enum Admitted {
    Now(Result<Slot, Refusal>),
    Later(WaiterId, oneshot::Receiver<Result<Slot, Refusal>>),
}
