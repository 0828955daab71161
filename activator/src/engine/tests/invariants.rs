//! Random inputs against a cluster that behaves like a ReplicaSet; the guarantees hold after every step.

use std::{cmp::Reverse, collections::HashMap};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Arrive,
    Cancel(usize),
    End(usize, bool),
    /// The cluster catches up with `replicas`: a pod is made, or the cheapest deleted.
    Reconcile,
    ConfirmScale,
    ConfirmMark,
    Accept(usize),
    Break(usize),
    Evict(usize),
    Sleep(u64),
    Configure(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let any = any::<usize>();
    prop_oneof![
        6 => Just(Step::Arrive),
        1 => any.prop_map(Step::Cancel),
        5 => (any, prop::bool::weighted(0.1)).prop_map(|(which, broken)| Step::End(which, broken)),
        6 => Just(Step::Reconcile),
        6 => Just(Step::ConfirmScale),
        4 => Just(Step::ConfirmMark),
        6 => any.prop_map(Step::Accept),
        1 => any.prop_map(Step::Break),
        1 => any.prop_map(Step::Evict),
        3 => (0u64..90).prop_map(Step::Sleep),
        1 => (1u32..4).prop_map(Step::Configure),
    ]
}

struct World {
    engine: Engine,
    settings: Settings,
    now: Instant,
    /// Pods by deletion cost (lower goes first), and whether they are ready.
    pods: std::collections::BTreeMap<InstanceId, (i64, bool)>,
    replicas: u32,
    asked_replicas: Option<u32>,
    unmarked: Vec<(InstanceId, Marking)>,
    running: Vec<InstanceId>,
    waiting: Vec<WaiterId>,
    arrivals: HashMap<WaiterId, Instant>,
    made: u64,
    cost: i64,
}

impl World {
    fn new(settings: Settings) -> Self {
        let (engine, now) = owner(settings);
        Self {
            engine,
            settings,
            now,
            pods: std::collections::BTreeMap::new(),
            replicas: 0,
            // `owner` took note of what a minimum makes the engine ask for.
            asked_replicas: (settings.min > 0).then_some(settings.min),
            unmarked: vec![],
            running: vec![],
            waiting: vec![],
            arrivals: HashMap::new(),
            made: 0,
            cost: 0,
        }
    }

    fn carry_out(&mut self, effects: Effects) {
        for (waiter, instance) in effects.dispatched {
            let place = self.waiting.iter().position(|w| *w == waiter);
            assert_eq!(place, Some(0), "first in, first out; cancelled ones never");
            self.waiting.remove(0);
            self.run(instance);
        }
        for (waiter, _) in effects.refused {
            let place = self
                .waiting
                .iter()
                .position(|w| *w == waiter)
                .expect("refused once, while it waited");
            self.waiting.remove(place);
        }
        self.unmarked.extend(effects.mark);
        if let Some(replicas) = effects.scale {
            assert_eq!(self.asked_replicas, None, "one write at a time");
            self.asked_replicas = Some(replicas);
        }
    }

    fn step(&mut self, step: Step) {
        let now = self.now;
        let pick = |which: usize, n: usize| (n > 0).then(|| which % n);
        let nth = |which: usize, pods: &std::collections::BTreeMap<InstanceId, (i64, bool)>| {
            pick(which, pods.len()).map(|n| *pods.keys().nth(n).unwrap())
        };
        let effects = match step {
            Step::Arrive => {
                let (admission, effects) = self.engine.arrive(now);
                match admission {
                    Admission::Run(instance) => {
                        assert!(self.waiting.is_empty(), "nobody overtakes a waiter");
                        self.run(instance);
                    }
                    Admission::Wait(waiter) => {
                        self.waiting.push(waiter);
                        self.arrivals.insert(waiter, now);
                    }
                    Admission::Refuse(_) => {}
                }
                effects
            }
            Step::Cancel(which) => {
                let Some(which) = pick(which, self.waiting.len()) else {
                    return;
                };
                let waiter = self.waiting.remove(which);
                self.engine.cancel(waiter, now)
            }
            Step::End(which, broken) => {
                let Some(which) = pick(which, self.running.len()) else {
                    return;
                };
                let instance = self.running.swap_remove(which);
                self.engine.end(
                    instance,
                    if broken {
                        Ending::Broken
                    } else {
                        Ending::Clean
                    },
                    now,
                )
            }
            Step::Reconcile => return self.reconcile(),
            Step::ConfirmScale => {
                let Some(replicas) = self.asked_replicas.take() else {
                    return;
                };
                self.replicas = replicas;
                self.engine.scaled(Some(replicas), now)
            }
            Step::ConfirmMark => {
                let ids = std::mem::take(&mut self.unmarked);
                for (id, _) in &ids {
                    self.cost -= 1;
                    self.pods.entry(*id).and_modify(|pod| pod.0 = self.cost);
                }
                self.engine.marked(&ids, now)
            }
            Step::Accept(which) => {
                let Some(id) = nth(which, &self.pods) else {
                    return;
                };
                // Assumed: a pod made during a lowering is deleted before it is ready, some 200 ms later.
                if self
                    .engine
                    .fleet
                    .get(id)
                    .is_some_and(|instance| instance.state == State::Retiring)
                {
                    return;
                }
                self.pods.get_mut(&id).unwrap().1 = true;
                self.engine.accepted(id, now)
            }
            Step::Break(which) => {
                let Some(id) = nth(which, &self.pods) else {
                    return;
                };
                let effects = self.engine.broke(id, failure(), now);
                self.carry_out(effects);
                while let Some(cut) = self.running.iter().position(|instance| *instance == id) {
                    self.running.swap_remove(cut);
                    let effects = self.engine.end(id, Ending::Broken, now);
                    self.carry_out(effects);
                }
                return;
            }
            Step::Evict(which) => {
                let Some(id) = nth(which, &self.pods) else {
                    return;
                };
                self.delete(id);
                self.engine.gone(id, now)
            }
            Step::Configure(concurrency) => {
                self.settings.concurrency = concurrency;
                self.engine.configure(self.settings, now)
            }
            Step::Sleep(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.engine.tick(self.now)
            }
        };
        self.carry_out(effects);
    }

