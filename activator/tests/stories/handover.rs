//! Two activators and one cluster: ownership goes from one to the other.

use std::sync::Arc;

use activator::engine::Takeover;

use crate::support::{Manifest, Thaw, cluster::Cluster, eventually, ms};

async fn old_and_new(manifest: Manifest) -> (Thaw, Thaw) {
    let cluster = Arc::<Cluster>::default();
    let old = Thaw::standby(&cluster, "old", manifest).await;
    old.entrypoints.own(Takeover::Released);
    let new = Thaw::standby(&cluster, "new", manifest).await;
    (old, new)
}

/// What the old owner does when it is told to stop, and the new one when the Lease is free.
async fn hand_over(old: &Thaw, new: &Thaw) {
    let kept = old.entrypoints.leave();
    old.cluster.hold(&kept, Some("old"));
    old.cluster.seen_by_all().await;
    new.entrypoints.own(Takeover::Released);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_instance_goes_on_under_the_new_owner() {
    let (old, new) = old_and_new(Manifest::default()).await;
    assert_eq!(old.get("/").await.instance(), "i1");
    let waits = new.getting("/");
    new.queued(1).await;
    hand_over(&old, &new).await;
    let answer = waits.await.unwrap();
    assert_eq!(
        (answer.instance(), answer.header("invocation")),
        ("i1", "2")
    );
    new.idle_after(ms(1));
    eventually("nothing is left", || new.cluster.pods().is_empty()).await;
    assert_eq!(new.cluster.made().len(), 1);
    new.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_old_owner_accepted_it_finishes_and_then_the_new_one_uses_the_instance() {
    let (old, new) = old_and_new(Manifest {
        max: 1,
        ..Manifest::default()
    })
    .await;
    let runs = old.getting("/?gate=end");
    old.inside(1).await;
    let waits = old.getting("/?gate=end");
    old.queued(1).await;
    hand_over(&old, &new).await;
    assert!(!old.entrypoints.is_quiet());
    assert_eq!(new.web.census().2.idle, 0);

    old.cluster.journal.open("end");
    for request in [runs, waits] {
        assert_eq!(request.await.unwrap().instance(), "i1");
    }
    eventually("the old owner is quiet", || old.entrypoints.is_quiet()).await;
    eventually("the instance is released", || new.web.census().2.idle == 1).await;
    let answer = new.get("/").await;
    assert_eq!(
        (answer.instance(), answer.header("invocation")),
        ("i1", "3")
    );
    assert_eq!(new.cluster.made().len(), 1);
    old.keeps_its_promises();
    new.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_owners_never_use_one_instance_at_once() {
    let (old, new) = old_and_new(Manifest {
        max: 3,
        ..Manifest::default()
    })
    .await;
    let accepted: Vec<_> = (0..8).map(|_| old.getting("/?sleep=20")).collect();
    old.inside(3).await;
    let later: Vec<_> = (0..8).map(|_| new.getting("/?sleep=20")).collect();
    new.queued(8).await;
    hand_over(&old, &new).await;
    for request in accepted.into_iter().chain(later) {
        request.await.unwrap().instance();
    }
    old.keeps_its_promises();
    new.idle_after(ms(1));
    new.at_zero().await;
    assert!(new.cluster.deleted_busy().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_the_queue_of_an_owner_without_instances_is_told_to_come_back() {
    let (old, new) = old_and_new(Manifest::default()).await;
    old.cluster
        .run_next([crate::support::Program::Late(ms(300))]);
    let waits = old.getting("/");
    old.queued(1).await;
    // Its pod may be seen or not by now: either the boot is finished, or the client is told to come back.
    hand_over(&old, &new).await;
    let answer = waits.await.unwrap();
    if answer.status == 503 {
        answer.is_error(503, "Draining");
        assert_eq!(answer.header("retry-after"), "1");
    } else {
        answer.instance();
    }
    new.get("/").await.instance();
    new.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_an_owner_that_vanished_get_nothing_until_they_must_have_ended() {
    let (old, new) = old_and_new(Manifest {
        duration: Some(ms(2000)),
        ..Manifest::default()
    })
    .await;
    let _runs = old.getting("/?gate=end");
    old.inside(1).await;
    old.cluster.detach("old");
    // The Lease lapses long after the last thing that the old owner did.
    old.cluster.seen_by_all().await;
    new.entrypoints.own(Takeover::Lapsed);
    let answer = new.get("/").await;
    assert_eq!(
        (answer.instance(), answer.header("thaw-boot")),
        ("i2", "cold")
    );

    // What it was running ends, and its time passes.
    old.cluster.journal.open("end");
    eventually("both are in rotation", || new.web.census().2.idle == 2).await;
    let both = [new.getting("/?gate=both"), new.getting("/?gate=both")];
    new.inside(2).await;
    new.cluster.journal.open("both");
    for request in both {
        request.await.unwrap().instance();
    }
    assert_eq!(new.cluster.made().len(), 2);
    new.keeps_its_promises();
}
