//! From zero, and back to it.

use crate::support::{Manifest, Program, Thaw, client, ms};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_answer_is_cold_the_next_is_hot_and_then_there_is_nothing() {
    let thaw = Thaw::start(Manifest::default()).await;
    let cold = thaw.get("/").await;
    assert_eq!(cold.instance(), "i1");
    assert_eq!(cold.header("thaw-boot"), "cold");
    for part in ["queue;dur=", "boot;dur=", "exec;dur="] {
        assert!(cold.header("server-timing").contains(part), "{cold:?}");
    }

    let hot = thaw.get("/").await;
    assert_eq!((hot.instance(), hot.header("invocation")), ("i1", "2"));
    assert_eq!(hot.header("thaw-boot"), "hot");
    assert!(hot.header("server-timing").contains("boot;dur=0.0"));

    thaw.idle_after(ms(20));
    thaw.at_zero().await;
    assert_eq!(thaw.get("/").await.header("thaw-boot"), "cold");
    thaw.at_zero().await;
    assert_eq!(thaw.cluster.made().len(), 2);
    assert!(
        thaw.cluster
            .reports()
            .iter()
            .all(|boot| boot.failure.is_none())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_kept_or_made() {
    let thaw = Thaw::start(Manifest::default()).await;
    let mut request = client::get("/?echo");
    request
        .headers_mut()
        .insert("x-request-id", "mine".parse().unwrap());
    let answer = thaw.client().await.ask(request).await;
    assert_eq!(answer.header("x-request-id"), "mine");
    assert!(answer.text().contains("x-request-id: mine\n"));

    let mut request = client::get("/?echo");
    request.headers_mut().remove("x-request-id");
    let answer = thaw.client().await.ask(request).await;
    let made = answer.header("x-request-id");
    assert_eq!(made.len(), 36);
    assert!(answer.text().contains(&format!("x-request-id: {made}\n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_at_once_from_zero_make_ten_instances_with_one_invocation_each() {
    let thaw = Thaw::start(Manifest::default()).await;
    let requests: Vec<_> = (0..10).map(|_| thaw.getting("/?gate=all")).collect();
    thaw.inside(10).await;
    thaw.cluster.journal.open("all");
    for request in requests {
        let answer = request.await.unwrap();
        answer.instance();
        assert_eq!(
            (answer.header("invocation"), answer.header("thaw-boot")),
            ("1", "cold")
        );
    }
    assert_eq!(thaw.cluster.made().len(), 10);
    thaw.idle_after(ms(1));
    thaw.at_zero().await;
    assert_eq!(thaw.cluster.made().len(), 10);
    assert!(thaw.cluster.deleted_busy().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_max_boot_and_the_rest_wait_their_turn() {
    let thaw = Thaw::start(Manifest {
        max: 3,
        ..Manifest::default()
    })
    .await;
    let requests: Vec<_> = (0..12).map(|_| thaw.getting("/?gate=all")).collect();
    thaw.inside(3).await;
    thaw.queued(9).await;
    thaw.cluster.journal.open("all");
    for request in requests {
        request.await.unwrap().instance();
    }
    assert_eq!(thaw.cluster.made().len(), 3);
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_that_succeeds_carries_the_request_of_a_slow_boot() {
    let thaw = Thaw::start(Manifest::default()).await;
    thaw.cluster.run_next([Program::Late(ms(150))]);
    let answer = thaw.get("/").await;
    assert_eq!(
        (answer.instance(), answer.header("thaw-boot")),
        ("i1", "cold")
    );
    assert_eq!(thaw.cluster.made().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_never_listens_is_given_up_and_said_why() {
    let thaw = Thaw::start(Manifest {
        boot: ms(200),
        ..Manifest::default()
    })
    .await;
    thaw.cluster.run_next([Program::Deaf]);
    let answer = thaw.get("/").await;
    answer.is_error(504, "BootTimeout");
    assert!(answer.text().contains("NotListening"), "{answer:?}");
    // The boots back off, and whoever comes meanwhile is told at once.
    thaw.get("/").await.is_error(502, "BootFailed");
    thaw.at_zero().await;
}
