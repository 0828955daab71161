//! Clients of HTTP/2 that open no window, or a small one, for an answer.

use std::time::Duration;

use activator::settings::Edge;
use h2::{Reason, RecvStream, client::SendRequest};
use http::{Request, StatusCode};
use hyper::body::Bytes;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::support::{HOST, Manifest, Program, Thaw, ms, soon};

async fn start() -> Thaw {
    start_with(ms(500)).await
}

async fn start_with(patience: Duration) -> Thaw {
    let edge = Edge {
        write_timeout: patience.into(),
        ..Edge::default()
    };
    Thaw::start_behind(edge, Manifest::default()).await
}

/// A connection whose streams begin with so large a window.
async fn connect(thaw: &Thaw, window: u32) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(thaw.address).await.unwrap();
    let mut client = h2::client::Builder::new();
    let handshake = client.initial_window_size(window).handshake(stream);
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    sender
}

/// The body of an answer.
async fn get(sender: &mut SendRequest<Bytes>, path: &str) -> (StatusCode, RecvStream) {
    let request = Request::get(format!("http://{HOST}{path}")).body(());
    let (answer, _) = sender.send_request(request.unwrap(), true).unwrap();
    let answer = soon("the head of an answer", answer).await.unwrap();
    (answer.status(), answer.into_body())
}

/// Takes it, as long as this for each byte, and says how much came and how it ended.
async fn take(body: &mut RecvStream, byte: Duration) -> (usize, Result<(), h2::Error>) {
    let mut taken = 0;
    while let Some(piece) = soon("the next piece", body.data()).await {
        let length = match piece {
            Ok(piece) => piece.len(),
            Err(error) => return (taken, Err(error)),
        };
        taken += length;
        sleep(byte * length as u32).await;
        body.flow_control().release_capacity(length).unwrap();
    }
    (taken, Ok(()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_taken_is_reset_and_the_connection_goes_on() {
    let thaw = start().await;
    let mut client = connect(&thaw, 0).await;
    let mut stuck = Vec::new();
    for path in ["/?pieces=3&size=1000", "/?body=1", "/?body=1000000"] {
        stuck.push(get(&mut client, path).await.1);
    }
    for mut body in stuck {
        assert_eq!(get(&mut client, "/?status=204").await.0, 204);
        let (taken, end) = take(&mut body, ms(0)).await;
        let reason = end.unwrap_err().reason();
        assert_eq!((taken, reason), (0, Some(Reason::CANCEL)));
    }
    // The functions were read to their ends, and are there for others.
    thaw.inside(0).await;
    assert_eq!(get(&mut client, "/?status=204").await.0, 204);
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_taken_byte_by_byte_is_reset() {
    let thaw = start().await;
    let mut client = connect(&thaw, 1).await;
    let (_, mut body) = get(&mut client, "/?body=100000").await;
    let (taken, end) = take(&mut body, ms(20)).await;
    assert_eq!(end.unwrap_err().reason(), Some(Reason::CANCEL));
    assert!(taken < 1000, "{taken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_taken_slowly_is_not() {
    let patience = ms(3000);
    let thaw = start_with(patience).await;
    let mut client = connect(&thaw, 16 << 10).await;
    let begin = Instant::now();
    let (_, mut body) = get(&mut client, "/?pieces=30&size=10000").await;
    let (taken, end) = take(&mut body, Duration::from_micros(15)).await;
    assert!(taken == 300_000 && end.is_ok(), "{taken}, {end:?}");
    assert!(
        begin.elapsed() > patience,
        "it took no longer than one piece may"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_is_silent_is_no_client_that_takes_nothing() {
    let thaw = start().await;
    let mut client = connect(&thaw, 1000).await;
    let (_, mut silent) = get(&mut client, "/?pieces=2&size=600&then=more").await;
    // Meanwhile the clock passes for another.
    let (_, mut stuck) = get(&mut connect(&thaw, 0).await, "/?body=1").await;
    take(&mut stuck, ms(0)).await.1.unwrap_err();
    thaw.cluster.journal.open("more");
    let (taken, end) = take(&mut silent, ms(0)).await;
    assert!(taken == 1200 && end.is_ok(), "{taken}, {end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_call_wait_for_as_long_as_their_reader_likes() {
    let thaw = start().await;
    thaw.cluster.run_next([Program::Http2]);
    let mut client = connect(&thaw, 1).await;
    let call = Request::post(format!("http://{HOST}/call"));
    let call = call.header("content-type", "application/grpc").body(());
    let (answer, mut messages) = client.send_request(call.unwrap(), false).unwrap();
    let mut body = soon("a head", answer).await.unwrap().into_body();
    for message in ["xy", "z"] {
        messages.send_data(message.into(), false).unwrap();
    }
    assert_eq!(soon("a byte", body.data()).await.unwrap().unwrap(), "x");
    let (_, mut stuck) = get(&mut connect(&thaw, 0).await, "/?body=1").await;
    take(&mut stuck, ms(0)).await.1.unwrap_err();
    messages.send_data(Bytes::new(), true).unwrap();
    body.flow_control().release_capacity(1).unwrap();
    let (taken, end) = take(&mut body, ms(0)).await;
    assert!(taken == 2 && end.is_ok(), "{taken}, {end:?}");
}