    fn run(&mut self, instance: InstanceId) {
        let load = self.running.iter().filter(|id| **id == instance).count() as u32;
        assert!(
            load < self.settings.concurrency,
            "{instance:?} runs {load} already"
        );
        self.running.push(instance);
    }

    fn delete(&mut self, id: InstanceId) {
        self.pods.remove(&id);
        self.running.retain(|instance| *instance != id);
    }

    fn reconcile(&mut self) {
        while self.pods.len() < self.replicas as usize {
            self.made += 1;
            self.pods.insert(id(self.made), (0, false));
            let effects = self.engine.seen(id(self.made), false, self.now);
            self.carry_out(effects);
        }
        while self.pods.len() > self.replicas as usize {
            // Not ready before ready, then by cost, then the youngest.
            let rank =
                |(id, (cost, ready)): &(&InstanceId, &(i64, bool))| (*ready, *cost, Reverse(**id));
            let victim = *self.pods.iter().min_by_key(rank).unwrap().0;
            assert!(
                !self.running.contains(&victim),
                "a ReplicaSet must never be made to delete a busy instance"
            );
            self.delete(victim);
            let effects = self.engine.gone(victim, self.now);
            self.carry_out(effects);
        }
    }

    fn check(&self) {
        assert_eq!(
            self.engine.waiting(),
            self.waiting.len(),
            "no waiter is lost"
        );
        assert!(
            self.engine.usable()
                <= self
                    .settings
                    .max
                    .max(self.engine.usable().min(self.replicas))
        );
        if let Some(oldest) = self.waiting.first() {
            let longest =
                self.settings.boot_timeout.unwrap() + self.settings.queue_timeout.unwrap();
            assert!(
                self.now < self.arrivals[oldest] + longest + Duration::from_secs(90),
                "a waiter waits for ever"
            );
        }
    }

    /// Everything ends, the cluster catches up, time passes.
    fn wind_down(&mut self) {
        for _ in 0..20 {
            while !self.waiting.is_empty() {
                self.step(Step::Cancel(0));
            }
            while !self.running.is_empty() {
                self.step(Step::End(0, false));
            }
            for _ in 0..5 {
                for step in [Step::ConfirmScale, Step::Reconcile, Step::ConfirmMark] {
                    self.step(step);
                }
                for which in 0..self.pods.len() {
                    self.step(Step::Accept(which));
                }
            }
            self.step(Step::Sleep(61));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn hold_after_every_step(
        steps in prop::collection::vec(step(), 1..400),
        concurrency in 1u32..4,
        max in 1u32..8,
        min in 0u32..2,
        is_drain in any::<bool>(),
    ) {
        let burst = if is_drain { Burst::Drain } else { Burst::PerRequest };
        let mut world = World::new(Settings { burst, concurrency, max, min, queue: 20, ..settings() });
        for step in steps {
            world.step(step);
            world.check();
        }
        world.wind_down();
        prop_assert_eq!(world.pods.len() as u32, min, "without demand exactly the minimum is left: {:?}", world.engine);
        prop_assert_eq!(world.replicas, min);
    }
}
