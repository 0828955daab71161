//! A stop that loses nothing.

use tokio::net::TcpStream;

use crate::support::{HOST, Manifest, Raw, Thaw, client, soon};

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_what_was_accepted_and_takes_nothing_new() {
    let thaw = Thaw::start(Manifest {
        max: 1,
        ..Manifest::default()
    })
    .await;
    let mut idle = thaw.client().await;
    idle.get("/").await.instance();
    let silent = Raw::connect(thaw.address).await;
    let runs = thaw.getting("/?gate=end");
    thaw.inside(1).await;
    let waits = thaw.getting("/?pieces=3");
    thaw.queued(1).await;

    thaw.stop.cancel();
    idle.closed().await;
    silent.rest().await;
    let refused = async {
        while TcpStream::connect(thaw.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    soon("new connections are refused", refused).await;
    assert!(!thaw.serving.is_finished());

    thaw.cluster.journal.open("end");
    for request in [runs, waits] {
        let answer = request.await.unwrap();
        assert_eq!(answer.instance(), "i1");
        assert_eq!(answer.header("connection"), "close");
    }
    soon("the server ends", thaw.serving).await.unwrap();
    assert!(thaw.entrypoints.is_quiet());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_an_answer_that_has_begun() {
    let thaw = Thaw::start(Manifest::default()).await;
    let mut raw = Raw::connect(thaw.address).await;
    raw.write(&format!(
        "GET /?pieces=3&size=1&then=end HTTP/1.1\r\nhost: {HOST}\r\n\r\n"
    ))
    .await;
    raw.read_until("1\r\nx\r\n").await;
    thaw.stop.cancel();
    thaw.cluster.journal.open("end");
    let rest = raw.rest().await;
    assert_eq!(rest, "1\r\nx\r\n1\r\nx\r\n0\r\n\r\n");
    soon("the server ends", thaw.serving).await.unwrap();
}

#[test]
fn a_process_that_ends_in_the_middle_of_an_answer_just_ends() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let unread = runtime.block_on(async {
        let thaw = Thaw::start(Manifest::default()).await;
        let mut client = thaw.client().await;
        let path = "/?pieces=1000&size=100000";
        client.send(client::get(path)).await.unwrap()
    });
    // What `--drain` did not wait for is dropped with the runtime, which takes no new tasks then.
    drop(runtime);
    drop(unread);
}
