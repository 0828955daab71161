//! Thaw's own engine, as the activator runs it. The only file here that talks to it.
//!
//! One owner with the defaults of the manifest (`idleAfter` 60 s), except that no limit refuses anybody, since every request has to be
//! served. The bounds that all entrypoints share are off, as they are by default.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use activator::engine::{
    Admission, Effects, Ending, Engine, InstanceId, Marking, Settings, Takeover, WaiterId,
};
use crds::function::Burst;
use tokio::time::Instant;

use super::cluster::{Autoscaler, Event, Orders};

/// One function on Thaw.
pub struct Thaw {
    engine: Engine,
    /// The engine's clock at the start.
    epoch: Instant,
    waiting: HashMap<WaiterId, usize>,
    /// Deletion costs under way.
    marking: VecDeque<Vec<(InstanceId, Marking)>>,
}

impl Thaw {
    /// The owner of a function at zero.
    pub fn new(burst: Burst) -> Self {
        let epoch = Instant::now();
        let mut engine = Engine::new(Settings {
            min: 0,
            max: u32::MAX,
            concurrency: 1,
            burst,
            idle_after: Duration::from_secs(60),
            freeze_after: None,
            queue: usize::MAX,
            queue_timeout: None,
            boot_timeout: None,
            suspect_for: Duration::from_secs(300),
            pool: 0,
        });
        // At zero without demand neither asks for anything.
        drop((
            engine.own(Takeover::Released, epoch),
            engine.observed(Some(0), epoch),
        ));
        Self {
            engine,
            epoch,
            waiting: HashMap::new(),
            marking: VecDeque::new(),
        }
    }

    fn arrive(&mut self, request: usize, now: Instant, orders: &mut Orders) -> Effects {
        let (admission, effects) = self.engine.arrive(now);
        match admission {
            Admission::Run(instance) => orders.begin.push((request, instance.0)),
            Admission::Wait(waiter) => {
                self.waiting.insert(waiter, request);
            }
            Admission::Refuse(refusal) => unreachable!("nothing is limited: {refusal:?}"),
        }
        effects
    }

    fn translate(&mut self, effects: Effects, orders: &mut Orders) {
        let Effects {
            dispatched,
            refused,
            // A boot needs no dialling here, and its report goes to metrics.
            dial: _,
            boots: _,
            // A frozen instance is paid and serves as one that is not; nothing freezes here.
            freeze: _,
            thaw: _,
            mark,
            released: _,
            scale,
            wake,
        } = effects;
        assert_eq!(refused, [], "nothing is limited");
        for (waiter, instance) in dispatched {
            let request = self.waiting.remove(&waiter).expect("it waits");
            orders.begin.push((request, instance.0));
        }
        if !mark.is_empty() {
            orders.mark = mark.iter().map(|(instance, _)| instance.0).collect();
            self.marking.push_back(mark);
        }
        orders.replicas = scale;
        orders.wake = wake.map(|at| at - self.epoch);
    }
}

impl Autoscaler for Thaw {
    fn on(&mut self, event: Event, now: Duration) -> Orders {
        let now = self.epoch + now;
        let mut orders = Orders::default();
        let effects = match event {
            Event::Arrived(request) => self.arrive(request, now, &mut orders),
            Event::Ended(id, took) => {
                self.engine.took(took);
                self.engine.end(InstanceId(id), Ending::Clean, now)
            }
            Event::Scaled(replicas) => self.engine.scaled(Some(replicas), now),
            Event::Marked => {
                let marked = self.marking.pop_front().expect("it was ordered");
                self.engine.marked(&marked, now)
            }
            Event::Created(id) => self.engine.seen(InstanceId(id), false, now),
            Event::Accepts(id) => self.engine.accepted(InstanceId(id), now),
            Event::Gone(id) => self.engine.gone(InstanceId(id), now),
            Event::Tick => self.engine.tick(now),
        };
        self.translate(effects, &mut orders);
        orders
    }
}
