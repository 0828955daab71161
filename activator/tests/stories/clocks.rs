//! Every wait has a bound. An invocation that outlives one costs the instance, since it may still be running.

use futures::SinkExt;
use hyper::body::Frame;
use tokio::time::sleep;

use crate::support::{Manifest, Thaw, client, eventually, ms};

/// The next request goes elsewhere, and the instance that ran over time is not kept.
async fn is_not_reused(thaw: &Thaw) {
    assert_eq!(thaw.get("/").await.instance(), "i2");
    eventually("only the new one is left", || thaw.cluster.pods() == ["i2"]).await;
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_does_not_begin_its_answer_in_time_is_given_up() {
    let manifest = Manifest {
        first_byte: Some(ms(200)),
        ..Manifest::default()
    };
    let thaw = Thaw::start(manifest).await;
    thaw.get("/?gate=never")
        .await
        .is_error(504, "FirstByteTimeout");
    is_not_reused(&thaw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_upload_does_not_count_against_the_first_byte() {
    let manifest = Manifest {
        first_byte: Some(ms(700)),
        ..Manifest::default()
    };
    let thaw = Thaw::start(manifest).await;
    let (mut upload, body) = client::pieces();
    let mut client = thaw.client().await;
    let request = client::request("POST", "/", body);
    let answering = tokio::spawn(async move { client.ask(request).await });
    for _ in 0..20 {
        upload.send(Ok(Frame::data("piece".into()))).await.unwrap();
        // Slowness is the story here, not a wait for something.
        sleep(ms(50)).await;
    }
    drop(upload);
    let answer = answering.await.unwrap();
    assert_eq!(
        (answer.instance(), answer.header("received")),
        ("i1", "100")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_does_not_count_against_the_clocks_of_the_invocation() {
    let manifest = Manifest {
        first_byte: Some(ms(400)),
        duration: Some(ms(600)),
        ..Manifest::default()
    };
    let thaw = Thaw::start(manifest).await;
    thaw.cluster
        .run_next([crate::support::Program::Late(ms(900))]);
    assert_eq!(thaw.get("/").await.instance(), "i1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wait_for_a_slot_does_not_count_as_silence() {
    let manifest = Manifest {
        idle: Some(ms(300)),
        ..Manifest::default()
    };
    let thaw = Thaw::start(manifest).await;
    thaw.cluster
        .run_next([crate::support::Program::Late(ms(900))]);
    let mut client = thaw.client().await;
    let body = client::whole(vec![b'x'; 1000]);
    let answer = client.ask(client::request("POST", "/", body)).await;
    assert_eq!(
        (answer.instance(), answer.header("received")),
        ("i1", "1000")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invocation_that_lasts_too_long_has_no_answer() {
    let manifest = Manifest {
        duration: Some(ms(200)),
        ..Manifest::default()
    };
    let thaw = Thaw::start(manifest).await;
    thaw.get("/?gate=never")
        .await
        .is_error(504, "DurationExceeded");
    is_not_reused(&thaw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_lasts_too_long_is_cut() {
    let manifest = Manifest {
        duration: Some(ms(300)),
        ..Manifest::default()
    };
    let thaw = Thaw::start(manifest).await;
    let answer = thaw.get("/?pieces=1000000&pause=5").await;
    assert_eq!((answer.status.as_u16(), answer.is_whole), (200, false));
    is_not_reused(&thaw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_goes_silent_is_cut() {
    let manifest = Manifest {
        idle: Some(ms(200)),
        ..Manifest::default()
    };
    let thaw = Thaw::start(manifest).await;
    let answer = thaw.get("/?pieces=2&silent").await;
    assert_eq!((answer.status.as_u16(), answer.is_whole), (200, false));
    is_not_reused(&thaw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_takes_its_time_but_never_stops_is_whole() {
    let manifest = Manifest {
        idle: Some(ms(1000)),
        first_byte: Some(ms(1000)),
        ..Manifest::default()
    };
    let thaw = Thaw::start(manifest).await;
    let answer = thaw.get("/?pieces=60&pause=20").await;
    assert_eq!((answer.instance(), answer.body.len()), ("i1", 60));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_byte_is_waited_for_no_longer_when_the_client_has_left() {
    let manifest = Manifest {
        first_byte: Some(ms(200)),
        duration: None,
        ..Manifest::default()
    };
    let thaw = Thaw::start(manifest).await;
    let leaving = thaw.getting("/?gate=never");
    thaw.inside(1).await;
    leaving.abort();
    eventually("the instance goes", || thaw.cluster.pods().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_holds_the_instance_no_longer_than_the_invocation_may_last() {
    let manifest = Manifest {
        duration: Some(ms(300)),
        ..Manifest::default()
    };
    let thaw = Thaw::start(manifest).await;
    let mut client = thaw.client().await;
    let unread = client
        .send(client::get("/?pieces=1000&size=100000"))
        .await
        .unwrap();
    assert_eq!(unread.status(), 200);
    eventually("the instance goes", || thaw.cluster.pods().is_empty()).await;
    let answer = crate::support::Answer::read(unread).await;
    assert!(!answer.is_whole);
}
