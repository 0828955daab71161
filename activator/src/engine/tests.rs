//! One behaviour a test; the cluster is played by hand.

use super::*;

mod bursts;
mod freezing;
mod invariants;

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
fn a_boot_that_cannot_succeed_refuses_its_waiters_and_backs_off() {
    let (mut engine, now) = owner(settings());
    let (waiter, _) = arrive(&mut engine, now);
    engine.scaled(Some(1), now);
    engine.seen(id(1), false, now);
    let effects = engine.broke(id(1), failure(), now);
    assert_eq!(effects.refused, [(waiter, Refusal::BootFailed(failure()))]);
    assert_eq!(going(&effects), [id(1)]);
    assert_eq!(mark(&mut engine, &[id(1)], now).scale, Some(0));
    engine.scaled(Some(0), now);
    engine.gone(id(1), now);
    assert_eq!(
        engine.arrive(now).0,
        Admission::Refuse(Refusal::BootFailed(failure()))
    );
    let (_, effects) = arrive(&mut engine, now + seconds(1));
    assert_eq!(effects.scale, Some(1));
}

#[test]
fn a_failed_boot_spares_waiters_that_another_instance_can_serve() {
    let (mut engine, now) = owner(settings());
    arrive(&mut engine, now);
    let (second, _) = arrive(&mut engine, now);
    engine.scaled(Some(2), now);
    engine.seen(id(1), false, now);
    engine.seen(id(2), false, now);
    assert_eq!(engine.broke(id(1), failure(), now).refused, []);
    assert_eq!(engine.accepted(id(2), now).dispatched.len(), 1);
    assert_eq!(
        engine.end(id(2), Ending::Clean, now).dispatched,
        [(second, id(2))]
    );
}

#[test]
fn pods_that_are_refused_fail_the_boot() {
    let (mut engine, now) = owner(settings());
    let (waiter, _) = arrive(&mut engine, now);
    engine.scaled(Some(1), now);
    let effects = engine.creation_refused(failure(), now);
    assert_eq!(effects.refused, [(waiter, Refusal::BootFailed(failure()))]);
    assert_eq!(effects.scale, Some(0));
}

#[test]
fn a_boot_that_takes_too_long_says_what_it_waited_for() {
    let (mut engine, now) = owner(settings());
    let (waiter, effects) = arrive(&mut engine, now);
    assert_eq!(effects.wake, Some(now + seconds(60)));
    engine.scaled(Some(1), now);
    engine.seen(id(1), false, now);
    engine.waits_for(id(1), failure(), now);
    let effects = engine.tick(now + seconds(60));
    assert_eq!(effects.refused, [(waiter, Refusal::BootTimeout(failure()))]);
    assert_eq!(going(&effects), [id(1)]);
}

