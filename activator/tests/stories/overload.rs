//! More requests than can be run or held.

use std::net::Shutdown;

use activator::held::Limits;
use crds::function::PathMatch;
use futures::future::join_all;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, task::JoinHandle};

use crate::support::{
    Manifest, Thaw,
    client::{self, Answer, Body},
    soon,
};

/// One instance, and a queue for everybody else.
fn one_instance() -> Manifest {
    Manifest {
        max: 1,
        queue: 100_000,
        ..Manifest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_holds_its_share_is_refused_and_others_are_served() {
    let limits = Limits {
        requests: 10,
        ..Limits::default()
    };
    let thaw = Thaw::start_holding(limits, one_instance()).await;
    let web = [("web", "/", PathMatch::Prefix)];
    thaw.publish_in("other", "shop", &web, Manifest::default());
    let runs = thaw.getting("/?gate=end");
    thaw.inside(1).await;
    let wait: Vec<_> = (0..5).map(|_| thaw.getting("/")).collect();
    thaw.queued(5).await;
    let refused = thaw.get("/").await;
    refused.is_error(503, "QueueFull");
    assert!(refused.text().contains("activator.limits.heldRequests"));

    let mut request = client::get("/");
    let host = "shop--other.thaw.test".parse().unwrap();
    request.headers_mut().insert("host", host);
    thaw.client().await.ask(request).await.instance();
    thaw.cluster.journal.open("end");
    for answer in join_all(wait.into_iter().chain([runs])).await {
        answer.unwrap().instance();
    }
    thaw.get("/").await.instance();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_reset_gives_up_its_place_and_its_connection_goes_on() {
    let thaw = Thaw::start(one_instance()).await;
    let runs = thaw.getting("/?gate=end");
    thaw.inside(1).await;
    let connection = Streams::open(&thaw).await;
    let (resets, stays) = (client::get("/"), client::get("/"));
    let id = resets.headers()["x-request-id"].clone();
    let resets = connection.send(resets);
    thaw.queued(1).await;
    let stays = connection.send(stays);
    thaw.queued(2).await;
    resets.abort();
    thaw.queued(1).await;
    thaw.cluster.journal.open("end");
    runs.await.unwrap().instance();
    soon("an answer", stays).await.unwrap().unwrap().instance();
    assert!(thaw.cluster.journal.runs(id.to_str().unwrap()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_that_leave_at_once_free_their_places_and_hold_up_nobody() {
    const CONNECTIONS: usize = 50;
    const STREAMS: usize = 200;
    let thaw = Thaw::start(one_instance()).await;
    let runs = thaw.getting("/?gate=end");
    thaw.inside(1).await;
    let connections = join_all((0..CONNECTIONS).map(|_| Streams::open(&thaw))).await;
    let send = |connection: &Streams| connection.send(client::get("/"));
    let waiting: Vec<_> = connections
        .iter()
        .flat_map(|connection| (0..STREAMS).map(|_| send(connection)))
        .collect();
    thaw.queued(waiting.len()).await;
    // Half of them reset their streams, the others vanish.
    let (reset, vanish) = waiting.split_at(waiting.len() / 2);
    reset.iter().for_each(JoinHandle::abort);
    thaw.queued(vanish.len()).await;
    drop(connections);
    thaw.queued(0).await;
    thaw.cluster.journal.open("end");
    runs.await.unwrap().instance();
    thaw.get("/").await.instance();
    // The first, and the one after all.
    assert_eq!(thaw.cluster.journal.began(), 2);
    thaw.keeps_its_promises();
}

/// A connection that carries many requests at once. Dropped, it is closed.
struct Streams {
    sender: SendRequest<Body>,
    socket: std::net::TcpStream,
}

impl Streams {
    async fn open(thaw: &Thaw) -> Self {
        let stream = TcpStream::connect(thaw.address).await.unwrap();
        let stream = stream.into_std().unwrap();
        let socket = stream.try_clone().unwrap();
        let stream = TcpStream::from_std(stream).unwrap();
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(async move { connection.await.ok() });
        Self { sender, socket }
    }

    /// Sends in a task, which resets the stream if it is aborted.
    fn send(&self, mut request: http::Request<Body>) -> JoinHandle<hyper::Result<Answer>> {
        let host = request.headers_mut().remove("host").unwrap();
        let path = request.uri().path_and_query().unwrap().as_str();
        let uri = format!("http://{}{path}", host.to_str().unwrap());
        *request.uri_mut() = uri.parse().unwrap();
        let mut sender = self.sender.clone();
        tokio::spawn(async move { Ok(Answer::read(sender.send_request(request).await?).await) })
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.socket.shutdown(Shutdown::Both).ok();
    }
}
