use http::Method;
use k8s_openapi::serde_json::Value;

use super::*;
use crate::double::Double;

const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/ns/leases/l";

fn candidate(double: &Double, identity: &str) -> Leader {
    Leader::new(double.client(), "ns", "l", identity)
}

fn holder_of(double: &Double) -> Value {
    let lease = double.get(PATH).expect("there is a lease");
    lease["spec"]["holderIdentity"].clone()
}

#[tokio::test(start_paused = true)]
async fn the_first_candidate_leads_and_a_second_waits_for_as_long_as_it_renews() {
    let double = Double::default();
    let (mut first, mut second) = (candidate(&double, "first"), candidate(&double, "second"));
    first.acquire().await;
    let renewed = second.renewed();
    tokio::select! {
        () = first.lead() => panic!("the first lost a lease that it renewed"),
        () = second.acquire() => panic!("two lead"),
        () = sleep(20 * DURATION) => {}
    }
    assert_eq!(holder_of(&double), "first");
    assert!(renewed.borrow().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_nobody_renews_is_taken_after_it_expired_and_not_before() {
    let double = Double::default();
    let (mut first, mut second) = (candidate(&double, "first"), candidate(&double, "second"));
    first.acquire().await;
    let started = Instant::now();
    second.acquire().await;
    assert!(started.elapsed() >= DURATION);
    assert!(started.elapsed() <= DURATION + 2 * RETRY);
    assert_eq!(holder_of(&double), "second");
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_at_the_next_look() {
    let double = Double::default();
    let (mut first, mut second) = (candidate(&double, "first"), candidate(&double, "second"));
    first.acquire().await;
    let waiting = tokio::spawn(async move {
        second.acquire().await;
        Instant::now()
    });
    sleep(RETRY / 2).await;
    let released = Instant::now();
    first.release().await;
    assert!(waiting.await.unwrap() - released <= RETRY);
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_renewals_fail_stops_before_another_may_start() {
    let double = Double::default();
    let mut leader = candidate(&double, "first");
    leader.acquire().await;
    double.refuse(Method::PUT, "leases", 500, "InternalError");
    double.refuse(Method::GET, "leases", 500, "InternalError");
    let started = Instant::now();
    leader.lead().await;
    assert!(started.elapsed() > RENEW_EVERY);
    assert!(started.elapsed() <= RENEW_WITHIN);
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_requests_are_not_answered_stops_in_time_too() {
    let double = Double::default();
    let mut leader = candidate(&double, "first");
    leader.acquire().await;
    double.fall_silent();
    let started = Instant::now();
    leader.lead().await;
    assert!(started.elapsed() <= RENEW_WITHIN);
}

#[tokio::test(start_paused = true)]
async fn a_leader_lives_through_a_short_absence_of_the_api_server() {
    let double = Double::default();
    let mut leader = candidate(&double, "first");
    leader.acquire().await;
    let absence = double.clone();
    tokio::spawn(async move {
        absence.refuse(Method::PUT, "leases", 503, "ServiceUnavailable");
        sleep(RENEW_EVERY + RETRY).await;
        absence.allow_all();
    });
    tokio::select! {
        () = leader.lead() => panic!("lost"),
        () = sleep(10 * DURATION) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_was_replaced_stops_at_once() {
    let double = Double::default();
    let mut leader = candidate(&double, "first");
    leader.acquire().await;
    let mut lease = double.get(PATH).expect("there is a lease");
    lease["spec"]["holderIdentity"] = "other".into();
    double.put(PATH, lease);
    let started = Instant::now();
    leader.lead().await;
    assert!(started.elapsed() < RENEW_EVERY + RETRY);
    leader.release().await;
    assert_eq!(holder_of(&double), "other", "another's lease is left alone");
}

#[tokio::test(start_paused = true)]
async fn a_restarted_replica_takes_its_own_lease_at_once() {
    let double = Double::default();
    candidate(&double, "first").acquire().await;
    let started = Instant::now();
    candidate(&double, "first").acquire().await;
    assert!(started.elapsed() < RETRY);
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_was_deleted_makes_it_anew() {
    let double = Double::default();
    let mut leader = candidate(&double, "first");
    leader.acquire().await;
    double.remove(PATH);
    tokio::select! {
        () = leader.lead() => panic!("lost"),
        () = sleep(DURATION) => {}
    }
    assert_eq!(holder_of(&double), "first");
}
