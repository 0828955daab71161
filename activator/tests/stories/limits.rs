//! How much may wait, and how long; how much may be sent.

use activator::budget::Caps;
use crds::function::PathMatch;
use futures::SinkExt;
use hyper::body::Frame;

use crate::support::{Answer, HOST, Manifest, Raw, Thaw, client, ms};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_and_says_when_to_come_back() {
    let thaw = Thaw::start(Manifest {
        max: 1,
        queue: 1,
        ..Manifest::default()
    })
    .await;
    let runs = thaw.getting("/?gate=end");
    thaw.inside(1).await;
    let waits = thaw.getting("/");
    thaw.queued(1).await;
    let refused = thaw.get("/").await;
    refused.is_error(503, "QueueFull");
    assert_ne!(refused.header("retry-after"), "");
    thaw.cluster.journal.open("end");
    runs.await.unwrap().instance();
    waits.await.unwrap().instance();
    assert_eq!(thaw.cluster.made().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_in_the_queue_ends() {
    let thaw = Thaw::start(Manifest {
        max: 1,
        queue_timeout: ms(150),
        ..Manifest::default()
    })
    .await;
    let runs = thaw.getting("/?gate=end");
    thaw.inside(1).await;
    let refused = thaw.get("/").await;
    refused.is_error(503, "QueueTimeout");
    assert_ne!(refused.header("retry-after"), "");
    thaw.cluster.journal.open("end");
    assert_eq!(runs.await.unwrap().instance(), "i1");
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_does_not_count_against_the_queue() {
    let thaw = Thaw::start(Manifest {
        queue_timeout: ms(150),
        ..Manifest::default()
    })
    .await;
    thaw.cluster
        .run_next([crate::support::Program::Late(ms(500))]);
    assert_eq!(thaw.get("/").await.instance(), "i1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_says_it_is_too_large_boots_nothing() {
    let thaw = Thaw::start(Manifest {
        request_bytes: 1000,
        ..Manifest::default()
    })
    .await;
    let mut raw = Raw::connect(thaw.address).await;
    raw.write(&format!(
        "POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 1001\r\n\r\n"
    ))
    .await;
    let head = raw.head().await;
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    assert!(head.contains("thaw-error: RequestTooLarge"), "{head}");
    assert!(thaw.cluster.made().is_empty());

    let request = client::request("POST", "/", client::whole(vec![b'x'; 1000]));
    let answer = thaw.client().await.ask(request).await;
    assert_eq!(
        (answer.instance(), answer.header("received")),
        ("i1", "1000")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_turns_out_to_be_too_large_is_cut_off() {
    let thaw = Thaw::start(Manifest {
        request_bytes: 1000,
        buffer_bytes: 0,
        ..Manifest::default()
    })
    .await;
    too_large(&thaw).await.is_error(413, "RequestTooLarge");
    assert_eq!(thaw.get("/").await.instance(), "i2");
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_turns_out_to_be_too_large_while_it_waits_costs_no_instance() {
    let thaw = Thaw::start(Manifest {
        request_bytes: 1000,
        max: 1,
        ..Manifest::default()
    })
    .await;
    let runs = thaw.getting("/?gate=end");
    thaw.inside(1).await;
    too_large(&thaw).await.is_error(413, "RequestTooLarge");
    thaw.queued(0).await;
    thaw.cluster.journal.open("end");
    assert_eq!(runs.await.unwrap().instance(), "i1");
    assert_eq!(thaw.get("/").await.instance(), "i1");
}

/// The answer to a body of unknown length that grows above the limit.
async fn too_large(thaw: &Thaw) -> Answer {
    let (mut upload, body) = client::pieces();
    let mut client = thaw.client().await;
    let request = client::request("POST", "/", body);
    let answering = tokio::spawn(async move { client.ask(request).await });
    for _ in 0..2 {
        let piece = Frame::data(vec![b'x'; 600].into());
        upload.send(Ok(piece)).await.unwrap();
    }
    answering.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn entrypoints_share_the_instances_of_their_namespace() {
    let caps = Caps {
        namespace: Some(2),
        ..Caps::default()
    };
    let manifest = Manifest {
        boot: ms(300),
        idle_after: ms(1),
        ..Manifest::default()
    };
    let thaw = Thaw::start_within(caps, manifest).await;
    let paths = [
        ("pay", "/pay", PathMatch::Prefix),
        ("web", "/", PathMatch::Prefix),
    ];
    thaw.publish("shop", &paths, manifest);
    let both = [thaw.getting("/?gate=end"), thaw.getting("/?gate=end")];
    thaw.inside(2).await;
    // No room for another entrypoint's first instance, and nothing to wait for.
    let refused = thaw.get("/pay").await;
    refused.is_error(504, "BootTimeout");
    assert!(refused.text().contains("NoRoom"), "{}", refused.text());
    // One that waits gets the room that an instance leaves.
    let waits = thaw.getting("/pay");
    thaw.cluster.journal.open("end");
    for answer in both {
        answer.await.unwrap().instance();
    }
    waits.await.unwrap().instance();
    assert_eq!(thaw.cluster.made().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn boots_in_flight_are_bounded_and_all_are_served() {
    let caps = Caps {
        boots: Some(2),
        ..Caps::default()
    };
    let thaw = Thaw::start_within(caps, Manifest::default()).await;
    let requests: Vec<_> = (0..10).map(|_| thaw.getting("/?gate=end")).collect();
    // Each boot that ends makes room for the next, until everybody has an instance.
    thaw.inside(10).await;
    thaw.cluster.journal.open("end");
    for request in requests {
        request.await.unwrap().instance();
    }
    assert_eq!(thaw.cluster.made().len(), 10);
    assert!(
        thaw.cluster.most_booting() <= 2,
        "{} booted at once",
        thaw.cluster.most_booting()
    );
}
