//! The shell around one engine: turns its effects into wake-ups and orders to the cluster.
//!
//! All state is behind one short lock; what an input leads to is carried out after it is released. Nothing is spawned and no clock is
//! waited for in here: timers and connections are orders too, so that every interleaving can be tried.

mod bounds;
mod key;
mod member;
mod order;
mod shell;
mod slot;

use std::sync::{Arc, Weak};

use tokio::{sync::oneshot, time::Instant};

use crate::{
    budget::Seat,
    engine::{
        Admission, BootFailure, Census, Effects, InstanceId, Refusal, Settings, Takeover, WaiterId,
    },
    held::{Held, Permit},
    instance::{Address, Tail},
    metrics::Meter,
    sync::Mutex,
};
pub use bounds::SharedBudget;
pub use key::Key;
pub use order::{Mark, Order, Orders};
use shell::Shell;
pub use slot::Slot;
use slot::Waiting;

/// One revision of an entrypoint.
#[derive(Debug)]
pub struct Entrypoint {
    /// What it is.
    pub key: Key,
    /// Counts for the metrics.
    pub(crate) meter: Meter,
    orders: Orders,
    budget: SharedBudget,
    seat: Seat,
    held: Held,
    state: Mutex<Shell>,
    /// For handing out `Arc`s of itself.
    this: Weak<Self>,
}

impl Entrypoint {
    /// An entrypoint with no instances, standing by.
    pub fn new(
        key: Key,
        settings: Settings,
        orders: Orders,
        budget: SharedBudget,
        held: Held,
        meter: Meter,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            seat: budget.join(this.clone(), &key.namespace),
            key,
            meter,
            orders,
            budget,
            held,
            state: Mutex::new(Shell::new(settings)),
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
        let admitted = self.input(|shell, now| {
            let mut permit = None;
            let (admission, effects) = shell.engine.arrive_if(now, || {
                permit = self.held.take_request(&self.key.namespace);
                permit.is_some()
            });
            let admitted = match admission {
                Admission::Run(instance) => Admitted::Now(Ok(self.slot(shell, instance, now, now))),
                Admission::Refuse(refusal) => Admitted::Now(Err(refusal)),
                Admission::Wait(waiter) => Admitted::Later(waiter, shell.wait(waiter, now), permit),
            };
            (admitted, effects)
        });
        match admitted {
            Admitted::Now(outcome) => outcome,
            Admitted::Later(waiter, outcome, permit) => self.wait(waiter, outcome, permit).await,
        }
    }

    /// Waits again, in the old place, for an invocation that could not reach its instance. It was accepted, so no bound refuses it: there
    /// are no more of these than slots.
    ///
    /// # Errors
    /// The reason why there will be no slot.
    pub async fn admit_again(&self, mut slot: Slot) -> Result<Slot, Refusal> {
        let (waiter, outcome) = self.input(|shell, now| {
            let (waiter, effects) = shell.engine.arrive_again(slot.id, slot.arrived, now);
            ((waiter, shell.wait(waiter, slot.arrived)), effects)
        });
        slot.forget();
        self.wait(waiter, outcome, None).await
    }

    /// The right to keep so many bytes of a request that waits, until it is dropped. `None`: they must stay where they are.
    pub fn take_bytes(&self, bytes: u64) -> Option<Permit> {
        self.held.take_bytes(&self.key.namespace, bytes)
    }

    async fn wait(
        &self,
        waiter: WaiterId,
        outcome: oneshot::Receiver<Result<Slot, Refusal>>,
        permit: Option<Permit>,
    ) -> Result<Slot, Refusal> {
        let mut waiting = Waiting {
            entrypoint: self,
            waiter,
            outcome,
            _permit: permit,
        };
        // The sender is dropped unused only with the entrypoint itself.
        (&mut waiting.outcome)
            .await
            .unwrap_or(Err(Refusal::Unavailable))
    }

    /// An instance was seen, in this version; the same again changes nothing.
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
    pub fn located(&self, id: InstanceId, address: Address) {
        let mut shell = self.lock();
        let dial = shell
            .members
            .get_mut(&id)
            .and_then(|member| member.locate(id, address));
        drop(shell);
        dial.into_iter().for_each(|dial| self.order(dial));
    }

