//! What admission costs: `cargo bench -p activator`. Times are those of this machine; ratios, bytes and allocations hold anywhere.

use std::{hint::black_box, sync::Arc};

use activator::{
    budget::Caps,
    engine::{Admission, Ending, Engine, InstanceId, Settings, Takeover},
    entrypoint::{Entrypoint, Key, Order},
    entrypoints::Entrypoints,
    held::Limits,
    metrics::Metrics,
};
use allocation_counter::measure;
use crds::function::Burst;
use futures::FutureExt;
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{Duration, Instant},
};

fn main() {
    let (mut engine, instance) = warm_engine();
    let round = || admit_and_release(&mut engine, instance);
    report("engine: admission and release, warm", round);

    let mut set = Set::new(1);
    set.warm_up(1);
    let entrypoint = set.all[0].clone();
    report(
        "entrypoint: the same, with lock, clock, slot and metrics",
        || invoke(&entrypoint),
    );

    for (what, calls) in [("never called", 0), ("called once, at zero again", 10_000)] {
        line(
            &format!("10,000 idle entrypoints, {what}"),
            &format!("{} B each", memory(10_000, calls)),
        );
    }

    let (short, long) = (queued(100), queued(10_000));
    line("arrival and cancel behind 100 that wait", &ns(short));
    line(
        "  behind 10,000",
        &format!("{} ({:.2} x)", ns(long), long / short),
    );

    let (mut alone, mut beside) = (active(0), active(99_000));
    line(
        "1,000 active entrypoints: admission, release and tick of each",
        &ns(alone()),
    );
    let ratio = beside() / alone();
    line(
        "  beside 99,000 idle ones",
        &format!("{} ({ratio:.2} x)", ns(beside())),
    );
}

/// An engine that owns one idle instance.
fn warm_engine() -> (Engine, InstanceId) {
    let (mut engine, now, instance) = (Engine::new(settings()), Instant::now(), InstanceId(1));
    engine.own(Takeover::Released, now);
    engine.observed(Some(0), now);
    engine.arrive(now);
    engine.scaled(Some(1), now);
    engine.seen(instance, false, now);
    engine.accepted(instance, now);
    engine.end(instance, Ending::Clean, now);
    (engine, instance)
}

fn admit_and_release(engine: &mut Engine, instance: InstanceId) {
    let now = Instant::now();
    let (admission, effects) = engine.arrive(now);
    assert_eq!(admission, Admission::Run(instance));
    black_box(effects);
    black_box(engine.end(instance, Ending::Clean, now));
}

/// One invocation of a warm entrypoint.
fn invoke(entrypoint: &Entrypoint) {
    let slot = entrypoint.admit().now_or_never().expect("it is warm");
    slot.expect("nothing refuses it").finish();
}

/// Entrypoints, and a cluster that does what they order at once.
struct Set {
    all: Vec<Arc<Entrypoint>>,
    entrypoints: Entrypoints,
    orders: UnboundedReceiver<(Arc<Entrypoint>, Order)>,
}

impl Set {
    fn new(count: usize) -> Self {
        let (sender, orders) = unbounded_channel();
        let metrics = Arc::new(Metrics::default());
        let entrypoints = Entrypoints::new(metrics, sender, Caps::default(), Limits::default());
        entrypoints.own(Takeover::Released);
        let one = |n: usize| {
            let entrypoint = entrypoints.get_or_add(&key(n));
            entrypoint.configure(settings());
            entrypoint.observed(Some(0));
            entrypoint
        };
        Self {
            all: (0..count).map(one).collect(),
            entrypoints,
            orders,
        }
    }

    /// The first of them serve: each has an instance that was used once.
    fn warm_up(&mut self, count: usize) {
        for entrypoint in &self.all[..count] {
            let mut waiting = Box::pin(entrypoint.admit());
            assert!((&mut waiting).now_or_never().is_none());
            entrypoint.scaled(Some(1));
            let id = entrypoint.seen("uid", "pod", false, 0);
            entrypoint.accepted(id);
            let slot = waiting.now_or_never().expect("it has booted");
            slot.expect("nothing refuses it").finish();
        }
        self.forget_orders();
    }

