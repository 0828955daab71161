//! Heads that never end, are too large, or are none.

use activator::settings::Edge;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::support::{Answer, HOST, Manifest, Program, Raw, Thaw, client, ms, soon};

fn impatient() -> Edge {
    Edge {
        header_timeout: ms(300).into(),
        ..Edge::default()
    }
}

/// Checks that the rest of a connection is this error of Thaw's, and nothing else.
#[track_caller]
fn is_last_error(rest: &str, status: &str, code: &str) {
    let (head, body) = rest.split_once("\r\n\r\n").unwrap_or((rest, ""));
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{rest:?}");
    for field in [
        format!("thaw-error: {code}"),
        "connection: close".to_owned(),
        "content-type: application/problem+json".to_owned(),
        format!("content-length: {}", body.len()),
    ] {
        assert!(
            head.lines().any(|line| line == field),
            "{field} in {rest:?}"
        );
    }
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["code"], code);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_end_is_answered_408() {
    let thaw = Thaw::start_behind(impatient(), Manifest::default()).await;
    for beginning in ["G", "GET / HTTP/1.1\r\nhost: a", "PRI * HTTP/2.0\r\n"] {
        let mut raw = Raw::connect(thaw.address).await;
        raw.write(beginning).await;
        is_last_error(&raw.rest().await, "408", "RequestTimeout");
    }
    assert_eq!(thaw.rejected("RequestTimeout"), 3);
    assert!(thaw.cluster.made().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_head_on_a_connection_has_the_same_clock() {
    let thaw = Thaw::start_behind(impatient(), Manifest::default()).await;
    let mut raw = Raw::connect(thaw.address).await;
    raw.write(&format!("GET /?body=1 HTTP/1.1\r\nhost: {HOST}\r\n\r\n"))
        .await;
    raw.read_until("\r\n\r\nx").await;
    raw.write("GET /").await;
    is_last_error(&raw.rest().await, "408", "RequestTimeout");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_request_with_a_body_too() {
    let thaw = Thaw::start_behind(impatient(), Manifest::default()).await;
    for (fields, body) in [
        ("content-length: 5", "hello"),
        ("transfer-encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ("content-length: 0", ""),
    ] {
        let mut raw = Raw::connect(thaw.address).await;
        let head = format!("POST /?body=1 HTTP/1.1\r\nhost: {HOST}\r\n{fields}\r\n\r\n");
        raw.write(&head).await;
        raw.write(body).await;
        raw.read_until("\r\n\r\nx").await;
        raw.write("GET /").await;
        is_last_error(&raw.rest().await, "408", "RequestTimeout");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_after_its_answer_is_no_slow_head() {
    let thaw = Thaw::start_behind(impatient(), Manifest::default()).await;
    let mut raw = Raw::connect(thaw.address).await;
    let head =
        format!("POST /?early&body=1 HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 5\r\n\r\nhe");
    raw.write(&head).await;
    raw.read_until("\r\n\r\nx").await;
    raw.send(b"l").await;
    // It is closed without a word, at once or after a while.
    assert_eq!(raw.rest().await, "");
    assert_eq!(thaw.rejected("RequestTimeout"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_is_closed_without_a_word() {
    let thaw = Thaw::start_behind(impatient(), Manifest::default()).await;
    let silent = Raw::connect(thaw.address).await;
    assert_eq!(silent.rest().await, "");
    assert_eq!(thaw.rejected("RequestTimeout"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_an_answer_is_no_slow_head() {
    let edge = Edge {
        keep_alive: ms(300).into(),
        ..impatient()
    };
    let thaw = Thaw::start_behind(edge, Manifest::default()).await;
    let mut raw = Raw::connect(thaw.address).await;
    // The second request is there before the first is answered.
    let request = format!("GET /?gate=end HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    raw.write(&request.repeat(2)).await;
    thaw.inside(1).await;
    // Another connection sees both clocks pass.
    assert_eq!(Raw::connect(thaw.address).await.rest().await, "");
    assert!(raw.heard_nothing());
    thaw.cluster.journal.open("end");
    for _ in 0..2 {
        let head = raw.read_until("\r\n\r\ni1").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    }
    // Then it is idle, and closed.
    raw.rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_and_oversized_heads_are_answered_in_our_form() {
    let thaw = Thaw::start(Manifest::default()).await;
    let fields = |count: usize, length: usize| {
        let value = "x".repeat(length);
        let fields: String = (0..count).map(|n| format!("x-{n}: {value}\r\n")).collect();
        format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n{fields}\r\n")
    };
    let path = |length| {
        format!(
            "GET /{} HTTP/1.1\r\nhost: {HOST}\r\n\r\n",
            "x".repeat(length)
        )
    };
    for (request, status, code) in [
        ("GET / HTTP/3.7\r\n\r\n".to_owned(), "400", "BadRequest"),
        ("<>\r\n\r\n".to_owned(), "400", "BadRequest"),
        (
            "GET / HTTP/1.1\r\nhost : a\r\n\r\n".to_owned(),
            "400",
            "BadRequest",
        ),
        (fields(101, 1), "431", "HeadersTooLarge"),
        (fields(10, 10_000), "431", "HeadersTooLarge"),
        (path(100_000), "431", "HeadersTooLarge"),
    ] {
        let mut raw = Raw::connect(thaw.address).await;
        raw.write(&request).await;
        is_last_error(&raw.rest().await, status, code);
    }
    assert_eq!(thaw.rejected("BadRequest"), 3);
    assert_eq!(thaw.rejected("HeadersTooLarge"), 3);
    assert!(thaw.cluster.made().is_empty());

    let mut raw = Raw::connect(thaw.address).await;
    raw.write(&fields(90, 600)).await;
    let head = raw.read_until("\r\n\r\ni1").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    raw.write("nonsense\r\n\r\n").await;
    is_last_error(&raw.rest().await, "400", "BadRequest");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_may_speak_of_errors() {
    let thaw = Thaw::start(Manifest::default()).await;
    // Its words come alone, and are those that hyper has for a malformed head.
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n18\r\nHTTP/1.1 400 Bad Request\r\n0\r\n\r\n";
    let closes = false;
    thaw.cluster.run_next([Program::Raw { answer, closes }]);
    let mut raw = Raw::connect(thaw.address).await;
    for _ in 0..2 {
        raw.write(&format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n"))
            .await;
        raw.read_until("HTTP/1.1 200 OK").await;
        raw.read_until("HTTP/1.1 400 Bad Request\r\n0\r\n\r\n")
            .await;
    }
    assert_eq!(thaw.rejected("BadRequest"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_head_of_http2_is_answered_in_our_form() {
    let thaw = Thaw::start(Manifest::default()).await;
    let stream = TcpStream::connect(thaw.address).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(async move { connection.await.ok() });
    let request = |length: usize| {
        let mut request = client::get("/");
        *request.uri_mut() = format!("http://{HOST}/").parse().unwrap();
        request.headers_mut().remove("host");
        let value = "x".repeat(length).parse().unwrap();
        request.headers_mut().insert("x-large", value);
        request
    };
    let refused = soon("an answer", sender.send_request(request(70_000))).await;
    Answer::read(refused.unwrap())
        .await
        .is_error(431, "HeadersTooLarge");
    let served = soon("an answer", sender.send_request(request(10_000))).await;
    Answer::read(served.unwrap()).await.instance();
}
