//! Clients that take their time, alone and in masses.

use std::time::Duration;

use activator::settings::Edge;
use futures::future::join_all;

use crate::support::{HOST, Manifest, Raw, Thaw, eventually, ms};

const MANY: usize = 200;
const LARGE: &str = "/?pieces=300&size=100000";

fn impatient() -> Edge {
    Edge {
        header_timeout: ms(500).into(),
        write_timeout: ms(500).into(),
        ..Edge::default()
    }
}

/// Connects so many clients that each begin with this. They come in groups: a system holds only so many that nobody has accepted yet.
async fn connect(thaw: &Thaw, count: usize, beginning: &str) -> Vec<Raw> {
    let mut all = Vec::new();
    while all.len() < count {
        let group = (0..count.min(50)).map(|_| async {
            let mut raw = Raw::connect(thaw.address).await;
            raw.write(beginning).await;
            raw
        });
        all.extend(join_all(group).await);
        // Whoever is answered was accepted after those before.
        thaw.get("/").await.instance();
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_cut() {
    let thaw = Thaw::start_behind(impatient(), Manifest::default()).await;
    let mut raw = Raw::connect(thaw.address).await;
    raw.write(&format!("GET {LARGE} HTTP/1.1\r\nhost: {HOST}\r\n\r\n"))
        .await;
    thaw.inside(1).await;
    // The function comes to its end only when nobody waits for the client any more.
    thaw.inside(0).await;
    assert!(raw.rest_of_bytes().await.len() < 15_000_000);
    thaw.get("/").await.instance();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_slowly_is_not_cut() {
    let thaw = Thaw::start_behind(impatient(), Manifest::default()).await;
    let mut raw = Raw::connect(thaw.address).await;
    raw.write(&format!(
        "GET /?pieces=8&size=10&pause=200 HTTP/1.1\r\nhost: {HOST}\r\n\r\n"
    ))
    .await;
    raw.read_until("\r\n0\r\n\r\n").await;
    thaw.get("/").await.instance();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_slow_heads_are_in_nobodys_way() {
    let thaw = Thaw::start_behind(impatient(), Manifest::default()).await;
    let mut slow = connect(&thaw, MANY, "GET / HTTP/1.1\r\nx-slow: ").await;
    let all = MANY as u64;
    let dripping = async {
        while thaw.rejected("RequestTimeout") < all {
            join_all(slow.iter_mut().map(|raw| raw.send(b"x"))).await;
            thaw.get("/").await.instance();
            tokio::time::sleep(ms(50)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(30), dripping).await;
    assert!(
        ended.is_ok(),
        "{} answered",
        thaw.rejected("RequestTimeout")
    );
    assert_eq!(thaw.cluster.made().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_that_do_not_read_are_in_nobodys_way() {
    let manifest = Manifest {
        max: 4,
        queue: MANY,
        ..Manifest::default()
    };
    let thaw = Thaw::start_behind(impatient(), manifest).await;
    let request = format!("GET {LARGE} HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    let _deaf = connect(&thaw, 8, &request).await;
    // All of them had their turn, and were cut.
    eventually("everybody had an instance", || thaw.waiting() == 0).await;
    thaw.inside(0).await;
    thaw.get("/").await.instance();
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_slow_bodies_are_in_nobodys_way() {
    let thaw = Thaw::start_behind(impatient(), Manifest::default()).await;
    thaw.publish(
        "other",
        &[("web", "/", crds::function::PathMatch::Prefix)],
        Manifest::default(),
    );
    let head = "POST / HTTP/1.1\r\nhost: other--prod.thaw.test\r\ncontent-length: 1000\r\n\r\nx";
    let mut slow = connect(&thaw, MANY, head).await;
    for _ in 0..5 {
        thaw.get("/").await.instance();
        join_all(slow.iter_mut().map(|raw| raw.send(b"x"))).await;
    }
}
