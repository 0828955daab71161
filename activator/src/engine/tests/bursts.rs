//! A burst from zero, played out: what each way of meeting it costs and how long it makes people wait.

use std::{cmp::Reverse, collections::BinaryHeap, collections::HashMap};

use crds::function::Burst;

use super::*;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Accepts(InstanceId),
    Ends(InstanceId),
}

/// A cluster whose boots and invocations all take their time, and no longer.
struct Play {
    engine: Engine,
    boot: Duration,
    work: Duration,
    to_come: BinaryHeap<Reverse<(Instant, Happening)>>,
    arrived: HashMap<WaiterId, Instant>,
    waits: Vec<Duration>,
    pods: u64,
    live: u64,
}

impl Play {
    fn new(burst: Burst, boot: Duration, work: Duration) -> (Self, Instant) {
        let (engine, now) = owner(Settings {
            burst,
            max: 10_000,
            queue: 10_000,
            ..settings()
        });
        let (to_come, arrived) = (BinaryHeap::new(), HashMap::new());
        let play = Self {
            engine,
            boot,
            work,
            to_come,
            arrived,
            waits: vec![],
            pods: 0,
            live: 0,
        };
        (play, now)
    }

    fn arrive(&mut self, now: Instant) {
        let (waiter, effects) = arrive(&mut self.engine, now);
        self.arrived.insert(waiter, now);
        self.carry_out(effects, now);
    }

    fn carry_out(&mut self, mut effects: Effects, now: Instant) {
        loop {
            for (waiter, instance) in effects.dispatched {
                self.waits.push(now - self.arrived[&waiter]);
                self.to_come
                    .push(Reverse((now + self.work, Happening::Ends(instance))));
            }
            assert_eq!(effects.refused, []);
            let going: Vec<_> = effects.mark;
            let mut next = vec![];
            if !going.is_empty() {
                next.push(self.engine.marked(&going, now));
            }
            if let Some(replicas) = effects.scale {
                next.push(self.engine.scaled(Some(replicas), now));
                while self.live < u64::from(replicas) {
                    (self.pods, self.live) = (self.pods + 1, self.live + 1);
                    next.push(self.engine.seen(id(self.pods), false, now));
                    let up = (now + self.boot, Happening::Accepts(id(self.pods)));
                    self.to_come.push(Reverse(up));
                }
                for id in self
                    .engine
                    .fleet
                    .on(fleet::Shelf::Retiring)
                    .map(|(_, id)| id)
                    .collect::<Vec<_>>()
                {
                    self.live -= 1;
                    next.push(self.engine.gone(id, now));
                }
            }
            let mut rest = next.into_iter();
            let Some(first) = rest.next() else { return };
            for later in rest {
                self.carry_out(later, now);
            }
            effects = first;
        }
    }

    /// Until nothing is under way.
    fn play(&mut self) -> Instant {
        let mut now = Instant::now();
        while let Some(Reverse((at, happening))) = self.to_come.pop() {
            now = at;
            let effects = match happening {
                Happening::Accepts(instance) => self.engine.accepted(instance, now),
                Happening::Ends(instance) => {
                    self.engine.took(self.work);
                    self.engine.end(instance, Ending::Clean, now)
                }
            };
            self.carry_out(effects, now);
        }
        now
    }
}

/// Instances booted for `arrivals` at once from zero, and the wait that 99 of 100 did not exceed. Boots and invocations have been seen
/// before.
fn burst(burst: Burst, arrivals: usize, boot: Duration, work: Duration) -> (u64, Duration) {
    let (mut play, now) = Play::new(burst, boot, work);
    play.arrive(now);
    let later = play.play() + seconds(61);
    let effects = play.engine.tick(later);
    play.carry_out(effects, later);
    assert_eq!(play.live, 0);
    (play.pods, play.waits) = (0, vec![]);

    let at = later + seconds(1);
    (0..arrivals).for_each(|_| play.arrive(at));
    play.play();
    play.waits.sort_unstable();
    assert_eq!(play.waits.len(), arrivals);
    (play.pods, play.waits[(arrivals * 99).div_ceil(100) - 1])
}

#[test]
fn per_request_boots_one_for_each() {
    let ms = Duration::from_millis;
    for arrivals in [1, 10, 1000] {
        assert_eq!(
            burst(Burst::PerRequest, arrivals, ms(300), ms(5)).0,
            arrivals as u64
        );
    }
}

#[test]
fn drain_boots_far_fewer_for_short_work_and_waits_hardly_longer() {
    let ms = Duration::from_millis;
    let (each, fastest) = burst(Burst::PerRequest, 1000, ms(300), ms(5));
    let (few, wait) = burst(Burst::Drain, 1000, ms(300), ms(5));
    assert!(few * 5 <= each, "{few} against {each} instances");
    assert!(wait <= fastest.mul_f64(1.2), "{wait:?} against {fastest:?}");
}

#[test]
fn drain_boots_one_for_each_when_the_work_is_long() {
    let (boots, _) = burst(Burst::Drain, 20, Duration::from_millis(300), seconds(1));
    assert_eq!(boots, 20);
}
