//! Clients that send slowly: what that costs, and whom.

use std::time::Duration;

use activator::proxy::Rate;
use crds::function::OnDisconnect;
use futures::SinkExt;
use hyper::body::Frame;
use tokio::time::sleep;

use crate::support::{Manifest, Thaw, client, eventually, ms};

const RATE: Rate = Rate {
    bytes_per_second: 1000,
    grace: Duration::from_millis(300),
};

fn manifest() -> Manifest {
    Manifest {
        body_rate: Some(RATE),
        ..Manifest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_sending_is_told_that_it_took_too_long() {
    let thaw = Thaw::start(manifest()).await;
    let (mut upload, body) = client::pieces();
    let mut client = thaw.client().await;
    let request = client::request("POST", "/", body);
    let answering = tokio::spawn(async move { client.ask(request).await });
    upload.send(Ok(Frame::data("x".into()))).await.unwrap();
    answering.await.unwrap().is_error(408, "RequestTimeout");
    assert_eq!(thaw.get("/").await.instance(), "i2");
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_slow_but_not_too_slow_is_served() {
    let thaw = Thaw::start(manifest()).await;
    let (mut upload, body) = client::pieces();
    let mut client = thaw.client().await;
    let request = client::request("POST", "/", body);
    let answering = tokio::spawn(async move { client.ask(request).await });
    for _ in 0..10 {
        upload
            .send(Ok(Frame::data(vec![b'x'; 1000].into())))
            .await
            .unwrap();
        // Slowness is the story here, not a wait for something.
        sleep(ms(100)).await;
    }
    drop(upload);
    assert_eq!(answering.await.unwrap().header("received"), "10000");
}

#[tokio::test(flavor = "multi_thread")]
async fn once_the_answer_has_begun_both_sides_may_take_their_time() {
    let thaw = Thaw::start(manifest()).await;
    let (mut upload, body) = client::pieces();
    let mut client = thaw.client().await;
    let response = client
        .send(client::request(
            "POST",
            "/?early&pieces=2&pause=1000&size=1",
            body,
        ))
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    sleep(RATE.grace * 2).await;
    upload.send(Ok(Frame::data("late".into()))).await.ok();
    drop(upload);
    assert!(crate::support::Answer::read(response).await.is_whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_came_while_its_request_waited_is_whole() {
    let thaw = Thaw::start(Manifest {
        max: 1,
        ..manifest()
    })
    .await;
    let runs = thaw.getting("/?gate=end");
    thaw.inside(1).await;
    let (mut upload, body) = client::pieces();
    let mut client = thaw.client().await;
    let request = client::request("POST", "/", body);
    let answering = tokio::spawn(async move { client.ask(request).await });
    thaw.queued(1).await;
    for _ in 0..4 {
        upload
            .send(Ok(Frame::data(vec![b'x'; 50_000].into())))
            .await
            .unwrap();
    }
    drop(upload);
    thaw.cluster.journal.open("end");
    runs.await.unwrap().instance();
    assert_eq!(answering.await.unwrap().header("received"), "200000");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_does_not_read_is_given_up() {
    let manifest = Manifest {
        idle: Some(ms(300)),
        ..Manifest::default()
    };
    let thaw = Thaw::start(manifest).await;
    let mut client = thaw.client().await;
    let body = client::whole(vec![b'x'; 40 << 20]);
    let answer = client
        .ask(client::request("POST", "/?early&gate=never", body))
        .await;
    answer.is_error(504, "IdleTimeout");
    eventually("the instance goes", || thaw.cluster.pods().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_may_want_to_hear_at_once_that_its_client_has_left() {
    let manifest = Manifest {
        on_disconnect: OnDisconnect::Cancel,
        ..Manifest::default()
    };
    let thaw = Thaw::start(manifest).await;
    let leaving = thaw.getting("/?gate=never");
    thaw.inside(1).await;
    leaving.abort();
    eventually("the instance goes", || thaw.cluster.pods().is_empty()).await;
    let mut client = thaw.client().await;
    let answer = client
        .send(client::get("/?pieces=2&then=never"))
        .await
        .unwrap();
    drop((answer, client));
    eventually("the instance goes", || thaw.cluster.pods().is_empty()).await;
}
