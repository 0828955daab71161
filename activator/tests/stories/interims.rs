//! What an instance says before its answer.

use std::sync::LazyLock;

use crate::support::{HOST, Manifest, Program, Raw, Thaw, client, eventually, ms};

const HINT: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// With what does not concern the client, or is not for a function to say.
const HINT_OF_THE_FUNCTION: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\ncontent-length: 3\r\nthaw-error: NoRoute\r\n\r\n";

async fn start(words: &'static [&'static str]) -> Thaw {
    let thaw = Thaw::start(Manifest::default()).await;
    thaw.cluster.run_next([Program::Words(words)]);
    thaw
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n")
}

/// Reads an answer with the body `ok`.
async fn read_ok(raw: &mut Raw) {
    let answer = raw.read_until("\r\n\r\nok").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_comes_before_the_function_has_its_answer() {
    let thaw = start(&[HINT_OF_THE_FUNCTION, OK]).await;
    let mut raw = Raw::connect(thaw.address).await;
    raw.write(&get("/")).await;
    assert_eq!(raw.head().await, HINT);
    assert!(raw.heard_nothing());
    thaw.cluster.journal.open("1");
    read_ok(&mut raw).await;
    // The connection goes on, and so does what comes at once.
    for _ in 0..3 {
        raw.write(&get("/")).await;
        assert_eq!(raw.head().await, HINT);
        read_ok(&mut raw).await;
    }
    assert_eq!(thaw.cluster.made().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_of_pipelined_requests_come_each_before_its_own_answer() {
    static BOTH: LazyLock<String> = LazyLock::new(|| format!("{HINT}{HINT}{OK}"));
    static WORDS: LazyLock<[&str; 1]> = LazyLock::new(|| [BOTH.as_str()]);
    let thaw = start(&*WORDS).await;
    let mut raw = Raw::connect(thaw.address).await;
    raw.write(&get("/").repeat(20)).await;
    for _ in 0..20 {
        assert_eq!(raw.head().await, HINT);
        assert_eq!(raw.head().await, HINT);
        read_ok(&mut raw).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_answers_before_the_answer_pass_as_well_and_none_to_http_1_0() {
    const PROCESSING: &str = "HTTP/1.1 102 Processing\r\n\r\n";
    let thaw = start(&[PROCESSING, HINT, OK]).await;
    thaw.cluster.journal.open("1");
    let mut raw = Raw::connect(thaw.address).await;
    raw.write(&get("/")).await;
    assert_eq!(raw.head().await, PROCESSING);
    assert_eq!(raw.head().await, HINT);
    thaw.cluster.journal.open("2");
    read_ok(&mut raw).await;
    let mut old = Raw::connect(thaw.address).await;
    old.write(&format!("GET / HTTP/1.0\r\nhost: {HOST}\r\n\r\n"))
        .await;
    let answer = old.rest().await;
    assert!(
        answer.starts_with("HTTP/1.0 200 ") && answer.ends_with("\r\n\r\nok"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_may_come_before_the_body_is_asked_for() {
    let thaw = start(&[HINT, "HTTP/1.1 100 Continue\r\n\r\n", HINT, OK]).await;
    let mut raw = Raw::connect(thaw.address).await;
    raw.write(&format!(
        "POST / HTTP/1.1\r\nhost: {HOST}\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n"
    ))
    .await;
    assert_eq!(raw.head().await, HINT);
    thaw.cluster.journal.open("1");
    assert_eq!(raw.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    raw.write("hello").await;
    thaw.cluster.journal.open("2");
    assert_eq!(raw.head().await, HINT);
    thaw.cluster.journal.open("3");
    read_ok(&mut raw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_only_hints_is_bounded() {
    static FLOOD: LazyLock<String> = LazyLock::new(|| HINT.repeat(100_000));
    static WORDS: LazyLock<[&str; 2]> = LazyLock::new(|| [FLOOD.as_str(), OK]);
    let thaw = start(&*WORDS).await;
    thaw.cluster.journal.open("1");
    let mut raw = Raw::connect(thaw.address).await;
    raw.write(&get("/")).await;
    let all = raw.read_until("\r\n\r\nok").await;
    let hints = all.matches(HINT).count();
    assert!((1..=100).contains(&hints), "{hints} hints");
    let rest = all.replace(HINT, "");
    assert!(rest.starts_with("HTTP/1.1 200 "), "{rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_of_an_invocation_whose_client_has_its_answer_reach_nobody() {
    let thaw = Thaw::start(Manifest {
        first_byte: Some(ms(200)),
        ..Manifest::default()
    })
    .await;
    thaw.cluster.run_next([Program::Words(&[HINT, HINT, OK])]);
    let mut raw = Raw::connect(thaw.address).await;
    raw.write(&get("/")).await;
    assert_eq!(raw.head().await, HINT);
    let late = raw.head().await;
    assert!(late.starts_with("HTTP/1.1 504 "), "{late}");
    raw.read_until("}").await;
    thaw.cluster.journal.open("1");
    raw.write(&get("/")).await;
    // Of another instance, since the first was cut.
    let answer = raw.head().await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_after_a_hint_leaves_nothing_behind() {
    let thaw = start(&[HINT, HINT, OK]).await;
    let mut raw = Raw::connect(thaw.address).await;
    raw.write(&get("/")).await;
    assert_eq!(raw.head().await, HINT);
    drop(raw);
    thaw.cluster.journal.open("1");
    thaw.cluster.journal.open("2");
    eventually("the instance is free", || thaw.web.census().1 == 0).await;
    // It is used again, by a client that knows no hints.
    let answer = thaw.client().await.ask(client::get("/")).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "ok"));
    assert_eq!(thaw.cluster.made().len(), 1);
}
