//! Instances that speak HTTP/2 and refuse a request before they begin with it.

use http::Request;

use crate::support::{
    HOST, Manifest, Program, Raw, Thaw,
    client::{self, Body, request, whole},
};

/// RST_STREAM of the first stream: REFUSED_STREAM.
const RESET: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7];
/// RST_STREAM of the first stream: CANCEL, which says nothing of the kind.
const CANCEL: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8];
/// GOAWAY: no stream was looked at.
const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// GOAWAY: the first stream was looked at; and the connection ends with an error.
const GOAWAY_AFTER: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2];

async fn start(first: u32, frames: &'static [u8]) -> Thaw {
    let thaw = Thaw::start(Manifest::default()).await;
    thaw.cluster.run_next([Program::Refusing { first, frames }]);
    thaw
}

fn requests() -> [Request<Body>; 3] {
    let post = |body: String| request("POST", "/", whole(body));
    [client::get("/"), post("x".into()), post("x".repeat(60_000))]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_refused_unread_is_sent_again_with_all_of_its_body() {
    for frames in [RESET, GOAWAY] {
        for request in requests() {
            let thaw = start(1, frames).await;
            let id = request.headers()["x-request-id"].clone();
            let length = http_body::Body::size_hint(request.body()).exact().unwrap();
            let answer = thaw.client().await.ask(request).await;
            // Nothing is wrong with the instance: it has another connection.
            assert_eq!(answer.instance(), "i1");
            assert_eq!(answer.header("received"), length.to_string());
            let runs = thaw.cluster.journal.runs(id.to_str().unwrap());
            assert_eq!(runs, ["i1"]);
            assert_eq!(thaw.cluster.made().len(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_refuses_again_and_again_is_left_for_another() {
    let thaw = start(u32::MAX, RESET).await;
    assert_eq!(thaw.get("/").await.instance(), "i2");
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_may_have_been_looked_at_is_not_sent_again() {
    for frames in [CANCEL, GOAWAY_AFTER] {
        for request in requests() {
            let thaw = start(1, frames).await;
            let answer = thaw.client().await.ask(request).await;
            answer.is_error(502, "InstanceFailed");
            assert_eq!(thaw.cluster.journal.began(), 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_to_be_kept_is_not_sent_again() {
    let thaw = start(1, RESET).await;
    let large = request("POST", "/", whole("x".repeat(1 << 20)));
    let answer = thaw.client().await.ask(large).await;
    answer.is_error(502, "InstanceFailed");
    assert_eq!(thaw.cluster.journal.began(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_asked_for_at_once_where_the_instance_cannot_say_that_it_wants_it() {
    let thaw = Thaw::start(Manifest::default()).await;
    thaw.cluster.run_next([Program::Http2]);
    thaw.get("/").await.instance();
    let asked = async || {
        let begin = tokio::time::Instant::now();
        let mut raw = Raw::connect(thaw.address).await;
        raw.write(&format!("POST / HTTP/1.1\r\nhost: {HOST}\r\nexpect: 100-continue\r\ncontent-length: 5\r\nconnection: close\r\n\r\n")).await;
        assert_eq!(raw.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
        let took = begin.elapsed();
        raw.write("hello").await;
        assert!(raw.rest().await.contains("received: 5"));
        took
    };
    let mut fastest = asked().await;
    for _ in 0..4 {
        fastest = fastest.min(asked().await);
    }
    // Where nobody says anything the body is asked for after a second.
    assert!(fastest.as_millis() < 900, "{fastest:?}");
}
