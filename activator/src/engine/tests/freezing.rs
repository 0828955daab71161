//! Between invocations nothing runs, and a thaw always wins.

use super::*;

/// One idle instance that has served, of an engine that freezes after a second.
fn freezing() -> (Engine, Instant) {
    let (mut engine, now) = owner(Settings {
        freeze_after: Some(seconds(1)),
        ..settings()
    });
    busy(&mut engine, 1, now);
    let effects = engine.end(id(1), Ending::Clean, now);
    assert_eq!(effects.wake, Some(now + seconds(1)));
    (engine, now)
}

#[test]
fn an_unused_instance_is_frozen_and_thawed_for_who_comes_next() {
    let (mut engine, now) = freezing();
    let later = now + seconds(1);
    assert_eq!(engine.tick(later).freeze, [id(1)]);
    engine.frozen(id(1), later);
    assert_eq!(engine.census().frozen, 1);
    let (waiter, effects) = arrive(&mut engine, later);
    assert_eq!((effects.thaw, effects.scale), (vec![id(1)], None));
    let effects = engine.thawed(id(1), later);
    assert_eq!(effects.dispatched, [(waiter, id(1))]);
}

#[test]
fn a_thaw_does_not_wait_for_the_freeze_before_it() {
    let (mut engine, now) = freezing();
    let later = now + seconds(1);
    assert_eq!(engine.tick(later).freeze, [id(1)]);
    let (waiter, effects) = arrive(&mut engine, later);
    assert_eq!(effects.thaw, [id(1)]);
    // Overtaken: it says nothing any more.
    assert_eq!(engine.frozen(id(1), later).dispatched, []);
    assert_eq!(engine.thawed(id(1), later).dispatched, [(waiter, id(1))]);
}

#[test]
fn a_thaw_that_nobody_waits_for_any_more_ends_in_a_freeze() {
    let (mut engine, now) = freezing();
    let later = now + seconds(1);
    engine.tick(later);
    engine.frozen(id(1), later);
    let (waiter, _) = arrive(&mut engine, later);
    engine.cancel(waiter, later);
    assert_eq!(engine.thawed(id(1), later).freeze, [id(1)]);
}

#[test]
fn an_instance_is_not_frozen_before_it_has_served() {
    let (mut engine, now) = owner(Settings {
        freeze_after: Some(seconds(1)),
        min: 1,
        ..settings()
    });
    engine.scaled(Some(1), now);
    engine.seen(id(1), false, now);
    engine.accepted(id(1), now);
    assert_eq!(engine.tick(now + seconds(10)).freeze, []);
}

#[test]
fn a_frozen_instance_idles_out_like_any_other() {
    let (mut engine, now) = freezing();
    engine.tick(now + seconds(1));
    engine.frozen(id(1), now + seconds(1));
    assert_eq!(going(&engine.tick(now + seconds(60))), [id(1)]);
}
