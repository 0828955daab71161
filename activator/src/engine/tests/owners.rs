//! Who may decide, and instances of those who did before.

use super::*;

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