    /// Everything goes.
    fn cool_down(&mut self) {
        for entrypoint in &self.all {
            entrypoint.configure(Settings {
                idle_after: Duration::ZERO,
                ..settings()
            });
            while let Ok((entrypoint, order)) = self.orders.try_recv() {
                match order {
                    Order::Mark(marks) => {
                        entrypoint.marked(&marks.iter().map(|(mark, _)| *mark).collect::<Vec<_>>())
                    }
                    Order::Scale => entrypoint.scaled(Some(entrypoint.replicas())),
                    _ => {}
                }
            }
            entrypoint.gone("uid");
            assert_eq!(entrypoint.replicas(), 0);
            entrypoint.configure(settings());
        }
        self.forget_orders();
    }

    fn forget_orders(&mut self) {
        while self.orders.try_recv().is_ok() {}
    }
}

/// Bytes that one of so many entrypoints holds, when so many of them were called once.
fn memory(count: usize, called: usize) -> i64 {
    let mut set = None;
    let held = measure(|| {
        let mut new = Set::new(count);
        new.warm_up(called);
        new.cool_down();
        set = Some(new);
    });
    drop(set);
    held.bytes_current / i64::try_from(count).expect("a count fits")
}

/// Seconds of an arrival and its cancel behind so many that wait.
fn queued(waiting: usize) -> f64 {
    let (mut engine, now) = (Engine::new(settings()), Instant::now());
    engine.own(Takeover::Released, now);
    for _ in 0..waiting {
        engine.arrive(now);
    }
    time(10_000, || {
        let (Admission::Wait(waiter), _) = engine.arrive(now) else {
            panic!("nothing serves")
        };
        black_box(engine.cancel(waiter, now));
    })
}

/// Measures a thousand entrypoints that are invoked in turn, beside so many that idle: seconds for each.
fn active(idle: usize) -> impl FnMut() -> f64 {
    let mut set = Set::new(1_000 + idle);
    set.warm_up(1_000);
    move || {
        assert_eq!(set.entrypoints.all().len(), 1_000 + idle);
        let all = time(20, || {
            for entrypoint in &set.all[..1_000] {
                invoke(entrypoint);
                entrypoint.tick();
            }
        });
        set.forget_orders();
        all / 1_000.0
    }
}

fn settings() -> Settings {
    Settings {
        min: 0,
        max: 100,
        concurrency: 1,
        burst: Burst::PerRequest,
        idle_after: Duration::from_secs(3600),
        freeze_after: Some(Duration::from_secs(60)),
        queue: 100_000,
        queue_timeout: Some(Duration::from_secs(3600)),
        boot_timeout: Some(Duration::from_secs(3600)),
        suspect_for: Duration::from_secs(300),
        pool: 0,
    }
}

fn key(n: usize) -> Key {
    Key {
        namespace: format!("team-{}", n / 100),
        function: format!("function-{n}"),
        entrypoint: "orders".to_owned(),
        revision: "0123456789".to_owned(),
    }
}

/// Seconds of one round: the least of some series, since what disturbs only adds.
fn time(rounds: u32, mut round: impl FnMut()) -> f64 {
    let series = (0..20).map(|_| {
        let start = Instant::now();
        (0..rounds).for_each(|_| round());
        start.elapsed().as_secs_f64() / f64::from(rounds)
    });
    series.fold(f64::INFINITY, f64::min)
}

fn report(what: &str, mut round: impl FnMut()) {
    round();
    let allocations = measure(&mut round).count_total;
    line(
        what,
        &format!("{} and {allocations} allocations", ns(time(20_000, round))),
    );
}

fn ns(seconds: f64) -> String {
    format!("{:.0} ns", seconds * 1e9)
}

#[expect(clippy::print_stdout, reason = "a benchmark prints")]
fn line(what: &str, figure: &str) {
    println!("{what:<64} {figure}");
}
