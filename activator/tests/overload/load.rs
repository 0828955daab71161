//! What overloads: an activator with a function that writes down what it runs, and many clients.

use std::{sync::Arc, time::Duration};

use h2::client::{SendRequest, handshake};
use http::{HeaderName, HeaderValue, Request};
use hyper::body::Bytes;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::{net::TcpStream, sync::OnceCell, task::JoinSet, time::timeout};

use crate::{
    journals::{Journals, resident},
    support::{Answer, Thaw, ask, example, manifest, write},
};

/// The longest wait for anything here. Thousands of answers take a while on a machine that does other things as well.
pub(crate) const LONG: Duration = Duration::from_secs(300);

/// Both ends of as many connections as an activator takes by default, with as many files to spare.
const FILES: u64 = 20_000;
/// So many clients have a connection each, which leaves the activator as many files for those of its instances.
const ALONE: usize = 9_000;
/// So many of the others share one of HTTP/2.
const STREAMS: usize = 100;

/// An activator, and what its function wrote down.
pub(crate) struct Load {
    pub(crate) thaw: Thaw,
    journals: TempDir,
}

impl Load {
    /// An entrypoint with these fields. Its instances boot when [`Load::let_boot`] says so.
    pub(crate) async fn start(fields: &str) -> Self {
        Self::beside("", fields).await
    }

    /// The same beside other Functions.
    pub(crate) async fn beside(others: &str, fields: &str) -> Self {
        open_many_files();
        let (dir, journals) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let boot = format!(
            "until [ -e may-boot ]; do sleep 0.05; done; exec '{}'",
            example("journal").display()
        );
        let fields = format!(
            "command: [/bin/sh, -c, {boot:?}], env: [{{name: JOURNAL, value: {:?}}}], freeze: {{mode: Never}}, {fields}",
            journals.path()
        );
        let shop = manifest(&[("web", "/", &fields)]);
        write(&dir, "function.yaml", &format!("{others}{shop}"));
        Self {
            thaw: Thaw::start(dir, &[]).await,
            journals,
        }
    }

    pub(crate) fn let_boot(&self) {
        write(&self.thaw.dir, "may-boot", "");
    }

    /// One client for each of these ids.
    pub(crate) fn send(&self, ids: impl IntoIterator<Item = u64>) -> JoinSet<(u64, Answer)> {
        let paths = ids.into_iter().map(|id| (id, format!("/?id={id}")));
        send(self.thaw.port, "localhost", paths)
    }

    /// The activator's resident memory in KiB.
    pub(crate) fn resident(&self) -> u64 {
        resident(Pid::from_child(&self.thaw.child))
    }

    pub(crate) fn journals(&self) -> Journals {
        Journals::read(self.journals.path())
    }
}

/// A client of a host for each of these paths, which go by numbers.
pub(crate) fn send(
    port: u16,
    host: &'static str,
    paths: impl IntoIterator<Item = (u64, String)>,
) -> JoinSet<(u64, Answer)> {
    let mut paths = paths.into_iter();
    let alone = paths.by_ref().take(ALONE);
    let mut clients: JoinSet<_> = alone
        .map(|(id, path)| async move { (id, ask(port, host, &path).await) })
        .collect();
    let sharing: Vec<_> = paths.collect();
    for paths in sharing.chunks(STREAMS) {
        let connection = Arc::new(OnceCell::new());
        for (id, path) in paths.iter().cloned() {
            let connection = connection.clone();
            clients.spawn(async move {
                let sender = connection.get_or_init(|| connect(port)).await.clone();
                (id, ask_over(sender, &format!("http://{host}{path}")).await)
            });
        }
    }
    clients
}

/// A connection of HTTP/2.
async fn connect(port: u16) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (sender, connection) = handshake(stream).await.unwrap();
    tokio::spawn(async move { connection.await.ok() });
    sender
}

async fn ask_over(sender: SendRequest<Bytes>, target: &str) -> Answer {
    let request = Request::get(target);
    let mut sender = sender.ready().await.unwrap();
    let sent = sender.send_request(request.body(()).unwrap(), true);
    let answer = sent.unwrap().0.await.unwrap();
    let status = answer.status().as_u16();
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        format!("{name}: {}\n", value.to_str().unwrap())
    };
    let head = answer.headers().iter().map(line).collect();
    let (mut stream, mut body) = (answer.into_body(), Vec::new());
    while let Some(piece) = stream.data().await {
        body.extend(piece.unwrap());
    }
    let body = String::from_utf8(body).unwrap();
    Answer { status, head, body }
}

/// The next that is answered.
pub(crate) async fn next(clients: &mut JoinSet<(u64, Answer)>) -> (u64, Answer) {
    let next = timeout(LONG, clients.join_next()).await;
    next.expect("an answer").expect("a client is left").unwrap()
}

/// As many as this process may have; the activator inherits it.
pub(crate) fn open_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let allowed = limit.maximum.unwrap_or(u64::MAX);
    assert!(
        allowed >= FILES,
        "raise the limit of open files: ulimit -Hn {FILES}"
    );
    setrlimit(Resource::Nofile, most).unwrap();
}
