//! Clients that leave.

use futures::SinkExt;
use hyper::body::Frame;

use crate::support::{Manifest, Thaw, client, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_the_answer_leaves_the_instance_busy_until_the_function_ended()
{
    let thaw = Thaw::start(Manifest {
        max: 1,
        ..Manifest::default()
    })
    .await;
    let abandoned = thaw.getting("/?gate=end");
    thaw.inside(1).await;
    abandoned.abort();

    let next = thaw.getting("/");
    thaw.queued(1).await;
    assert_eq!(thaw.cluster.journal.inside(), 1);
    thaw.cluster.journal.open("end");
    let next = next.await.unwrap();
    assert_eq!((next.instance(), next.header("invocation")), ("i1", "2"));
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_in_the_middle_of_the_answer_leaves_the_instance_busy_until_its_end() {
    let thaw = Thaw::start(Manifest {
        max: 1,
        ..Manifest::default()
    })
    .await;
    let mut leaves = thaw.client().await;
    let answer = leaves
        .send(client::get("/?pieces=50&size=100000&then=end"))
        .await
        .unwrap();
    drop((answer, leaves));

    let next = thaw.getting("/");
    thaw.queued(1).await;
    assert_eq!(thaw.cluster.journal.inside(), 1);
    thaw.cluster.journal.open("end");
    let next = next.await.unwrap();
    assert_eq!((next.instance(), next.header("invocation")), ("i1", "2"));
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_in_the_middle_of_its_upload_costs_the_instance() {
    let thaw = Thaw::start(Manifest::default()).await;
    let mut leaves = thaw.client().await;
    let (mut upload, body) = client::pieces();
    let request = client::request("POST", "/", body);
    let leaving = tokio::spawn(async move { leaves.send(request).await.map(drop) });
    upload.send(Ok(Frame::data("half".into()))).await.unwrap();
    thaw.inside(1).await;
    leaving.abort();

    // Nobody can tell what half a request has left behind.
    eventually("the instance goes", || thaw.cluster.pods().is_empty()).await;
    assert_eq!(thaw.get("/").await.instance(), "i2");
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_the_queue_gives_up_its_place() {
    let thaw = Thaw::start(Manifest {
        max: 1,
        ..Manifest::default()
    })
    .await;
    let first = thaw.getting("/?gate=end");
    thaw.inside(1).await;
    let leaves = client::get("/");
    let id = leaves.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let mut connection = thaw.client().await;
    let leaving = tokio::spawn(async move { connection.send(leaves).await.map(drop) });
    thaw.queued(1).await;
    leaving.abort();
    thaw.queued(0).await;
    thaw.cluster.journal.open("end");
    first.await.unwrap().instance();
    thaw.get("/").await.instance();
    assert!(thaw.cluster.journal.runs(&id).is_empty());
}
