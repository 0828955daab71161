//! Instances that die or break the protocol.

use futures::SinkExt;
use hyper::body::Frame;

use crate::support::{HOST, Manifest, Program, Raw, Thaw, client, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_an_instance_that_refuses_it_goes_to_another_with_its_body() {
    let thaw = Thaw::start(Manifest::default()).await;
    assert_eq!(thaw.get("/").await.instance(), "i1");
    // Killed without notice while idle: the pod is still there.
    thaw.cluster.process("i1").leave().await;
    let body = client::whole(vec![b'x'; 100_000]);
    let request = client::request("POST", "/", body);
    let answer = thaw.client().await.ask(request).await;
    assert_eq!(
        (answer.instance(), answer.header("received")),
        ("i2", "100000")
    );
    assert_eq!(answer.header("thaw-boot"), "cold");
    eventually("only the new one is left", || thaw.cluster.pods() == ["i2"]).await;
    assert_eq!(thaw.get("/").await.instance(), "i2");
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_dies_with_the_request_fails_it_once_and_is_never_used_again() {
    let thaw = Thaw::start(Manifest::default()).await;
    assert_eq!(thaw.get("/").await.instance(), "i1");
    let request = client::get("/?die=head");
    let id = request.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let answer = thaw.client().await.ask(request).await;
    answer.is_error(502, "InstanceFailed");
    assert_eq!(answer.header("x-request-id"), id);
    assert_eq!(thaw.cluster.journal.runs(&id), ["i1"]);
    assert_eq!(thaw.get("/").await.instance(), "i2");
    eventually("only the new one is left", || thaw.cluster.pods() == ["i2"]).await;
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_cut_and_not_ended() {
    let thaw = Thaw::start(Manifest::default()).await;
    let answer = thaw.get("/?pieces=3&die=body").await;
    assert_eq!(answer.status, 200);
    assert!(!answer.is_whole, "{answer:?}");
    assert_eq!(thaw.get("/").await.instance(), "i2");
    eventually("only the new one is left", || thaw.cluster.pods() == ["i2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_instance_said_before_it_broke_off_reaches_the_client() {
    let thaw = Thaw::start(Manifest::default()).await;
    for _ in 0..20 {
        thaw.cluster.run_next([Program::Raw {
            answer: "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
            closes: true,
        }]);
        let mut raw = Raw::connect(thaw.address).await;
        raw.write(&format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n"))
            .await;
        let text = raw.rest().await;
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
        assert!(text.ends_with("\r\n\r\nhalf"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_breaks_the_protocol_fails_its_request() {
    for answer in [
        "SSH-2.0-OpenSSH_9.9\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    ] {
        let thaw = Thaw::start(Manifest::default()).await;
        thaw.cluster.run_next([Program::Raw {
            answer,
            closes: true,
        }]);
        thaw.get("/").await.is_error(502, "InstanceFailed");
        assert_eq!(thaw.get("/").await.instance(), "i2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_closes_every_connection_loses_no_request() {
    let thaw = Thaw::start(Manifest::default()).await;
    let mut client = thaw.client().await;
    for _ in 0..100 {
        assert_eq!(client.get("/?close").await.instance(), "i1");
    }
    assert_eq!(thaw.cluster.made().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_somebody_deletes_finishes_its_request_and_gets_no_other() {
    let thaw = Thaw::start(Manifest::default()).await;
    let running = thaw.getting("/?gate=end");
    thaw.inside(1).await;
    thaw.cluster.delete("i1");
    thaw.cluster.seen_by_all().await;
    assert_eq!(thaw.get("/").await.instance(), "i2");
    thaw.cluster.journal.open("end");
    assert_eq!(running.await.unwrap().instance(), "i1");
    assert_eq!(thaw.get("/").await.instance(), "i2");
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_before_the_end_of_the_upload_does_not_hold_up_the_next_request() {
    let thaw = Thaw::start(Manifest {
        max: 1,
        ..Manifest::default()
    })
    .await;
    let early = Program::Raw {
        answer: "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        closes: false,
    };
    thaw.cluster.run_next([early]);
    let (mut upload, body) = client::pieces();
    let mut uploads = thaw.client().await;
    let answering = tokio::spawn(async move {
        let answer = uploads.ask(client::request("POST", "/", body)).await;
        (uploads, answer)
    });
    upload.send(Ok(Frame::data("half".into()))).await.unwrap();
    let (_uploads, answer) = answering.await.unwrap();
    assert_eq!((answer.text(), answer.is_whole), ("ok", true));
    // The upload goes on, and the slot is free.
    assert_eq!(thaw.get("/").await.text(), "ok");
    drop(upload);
}
