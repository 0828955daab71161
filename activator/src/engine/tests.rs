//! One behaviour a test; the cluster is played by hand.

use super::*;

mod boots;
mod bursts;
mod freezing;
mod invariants;
mod owners;

const CRASH: &str = "CrashLoopBackOff";

fn settings() -> Settings {
    Settings {
        burst: Burst::PerRequest,
        min: 0,
        max: 100,
        concurrency: 1,
        idle_after: Duration::from_secs(60),
        freeze_after: None,
        queue: 1000,
        queue_timeout: Some(Duration::from_secs(30)),
        boot_timeout: Some(Duration::from_secs(60)),
        suspect_for: Duration::from_secs(300),
        pool: 0,
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn id(id: u64) -> InstanceId {
    InstanceId(id)
}

/// The instances whose deletion cost is to be written.
fn going(effects: &Effects) -> Vec<InstanceId> {
    effects.mark.iter().map(|(id, _)| *id).collect()
}

/// The cluster confirms the last marking of these.
fn mark(engine: &mut Engine, ids: &[InstanceId], now: Instant) -> Effects {
    let marked: Vec<_> = ids
        .iter()
        .map(|id| (*id, engine.fleet.get(*id).unwrap().marking))
        .collect();
    engine.marked(&marked, now)
}

fn failure() -> BootFailure {
    BootFailure {
        reason: CRASH.to_owned(),
        message: "exit code 1".to_owned(),
    }
}

/// An owner at zero replicas.
fn owner(settings: Settings) -> (Engine, Instant) {
    let now = Instant::now();
    let mut engine = Engine::new(settings);
    assert_eq!(engine.own(Takeover::Released, now).scale, None);
    let minimum = (settings.min > 0).then_some(settings.min);
    assert_eq!(engine.observed(Some(0), now).scale, minimum);
    (engine, now)
}

fn arrive(engine: &mut Engine, now: Instant) -> (WaiterId, Effects) {
    match engine.arrive(now) {
        (Admission::Wait(waiter), effects) => (waiter, effects),
        (other, _) => panic!("expected to wait, got {other:?}"),
    }
}

/// `n` invocations run on instances 1..=n.
fn busy(engine: &mut Engine, n: u64, now: Instant) {
    for _ in 0..n {
        arrive(engine, now);
    }
    let mut replicas = engine.scaled(Some(1), now).scale;
    while let Some(n) = replicas {
        replicas = engine.scaled(Some(n), now).scale;
    }
    for instance in 1..=n {
        assert_eq!(engine.seen(id(instance), false, now).dial, [id(instance)]);
    }
    for instance in 1..=n {
        assert_eq!(engine.accepted(id(instance), now).dispatched.len(), 1);
    }
}

#[test]
fn the_first_arrival_asks_for_one_instance_at_once() {
    let (mut engine, now) = owner(settings());
    let (waiter, effects) = arrive(&mut engine, now);
    assert_eq!(effects.scale, Some(1));
    assert_eq!(engine.scaled(Some(1), now).scale, None);
    assert_eq!(engine.seen(id(1), false, now).dial, [id(1)]);
    let effects = engine.accepted(id(1), now + seconds(1));
    assert_eq!(effects.dispatched, [(waiter, id(1))]);
    assert_eq!(effects.boots[0].took, seconds(1));
}

#[test]
fn n_arrivals_from_zero_ask_for_exactly_n() {
    let (mut engine, now) = owner(settings());
    for _ in 0..10 {
        arrive(&mut engine, now);
    }
    assert_eq!(engine.scaled(Some(1), now).scale, Some(10));
    assert_eq!(engine.scaled(Some(10), now).scale, None);
}

#[test]
fn wanted_is_the_law() {
    let of = |demand, concurrency, min, max| {
        scale::wanted(
            demand,
            &Settings {
                concurrency,
                min,
                max,
                ..settings()
            },
        )
    };
    assert_eq!(of(0, 1, 0, 100), 0);
    assert_eq!(of(11, 4, 0, 100), 3);
    assert_eq!(of(500, 1, 0, 100), 100);
    assert_eq!(of(0, 1, 2, 100), 2);
}

#[test]
fn max_bounds_the_instances_and_the_rest_waits_in_order() {
    let (mut engine, now) = owner(Settings {
        max: 1,
        ..settings()
    });
    let (first, _) = arrive(&mut engine, now);
    let (second, _) = arrive(&mut engine, now);
    assert_eq!(engine.scaled(Some(1), now).scale, None);
    engine.seen(id(1), false, now);
    assert_eq!(engine.accepted(id(1), now).dispatched, [(first, id(1))]);
    assert_eq!(
        engine.end(id(1), Ending::Clean, now).dispatched,
        [(second, id(1))]
    );
}

#[test]
fn the_instance_used_last_is_reused_first() {
    let (mut engine, now) = owner(settings());
    busy(&mut engine, 3, now);
    for instance in [2, 3, 1] {
        engine.end(id(instance), Ending::Clean, now);
    }
    assert_eq!(engine.arrive(now).0, Admission::Run(id(1)));
    assert_eq!(engine.arrive(now).0, Admission::Run(id(3)));
}

#[test]
fn concurrency_fills_one_instance_before_the_next() {
    let (mut engine, now) = owner(Settings {
        concurrency: 2,
        ..settings()
    });
    for _ in 0..3 {
        arrive(&mut engine, now);
    }
    assert_eq!(engine.scaled(Some(1), now).scale, Some(2));
    engine.scaled(Some(2), now);
    engine.seen(id(1), false, now);
    engine.seen(id(2), false, now);
    assert_eq!(engine.accepted(id(1), now).dispatched.len(), 2);
    assert_eq!(engine.accepted(id(2), now).dispatched.len(), 1);
    engine.end(id(1), Ending::Clean, now);
    assert_eq!(engine.arrive(now).0, Admission::Run(id(1)));
}

#[test]
fn surplus_instances_go_one_idle_window_after_their_last_use() {
    let (mut engine, now) = owner(settings());
    busy(&mut engine, 3, now);
    for instance in 1..=3 {
        engine.end(id(instance), Ending::Clean, now);
    }
    // One at a time keeps only the instance used last.
    assert_eq!(engine.arrive(now + seconds(59)).0, Admission::Run(id(3)));
    engine.end(id(3), Ending::Clean, now + seconds(59));
    assert_eq!(going(&engine.tick(now + seconds(59))), []);
    assert_eq!(going(&engine.tick(now + seconds(60))), [id(2), id(1)]);
    assert_eq!(
        mark(&mut engine, &[id(2), id(1)], now + seconds(60)).scale,
        Some(1)
    );
    engine.scaled(Some(1), now + seconds(60));
    engine.gone(id(1), now + seconds(61));
    let effects = engine.gone(id(2), now + seconds(61));
    assert_eq!(effects.wake, Some(now + seconds(59 + 60)));
    let later = effects.wake.unwrap();
    assert_eq!(going(&engine.tick(later)), [id(3)]);
    assert_eq!(mark(&mut engine, &[id(3)], later).scale, Some(0));
}

#[test]
fn min_instances_stay() {
    let (mut engine, now) = owner(Settings {
        min: 1,
        ..settings()
    });
    engine.scaled(Some(1), now);
    engine.seen(id(1), false, now);
    engine.accepted(id(1), now);
    assert_eq!(going(&engine.tick(now + seconds(3600))), []);
}

#[test]
fn an_arrival_takes_back_an_instance_that_is_not_scaled_away_yet() {
    let (mut engine, now) = owner(settings());
    busy(&mut engine, 1, now);
    engine.end(id(1), Ending::Clean, now);
    let later = now + seconds(60);
    assert_eq!(going(&engine.tick(later)), [id(1)]);
    assert_eq!(engine.arrive(later).0, Admission::Run(id(1)));
    assert_eq!(mark(&mut engine, &[id(1)], later).scale, None);
}

#[test]
fn an_instance_that_can_be_taken_back_is_not_replaced_by_a_boot() {
    let (mut engine, now) = owner(settings());
    busy(&mut engine, 2, now);
    engine.end(id(1), Ending::Clean, now);
    let idled_out = now + seconds(60);
    assert_eq!(going(&engine.tick(idled_out)), [id(1)]);
    let lower = Settings {
        min: 2,
        ..settings()
    };
    assert_eq!(engine.configure(lower, idled_out).scale, None);
    assert_eq!(engine.census().idle, 1);
}

#[test]
fn replicas_rise_only_after_the_lowered_ones_are_gone() {
    let (mut engine, now) = owner(settings());
    busy(&mut engine, 1, now);
    engine.end(id(1), Ending::Clean, now);
    let later = now + seconds(60);
    engine.tick(later);
    assert_eq!(mark(&mut engine, &[id(1)], later).scale, Some(0));
    let (_, effects) = arrive(&mut engine, later);
    assert_eq!(effects.scale, None);
    assert_eq!(engine.scaled(Some(0), later).scale, None);
    assert_eq!(engine.gone(id(1), later).scale, Some(1));
}

#[test]
fn nothing_is_scaled_down_while_a_boot_is_in_flight() {
    let (mut engine, now) = owner(settings());
    busy(&mut engine, 1, now);
    arrive(&mut engine, now);
    engine.scaled(Some(2), now);
    engine.end(id(1), Ending::Clean, now); // takes the waiter
    engine.end(id(1), Ending::Clean, now);
    assert_eq!(going(&engine.tick(now + seconds(59))), []);
    engine.seen(id(2), false, now + seconds(59));
    engine.accepted(id(2), now + seconds(59));
    assert_eq!(going(&engine.tick(now + seconds(60))), [id(1)]);
}

#[test]
fn a_full_queue_refuses() {
    let (mut engine, now) = owner(Settings {
        queue: 1,
        ..settings()
    });
    arrive(&mut engine, now);
    assert_eq!(engine.arrive(now).0, Admission::Refuse(Refusal::QueueFull));
}

#[test]
fn a_cancelled_waiter_is_never_dispatched() {
    let (mut engine, now) = owner(settings());
    let (first, _) = arrive(&mut engine, now);
    let (second, _) = arrive(&mut engine, now);
    engine.cancel(first, now);
    engine.scaled(Some(2), now);
    engine.seen(id(1), false, now);
    assert_eq!(engine.accepted(id(1), now).dispatched, [(second, id(1))]);
}

#[test]
fn a_broken_instance_is_never_reused_and_makes_room_for_the_next() {
    let (mut engine, now) = owner(Settings {
        max: 1,
        ..settings()
    });
    busy(&mut engine, 1, now);
    let (waiter, _) = arrive(&mut engine, now);
    let effects = engine.end(id(1), Ending::Broken, now);
    assert_eq!(
        (effects.dispatched.len(), going(&effects)),
        (0, vec![id(1)])
    );
    assert_eq!(mark(&mut engine, &[id(1)], now).scale, Some(0));
    engine.scaled(Some(0), now);
    assert_eq!(engine.gone(id(1), now).scale, Some(1));
    engine.seen(id(2), false, now);
    assert_eq!(engine.accepted(id(2), now).dispatched, [(waiter, id(2))]);
}

#[test]
fn a_lower_concurrency_holds_for_the_next_admission() {
    let (mut engine, now) = owner(Settings {
        concurrency: 2,
        ..settings()
    });
    busy(&mut engine, 1, now);
    engine.configure(settings(), now);
    let (_, effects) = arrive(&mut engine, now);
    assert_eq!((effects.dispatched, effects.scale), (vec![], Some(2)));
}

#[test]
fn no_timer_is_set_in_the_past() {
    let (mut engine, now) = owner(settings());
    busy(&mut engine, 2, now);
    engine.end(id(1), Ending::Clean, now);
    engine.end(id(2), Ending::Clean, now);
    let later = now + seconds(61);
    let effects = engine.tick(later);
    assert_eq!(
        (going(&effects).len(), effects.wake),
        (2, None),
        "the marking is under way"
    );
}

#[test]
fn a_confirmation_of_an_earlier_marking_says_nothing() {
    let (mut engine, now) = owner(settings());
    busy(&mut engine, 1, now);
    engine.end(id(1), Ending::Clean, now);
    let first = engine.tick(now + seconds(60)).mark;
    engine.arrive(now + seconds(60));
    engine.end(id(1), Ending::Clean, now + seconds(60));
    let second = engine.tick(now + seconds(120)).mark;
    assert_eq!(engine.marked(&first, now + seconds(120)).scale, None);
    assert_eq!(engine.marked(&second, now + seconds(120)).scale, Some(0));
}

#[test]
fn an_unreached_invocation_keeps_its_turn() {
    let (mut engine, now) = owner(settings());
    busy(&mut engine, 2, now);
    let (waiting, _) = arrive(&mut engine, now + seconds(1));
    let (again, _) = engine.arrive_again(id(1), now, now + seconds(1));
    assert_eq!(
        engine.end(id(2), Ending::Clean, now).dispatched,
        [(again, id(2))]
    );
    assert_eq!(
        engine.end(id(2), Ending::Clean, now).dispatched,
        [(waiting, id(2))]
    );
}