    /// Where what the instance writes is kept.
    pub fn writes_to(&self, id: InstanceId, tail: Arc<Tail>) {
        if let Some(member) = self.lock().members.get(&id) {
            member.instance.writes_to(tail);
        }
    }

    /// What the cluster says the boot waits for.
    pub fn waits_for(&self, id: InstanceId, what: BootFailure) {
        self.input(|shell, now| ((), shell.engine.waits_for(id, what, now)));
    }

    /// The instance accepts connections.
    pub fn accepted(&self, id: InstanceId) {
        self.input(|shell, now| {
            if let Some(member) = shell.members.get_mut(&id) {
                member.dialed();
            }
            ((), shell.engine.accepted(id, now))
        });
    }

    /// The instance cannot boot, or crashed.
    pub fn broke(&self, id: InstanceId, failure: BootFailure) {
        self.input(|shell, now| ((), shell.engine.broke(id, failure, now)));
    }

    /// The cluster refuses to make instances.
    pub fn creation_refused(&self, failure: BootFailure) {
        self.input(|shell, now| ((), shell.engine.creation_refused(failure, now)));
    }

    /// The instance runs no longer.
    pub fn frozen(&self, id: InstanceId) {
        self.input(|shell, now| ((), shell.engine.frozen(id, now)));
    }

    /// The instance runs again.
    pub fn thawed(&self, id: InstanceId) {
        self.input(|shell, now| {
            if let Some(member) = shell.members.get_mut(&id) {
                let took = member.thawed(now);
                took.into_iter().for_each(|took| self.meter.thawed(took));
            }
            ((), shell.engine.thawed(id, now))
        });
    }

    /// The instance is being deleted or is gone.
    pub fn gone(&self, uid: &str) {
        self.input(|shell, now| {
            let Some((id, _)) = shell.by_uid.remove(uid) else {
                return ((), Effects::default());
            };
            shell.members.remove(&id);
            shell.shrink();
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

    /// The order in which these go is written.
    pub fn marked(&self, marked: &[Mark]) {
        self.input(|shell, now| ((), shell.engine.marked(marked, now)));
    }

    /// So many boots were granted.
    pub fn permit(&self, boots: u32) {
        self.input(|shell, now| {
            shell.redeemed += boots;
            ((), shell.engine.permit(boots, now))
        });
    }

    /// A time has come that was asked for with [`Order::Wake`].
    pub fn tick(&self) {
        self.input(|shell, now| {
            let effects = match shell.wake.take() {
                // Too early: the timer is set again.
                Some(at) if at > now => Effects {
                    wake: Some(at),
                    ..Effects::default()
                },
                Some(_) => shell.engine.tick(now),
                None => Effects::default(),
            };
            ((), effects)
        });
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

    /// This replica stops owning the entrypoint. The names of the instances that it goes on using.
    pub fn leave(&self) -> Vec<String> {
        self.input(|shell, now| {
            let (kept, effects) = shell.engine.leave(now);
            let names = kept.iter().filter_map(|id| shell.name(id));
            (names.collect(), effects)
        })
    }

    /// No invocation waits or runs here.
    pub fn is_quiet(&self) -> bool {
        self.lock().engine.is_quiet()
    }

    /// Invocations that wait, invocations that run, and instances by state.
    pub fn census(&self) -> (usize, u32, Census) {
        let mut shell = self.lock();
        self.pay(&mut shell, Instant::now());
        let engine = &shell.engine;
        (engine.waiting(), engine.running(), engine.census())
    }

    /// What `replicas` must be now.
    pub fn replicas(&self) -> u32 {
        self.lock().engine.written()
    }
}

enum Admitted {
    Now(Result<Slot, Refusal>),
    Later(
        WaiterId,
        oneshot::Receiver<Result<Slot, Refusal>>,
        Option<Permit>,
    ),
}

#[cfg(all(test, feature = "shuttle"))]
mod interleavings;
