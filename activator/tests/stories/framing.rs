//! Requests that two servers could read in two ways, and what is passed on.

use crate::support::{HOST, Manifest, Program, Raw, Thaw, client};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_could_be_read_in_two_ways_is_refused_and_boots_nothing() {
    let thaw = Thaw::start(Manifest::default()).await;
    let chunks = "0\r\n\r\n";
    let requests = [
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nhost: {HOST}\r\n\r\n"),
        format!("GET http://{HOST}/ HTTP/1.1\r\nhost: other.test\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: a@{HOST}\r\n\r\n"),
        format!("CONNECT {HOST}:80 HTTP/1.1\r\nhost: {HOST}:80\r\n\r\n"),
        format!("TRACE / HTTP/1.1\r\nhost: {HOST}\r\n\r\n"),
        format!("GET /a/../b HTTP/1.1\r\nhost: {HOST}\r\n\r\n"),
        format!(
            "POST / HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: gzip, chunked\r\n\r\n{chunks}"
        ),
        format!("POST / HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: ,chunked\r\n\r\n{chunks}"),
        format!(
            "POST / HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"
        ),
        format!("POST / HTTP/1.0\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"),
        format!(
            "POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx"
        ),
        format!("POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: +1\r\n\r\nx"),
        format!("GET / HTTP/1.1\r\nhost : {HOST}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n folded: yes\r\n\r\n"),
    ];
    for request in requests {
        let mut raw = Raw::connect(thaw.address).await;
        raw.write(&request).await;
        let head = raw.head().await;
        assert!(
            head.starts_with("HTTP/1.1 400 ") || head.starts_with("HTTP/1.0 400 "),
            "{request}{head}"
        );
    }
    assert!(thaw.cluster.made().is_empty());
    assert_eq!(thaw.waiting(), 0);
}

/// hyper itself drops a Content-Length beside Transfer-Encoding, and one that says the same twice. What matters is that the function
/// gets one length only, and that nothing after it is taken for a request.
#[tokio::test(flavor = "multi_thread")]
async fn two_lengths_never_reach_a_function() {
    let thaw = Thaw::start(Manifest::default()).await;
    let lengths = [
        "content-length: 3\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 3",
    ];
    for lengths in lengths {
        let mut raw = Raw::connect(thaw.address).await;
        let smuggled = format!("GET /?smuggled HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
        raw.write(&format!(
            "POST /?echo HTTP/1.1\r\nhost: {HOST}\r\n{lengths}\r\n\r\n0\r\n\r\n{smuggled}"
        ))
        .await;
        let text = raw.rest().await;
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
        if text.starts_with("HTTP/1.1 200 ") {
            assert!(!text.contains("content-length: 3"), "{text}");
            assert!(text.contains("received: 0"), "{text}");
        } else {
            assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
        }
    }
    let mut raw = Raw::connect(thaw.address).await;
    raw.write(&format!("POST /?echo HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 3\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc")).await;
    let text = raw.rest().await;
    assert_eq!(text.matches("content-length: 3\n").count(), 1, "{text}");
    assert!(text.contains("received: 3"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cannot_have_our_headers_stripped_or_forge_them() {
    let thaw = Thaw::start(Manifest::default()).await;
    let mut request = client::get("/?echo");
    let headers = request.headers_mut();
    headers.insert(
        "connection",
        "x-forwarded-for, forwarded, x-hop, thaw-path-prefix"
            .parse()
            .unwrap(),
    );
    headers.insert("x-forwarded-for", "192.0.2.1".parse().unwrap());
    headers.insert("x-hop", "1".parse().unwrap());
    headers.insert("te", "gzip".parse().unwrap());
    headers.insert("thaw-path-prefix", "/forged".parse().unwrap());
    let answer = thaw.client().await.ask(request).await;
    let seen = answer.text();
    for line in [
        format!("host: {HOST}\n"),
        "x-forwarded-for: 127.0.0.1\n".to_owned(),
        format!("forwarded: for=127.0.0.1;host={HOST};proto=http\n"),
        "x-forwarded-proto: http\n".to_owned(),
        format!("x-forwarded-host: {HOST}\n"),
        "thaw-path-prefix: /\n".to_owned(),
    ] {
        let count = format!("\n{seen}").matches(&format!("\n{line}")).count();
        assert_eq!(count, 1, "{line}{seen}");
    }
    let is_hop = |line: &str| line.starts_with("x-hop:");
    assert!(!seen.lines().any(is_hop), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_cannot_pass_for_thaw_or_touch_the_clients_connection() {
    let thaw = Thaw::start(Manifest::default()).await;
    thaw.cluster.run_next([crate::support::Program::Raw {
        answer: "HTTP/1.1 200 OK\r\nthaw-error: QueueFull\r\nkeep-alive: timeout=5\r\nconnection: x-hop\r\nx-hop: 1\r\ncontent-length: 2\r\n\r\nok",
        closes: false,
    }]);
    let mut client = thaw.client().await;
    for _ in 0..2 {
        let answer = client.get("/").await;
        assert_eq!(answer.text(), "ok");
        for name in ["thaw-error", "keep-alive", "connection", "x-hop"] {
            assert_eq!(answer.header(name), "", "{answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_asked_for_only_after_admission() {
    let thaw = Thaw::start(Manifest {
        max: 1,
        ..Manifest::default()
    })
    .await;
    let runs = thaw.getting("/?gate=end");
    thaw.inside(1).await;
    let mut raw = Raw::connect(thaw.address).await;
    raw.write(&format!("POST / HTTP/1.1\r\nhost: {HOST}\r\nexpect: 100-continue\r\ncontent-length: 5\r\nconnection: close\r\n\r\n")).await;
    thaw.queued(1).await;
    assert!(raw.heard_nothing());
    thaw.cluster.journal.open("end");
    let go_on = raw.head().await;
    assert!(go_on.starts_with("HTTP/1.1 100 "), "{go_on}");
    raw.write("hello").await;
    let answer = raw.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("received: 5"), "{answer}");
    runs.await.unwrap().instance();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_the_instance_does_not_want_is_not_asked_for() {
    let thaw = Thaw::start(Manifest {
        max: 1,
        ..Manifest::default()
    })
    .await;
    let answer = "HTTP/1.1 417 Expectation Failed\r\ncontent-length: 0\r\n\r\n";
    thaw.cluster.run_next([Program::Raw {
        answer,
        closes: true,
    }]);
    for _ in 0..2 {
        let mut raw = Raw::connect(thaw.address).await;
        raw.write(&format!(
            "POST / HTTP/1.1\r\nhost: {HOST}\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n"
        ))
        .await;
        let answer = raw.head().await;
        assert!(answer.starts_with("HTTP/1.1 417 "), "{answer}");
    }
    // Nothing is wrong with an instance that says so.
    assert_eq!(thaw.cluster.made().len(), 1);
}
