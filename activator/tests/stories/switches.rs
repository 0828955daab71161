//! Connections that switch to another protocol, as WebSocket does: one invocation until they end.

use crate::support::{HOST, Manifest, Program, Raw, Thaw, eventually, ms};

const SWITCHES: [Program; 8] = [Program::Switching; 8];

async fn start(manifest: Manifest) -> Thaw {
    let thaw = Thaw::start(manifest).await;
    thaw.cluster.run_next(SWITCHES);
    thaw
}

/// A client that has asked for another protocol.
async fn asks(thaw: &Thaw, id: &str) -> Raw {
    let mut raw = Raw::connect(thaw.address).await;
    raw.write(&format!(
        "GET / HTTP/1.1\r\nhost: {HOST}\r\nx-request-id: {id}\r\nconnection: keep-alive, upgrade\r\nupgrade: echo\r\n\r\n"
    ))
    .await;
    raw
}

/// One that got it, and from which instance.
async fn switches(thaw: &Thaw, id: &str) -> (Raw, String) {
    let mut raw = asks(thaw, id).await;
    let head = raw.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    for line in ["upgrade: echo\r\n", "connection: upgrade\r\n"] {
        assert!(head.contains(line), "{head}");
    }
    let instance = head
        .lines()
        .find_map(|line| line.strip_prefix("instance: "));
    (raw, instance.unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_one_invocation_until_it_ends() {
    let thaw = start(Manifest::default()).await;
    let (mut one, first) = switches(&thaw, "one").await;
    let (two, second) = switches(&thaw, "two").await;
    assert_eq!((first.as_str(), second.as_str()), ("i1", "i2"));
    thaw.inside(2).await;
    one.write("hello").await;
    assert_eq!(one.read_until("hello").await, "hello");
    one.end().await;
    assert_eq!(one.rest().await, "bye");
    thaw.inside(1).await;
    eventually("a slot is free", || thaw.web.census().1 == 1).await;
    let (_three, third) = switches(&thaw, "three").await;
    assert_eq!(third, "i1");
    drop(two);
    eventually("only one runs", || thaw.web.census().1 == 1).await;
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn much_passes_both_ways_and_arrives_in_order() {
    let thaw = start(Manifest::default()).await;
    let (raw, _) = switches(&thaw, "one").await;
    let sent: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
    let received = raw.exchange(&sent).await;
    assert_eq!(received.len(), sent.len() + "bye".len());
    assert!(received.starts_with(&sent));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_switch_is_an_answer_like_any_other() {
    let thaw = Thaw::start(Manifest::default()).await;
    let mut raw = asks(&thaw, "one").await;
    let head = raw.head().await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(thaw.get("/").await.instance(), "i1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_nobody_asked_for_fails() {
    let thaw = Thaw::start(Manifest::default()).await;
    let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    let closes = false;
    thaw.cluster.run_next([Program::Raw { answer, closes }]);
    thaw.get("/").await.is_error(502, "InstanceFailed");
    eventually("the instance goes", || thaw.cluster.pods().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_a_socket_and_talk_does_not() {
    let manifest = Manifest {
        idle: Some(ms(500)),
        first_byte: Some(ms(500)),
        ..Manifest::default()
    };
    let thaw = start(manifest).await;
    let (mut raw, _) = switches(&thaw, "one").await;
    for _ in 0..15 {
        raw.write("x").await;
        assert_eq!(raw.read_until("x").await, "x");
        // Slowness is the story here, not a wait for something.
        tokio::time::sleep(ms(50)).await;
    }
    assert_eq!(raw.rest().await, "");
    eventually("the instance goes", || thaw.cluster.pods().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_lasts_no_longer_than_an_invocation_may() {
    let manifest = Manifest {
        duration: Some(ms(300)),
        ..Manifest::default()
    };
    let thaw = start(manifest).await;
    let (raw, _) = switches(&thaw, "one").await;
    assert_eq!(raw.rest().await, "");
    eventually("the instance goes", || thaw.cluster.pods().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_a_socket_is_heard_of_by_the_instance_which_is_used_again() {
    let thaw = start(Manifest::default()).await;
    let (raw, _) = switches(&thaw, "one").await;
    drop(raw);
    eventually("nothing runs", || thaw.web.census().1 == 0).await;
    assert_eq!(switches(&thaw, "two").await.1, "i1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_ends_a_socket() {
    let thaw = start(Manifest::default()).await;
    let (raw, _) = switches(&thaw, "one").await;
    thaw.inside(1).await;
    thaw.cluster.made()[0].crash();
    raw.rest().await;
    assert_eq!(switches(&thaw, "two").await.1, "i2");
}