#[test]
fn a_boot_never_counts_against_the_queue_timeout() {
    let (mut engine, now) = owner(Settings {
        max: 1,
        ..settings()
    });
    arrive(&mut engine, now);
    let (second, _) = arrive(&mut engine, now);
    engine.scaled(Some(1), now);
    engine.seen(id(1), false, now);
    let up = now + seconds(40);
    assert_eq!(engine.accepted(id(1), up).refused, []);
    assert_eq!(engine.tick(up + seconds(29)).refused, []);
    assert_eq!(
        engine.tick(up + seconds(30)).refused,
        [(second, Refusal::QueueTimeout)]
    );
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
fn a_waiter_has_the_whole_boot_timeout_when_the_last_instance_broke() {
    let (mut engine, now) = owner(Settings {
        max: 1,
        queue_timeout: Some(seconds(300)),
        ..settings()
    });
    busy(&mut engine, 1, now);
    arrive(&mut engine, now);
    let effects = engine.end(id(1), Ending::Broken, now + seconds(100));
    assert_eq!(
        (effects.refused, effects.wake),
        (vec![], Some(now + seconds(160)))
    );
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

#[test]
fn a_pod_that_somebody_deleted_is_counted_as_a_boot_of_its_replacement() {
    let (mut engine, now) = owner(settings());
    busy(&mut engine, 1, now);
    let effects = engine.gone(id(1), now);
    assert_eq!(effects.scale, None);
    assert_eq!(engine.census().booting, 1);
    assert_eq!(engine.seen(id(2), false, now).dial, [id(2)]);
}

#[test]
fn a_standby_queues_and_serves_as_soon_as_it_owns() {
    let now = Instant::now();
    let mut engine = Engine::new(settings());
    engine.observed(Some(1), now);
    engine.seen(id(7), false, now);
    let (waiter, effects) = arrive(&mut engine, now);
    assert_eq!((effects.scale, effects.dial), (None, vec![]));
    let effects = engine.own(Takeover::Released, now);
    assert_eq!((effects.scale, effects.dial), (None, vec![id(7)]));
    assert_eq!(engine.accepted(id(7), now).dispatched, [(waiter, id(7))]);
}

#[test]
fn instances_of_an_owner_that_vanished_are_suspect_until_their_time_is_over() {
    let now = Instant::now();
    let mut engine = Engine::new(settings());
    engine.observed(Some(1), now);
    engine.seen(id(7), false, now);
    assert_eq!(engine.own(Takeover::Lapsed, now).dial, []);
    let (_, effects) = arrive(&mut engine, now);
    assert_eq!(effects.scale, Some(2));
    engine.scaled(Some(2), now);
    assert_eq!(engine.tick(now + seconds(300)).dial, [id(7)]);
}

#[test]
fn a_held_instance_is_used_after_it_is_released() {
    let now = Instant::now();
    let mut engine = Engine::new(settings());
    engine.observed(Some(1), now);
    engine.seen(id(7), true, now);
    assert_eq!(engine.own(Takeover::Released, now).dial, []);
    assert_eq!(engine.hold(id(7), false, now).dial, [id(7)]);
}

#[test]
fn a_leaving_owner_keeps_what_runs_and_finishes_what_waits() {
    let (mut engine, now) = owner(Settings {
        max: 2,
        ..settings()
    });
    busy(&mut engine, 2, now);
    let (waiter, _) = arrive(&mut engine, now);
    let (kept, effects) = engine.leave(now);
    assert_eq!((kept, effects.scale), (vec![id(1), id(2)], None));
    let effects = engine.end(id(1), Ending::Clean, now);
    assert_eq!(effects.dispatched, [(waiter, id(1))]);
    assert_eq!(engine.end(id(2), Ending::Clean, now).released, [id(2)]);
    assert_eq!(engine.end(id(1), Ending::Clean, now).released, [id(1)]);
    assert!(engine.is_quiet());
}

#[test]
fn a_leaving_owner_keeps_hold_of_what_it_suspects_and_never_owns_again() {
    let now = Instant::now();
    let mut engine = Engine::new(settings());
    engine.observed(Some(1), now);
    engine.seen(id(7), false, now);
    engine.own(Takeover::Lapsed, now);
    let (kept, effects) = engine.leave(now);
    assert_eq!((kept, effects.released), (vec![id(7)], vec![]));
    assert_eq!(engine.own(Takeover::Released, now).dial, []);
}

#[test]
fn an_instance_that_turns_out_to_be_held_is_left_alone() {
    let now = Instant::now();
    let mut engine = Engine::new(settings());
    engine.observed(Some(1), now);
    engine.seen(id(7), false, now);
    assert_eq!(engine.own(Takeover::Released, now).dial, [id(7)]);
    engine.hold(id(7), true, now);
    assert_eq!(engine.accepted(id(7), now).boots, []);
    assert!(matches!(engine.arrive(now).0, Admission::Wait(_)));
}

#[test]
fn an_adopted_instance_is_not_reported_as_a_boot() {
    let now = Instant::now();
    let mut engine = Engine::new(settings());
    engine.observed(Some(1), now);
    engine.seen(id(7), false, now);
    engine.own(Takeover::Released, now);
    assert_eq!(engine.accepted(id(7), now).boots, []);
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
fn what_is_not_permitted_is_not_booted() {
    let now = Instant::now();
    let mut engine = Engine::paced(settings());
    engine.own(Takeover::Released, now);
    engine.observed(Some(0), now);
    for _ in 0..3 {
        assert_eq!(arrive(&mut engine, now).1.scale, None);
    }
    assert_eq!(engine.claim().lacking, 3);
    assert_eq!(engine.permit(2, now).scale, Some(2));
    let claim = engine.claim();
    assert_eq!((claim.instances, claim.boots, claim.lacking), (2, 2, 1));
    // A permit is for the moment.
    assert_eq!(engine.scaled(Some(2), now).scale, None);
}
