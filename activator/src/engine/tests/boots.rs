//! Boots: what fails them, whom that concerns, and the clocks around them.

use super::*;

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
fn a_pod_that_somebody_deleted_is_counted_as_a_boot_of_its_replacement() {
    let (mut engine, now) = owner(settings());
    busy(&mut engine, 1, now);
    let effects = engine.gone(id(1), now);
    assert_eq!(effects.scale, None);
    assert_eq!(engine.census().booting, 1);
    assert_eq!(engine.seen(id(2), false, now).dial, [id(2)]);
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
