//! What plans have found, as short as it can be said.

use super::*;

/// Of three busy instances, two are given an invocation each, ten and eleven seconds after the start.
fn two_after_each_other() -> (Engine, [Instant; 2]) {
    let (mut engine, start) = owner(Settings {
        max: 4,
        ..settings()
    });
    busy(&mut engine, 3, start);
    let since = [start + seconds(10), start + seconds(11)];
    for (instance, since) in [id(1), id(2)].into_iter().zip(since) {
        engine.end(instance, Ending::Clean, since);
        assert_eq!(engine.arrive(since).0, Admission::Run(instance));
    }
    (engine, since)
}

#[test]
fn two_that_wait_again_keep_their_order() {
    let (mut engine, since) = two_after_each_other();
    let now = since[1] + seconds(1);
    let (first, _) = engine.arrive_again(id(1), since[0], now);
    let (second, _) = engine.arrive_again(id(2), since[1], now);
    let dispatched = engine.end(id(3), Ending::Clean, now).dispatched;
    assert_eq!(dispatched, [(first, id(3))]);
    let dispatched = engine.end(id(3), Ending::Clean, now).dispatched;
    assert_eq!(dispatched, [(second, id(3))]);
}

#[test]
fn one_that_waits_again_is_not_kept_beyond_its_time_by_a_later_one() {
    let (mut engine, since) = two_after_each_other();
    let now = since[1] + seconds(1);
    let (first, _) = engine.arrive_again(id(1), since[0], now);
    let (_, effects) = engine.arrive_again(id(2), since[1], now);
    let deadline = since[0] + seconds(30);
    assert_eq!(effects.wake, Some(deadline));
    assert_eq!(
        engine.tick(deadline).refused,
        [(first, Refusal::QueueTimeout)]
    );
}

#[test]
fn an_instance_that_crashed_while_it_is_marked_is_not_taken_back() {
    let now = Instant::now();
    let mut engine = owner(settings()).0;
    busy(&mut engine, 1, now);
    engine.end(id(1), Ending::Clean, now);
    let idled_out = now + seconds(60);
    assert_eq!(going(&engine.tick(idled_out)), [id(1)]);
    engine.broke(id(1), failure(), idled_out);
    let (admission, _) = engine.arrive(idled_out);
    assert!(
        matches!(admission, Admission::Wait(_)),
        "a crashed instance is given an invocation: {admission:?}"
    );
}

#[test]
fn an_instance_that_crashed_while_it_goes_is_not_put_back() {
    let now = Instant::now();
    let mut engine = owner(settings()).0;
    busy(&mut engine, 2, now);
    engine.end(id(1), Ending::Clean, now);
    let idled_out = now + seconds(60);
    assert_eq!(going(&engine.tick(idled_out)), [id(1)]);
    assert_eq!(mark(&mut engine, &[id(1)], idled_out).scale, Some(1));
    engine.broke(id(1), failure(), idled_out);
    // Its ReplicaSet has one too few already and deletes none.
    engine.gone(id(2), idled_out);
    let (admission, _) = engine.arrive(idled_out);
    assert!(
        matches!(admission, Admission::Wait(_)),
        "a crashed instance is given an invocation: {admission:?}"
    );
}

#[test]
fn what_the_cluster_has_not_heard_of_is_not_asked_for_above_a_lower_max() {
    let (mut engine, now) = owner(settings());
    for _ in 0..3 {
        arrive(&mut engine, now);
    }
    let lower = Settings {
        max: 2,
        ..settings()
    };
    assert_eq!(engine.configure(lower, now).scale, None);
    assert_eq!(engine.scaled(Some(1), now).scale, Some(2));
}

#[test]
fn what_the_cluster_has_not_heard_of_is_not_asked_for_when_suspects_come_back() {
    let settings = Settings {
        max: 2,
        boot_timeout: None,
        suspect_for: seconds(40),
        ..settings()
    };
    let now = Instant::now();
    let mut engine = Engine::new(settings);
    engine.observed(Some(2), now);
    engine.seen(id(1), false, now);
    engine.seen(id(2), false, now);
    engine.own(Takeover::Lapsed, now);
    assert_eq!(arrive(&mut engine, now).1.scale, Some(3));
    arrive(&mut engine, now);
    let trusted = now + seconds(40);
    assert_eq!(engine.tick(trusted).dial, [id(1), id(2)]);
    assert_eq!(engine.scaled(Some(3), trusted).scale, None);
}

#[test]
fn one_that_waits_for_what_was_taken_back_has_a_timer() {
    let settings = Settings {
        freeze_after: Some(seconds(10)),
        boot_timeout: None,
        ..settings()
    };
    let now = Instant::now();
    let mut engine = owner(settings).0;
    busy(&mut engine, 1, now);
    engine.end(id(1), Ending::Clean, now);
    let idle = now + seconds(10);
    assert_eq!(engine.tick(idle).freeze, [id(1)]);
    engine.frozen(id(1), idle);
    let idled_out = now + seconds(60);
    assert_eq!(going(&engine.tick(idled_out)), [id(1)]);
    let (_, effects) = arrive(&mut engine, idled_out);
    assert_eq!(effects.thaw, [id(1)]);
    assert_eq!(effects.wake, Some(idled_out + seconds(30)));
}
