//! One instance of a function: a small server that does what the query of a request says.
//!
//! It plays a real function: work that has begun goes on when the connection is gone, and a second request that comes while one is
//! inside is an overlap, answered with 500 and noted in the [`Journal`].

mod protocols;

use std::{
    collections::{HashMap, HashSet},
    future::{pending, poll_fn},
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use activator::instance::Address;
use crds::function::Protocol;
use futures::{SinkExt, channel::mpsc};
use http::{HeaderMap, Request, Response, Uri};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Body as _, Bytes, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::watch,
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

type Body = BoxBody<Bytes, io::Error>;

/// What runs in an instance.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Program {
    /// The scripted server.
    Scripted,
    /// The same, but connections are refused for a while.
    Late(Duration),
    /// Never listens.
    Deaf,
    /// Answers every head with these bytes, and closes the connection after them if told so.
    Raw { answer: &'static str, closes: bool },
    /// Answers every head with the first of these, and with each next one when the gate of its number opens.
    Words(&'static [&'static str]),
    /// Switches to another protocol.
    Switching,
    /// The scripted server, and gRPC at `/call`, over HTTP/2.
    Http2,
    /// The same, but on its first connections it answers a request with these frames.
    Refusing { first: u32, frames: &'static [u8] },
}

/// What the instances saw, and the gates at which they wait.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// Request id → names of the instances that began it.
    runs: Mutex<HashMap<String, Vec<String>>>,
    inside: AtomicU32,
    overlaps: AtomicU32,
    crashes: AtomicU32,
    gates: watch::Sender<HashSet<String>>,
}

impl Journal {
    /// The instances that began the request with this id.
    pub(crate) fn runs(&self, id: &str) -> Vec<String> {
        self.runs
            .lock()
            .unwrap()
            .get(id)
            .cloned()
            .unwrap_or_default()
    }

    /// Requests that instances began.
    pub(crate) fn began(&self) -> usize {
        self.runs.lock().unwrap().values().map(Vec::len).sum()
    }

    /// Requests inside all instances.
    pub(crate) fn inside(&self) -> u32 {
        self.inside.load(Ordering::SeqCst)
    }

    /// Requests that came to an instance that was full.
    pub(crate) fn overlaps(&self) -> u32 {
        self.overlaps.load(Ordering::SeqCst)
    }

    /// Instances that crashed.
    pub(crate) fn crashes(&self) -> u32 {
        self.crashes.load(Ordering::SeqCst)
    }

    /// Lets everybody through who waits at this gate, now and later.
    pub(crate) fn open(&self, gate: &str) {
        self.gates.send_modify(|open| {
            open.insert(gate.to_owned());
        });
    }

    /// Waits until a gate is open.
    pub(crate) async fn pass(&self, gate: &str) {
        let mut gates = self.gates.subscribe();
        gates.wait_for(|open| open.contains(gate)).await.unwrap();
    }
}

/// One instance.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) address: Address,
    concurrency: u32,
    journal: Arc<Journal>,
    invocations: AtomicU32,
    connections: AtomicU32,
    inside: AtomicU32,
    /// No new connections, and idle ones are closed.
    leaving: CancellationToken,
    crashed: CancellationToken,
    tasks: TaskTracker,
}

impl Process {
    /// Starts it; the address is known at once.
    pub(crate) fn start(
        name: String,
        program: Program,
        concurrency: u32,
        journal: Arc<Journal>,
    ) -> Arc<Self> {
        // A socket that is bound and does not listen refuses connections and keeps its port.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let process = Arc::new(Self {
            name,
            address: Address {
                socket: socket.local_addr().unwrap(),
                protocol: match program {
                    Program::Http2 | Program::Refusing { .. } => Protocol::H2c,
                    _ => Protocol::Http1,
                },
            },
            concurrency,
            journal,
            invocations: AtomicU32::new(0),
            connections: AtomicU32::new(0),
            inside: AtomicU32::new(0),
            leaving: CancellationToken::new(),
            crashed: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let listening = process.clone().listen(socket, program);
        process.tasks.spawn(listening);
        process
    }

    /// Requests inside.
    pub(crate) fn inside(&self) -> u32 {
        self.inside.load(Ordering::SeqCst)
    }

    /// Stops listening, finishes what is inside, and closes every connection. Returns when the other ends have closed theirs.
    pub(crate) async fn leave(&self) {
        self.leaving.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Ends at once; connections break.
    pub(crate) fn crash(&self) {
        if !self.crashed.is_cancelled() {
            self.journal.crashes.fetch_add(1, Ordering::SeqCst);
        }
        self.crashed.cancel();
        self.leaving.cancel();
    }

    /// Whether it ended by itself.
    pub(crate) fn has_crashed(&self) -> bool {
        self.crashed.is_cancelled()
    }

    /// Waits until it crashed or was told to leave.
    pub(crate) async fn ended(&self) {
        self.leaving.cancelled().await;
    }

    async fn listen(self: Arc<Self>, socket: TcpSocket, program: Program) {
        match program {
            Program::Late(wait) => sleep(wait).await,
            Program::Deaf => return self.leaving.cancelled().await,
            _ => {}
        }
        let listener = socket.listen(1024).unwrap();
        while let Some(Ok((stream, _))) = self.leaving.run_until_cancelled(listener.accept()).await
        {
            stream.set_nodelay(true).unwrap();
            let process = self.clone();
            let nth = self.connections.fetch_add(1, Ordering::SeqCst);
            match program {
                Program::Raw { answer, closes } => self
                    .tasks
                    .spawn(process.converse_raw(stream, answer, closes)),
                Program::Switching => self.tasks.spawn(process.switch(stream)),
                Program::Words(words) => self.tasks.spawn(process.speak(stream, words)),
                Program::Refusing { first, frames } if nth < first => {
                    self.tasks.spawn(process.refuse(stream, frames))
                }
                Program::Http2 | Program::Refusing { .. } => {
                    self.tasks.spawn(process.converse_http2(stream))
                }
                _ => self.tasks.spawn(process.converse(stream)),
            };
        }
    }

    async fn converse(self: Arc<Self>, stream: TcpStream) {
        let process = self.clone();
        let service = service_fn(move |request| {
            let process = process.clone();
            Box::pin(process.answer(request))
                as Pin<Box<dyn Future<Output = io::Result<Response<Body>>> + Send>>
        });
        let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let ended = tokio::select! {
            biased;
            () = self.crashed.cancelled() => return,
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => ended,
            () = self.leaving.cancelled() => {
                Pin::new(&mut connection).graceful_shutdown();
                tokio::select! {
                    biased;
                    () = self.crashed.cancelled() => return,
                    ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => ended,
                }
            }
        };
        if ended.is_err() {
            return;
        }
        let mut stream = connection.into_parts().io.into_inner();
        // Read to the end, so that whoever waits for this knows that the other side has noticed.
        stream.shutdown().await.ok();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.ok();
    }

    async fn converse_raw(self: Arc<Self>, mut stream: TcpStream, answer: &str, closes: bool) {
        let mut read = Vec::new();
        loop {
            let mut piece = [0; 4096];
            let length = tokio::select! {
                () = self.leaving.cancelled() => return,
                length = stream.read(&mut piece) => length.unwrap_or(0),
            };
            if length == 0 {
                return;
            }
            read.extend_from_slice(&piece[..length]);
            if read.windows(4).any(|end| end == b"\r\n\r\n") {
                read.clear();
                self.invocations.fetch_add(1, Ordering::SeqCst);
                if stream.write_all(answer.as_bytes()).await.is_err() || closes {
                    return;
                }
            }
        }
    }

    /// Runs one request in a task of its own: like a real function it does not stop because a connection broke.
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let process = self.clone();
        let run = tokio::spawn(async move {
            tokio::select! {
                biased;
                () = process.crashed.cancelled() => Err(io::Error::other("crashed")),
                answer = process.clone().run(request) => answer,
            }
        });
        run.await.unwrap()
    }

    async fn run(self: Arc<Self>, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let (head, body) = request.into_parts();
        let script = Script::of(&head.uri);
        let Some(inside) = self.enter(&head.headers) else {
            let answer = Response::builder().status(500).header("overlap", "yes");
            return Ok(answer.body(whole("overlap")).unwrap());
        };
        let received = match (script.has("early"), script.get("read")) {
            (true, _) => 0,
            // The answer does not wait for it.
            (false, Some(gate)) => {
                let (process, gate) = (self.clone(), gate.to_owned());
                let reading = async move { read(body).await.map(|_| process.journal.open(&gate)) };
                tokio::spawn(reading);
                0
            }
            (false, None) => read(body).await?,
        };
        if let Some(gate) = script.get("gate") {
            self.journal.pass(gate).await;
        }
        sleep(Duration::from_millis(script.number("sleep"))).await;
        if script.get("die") == Some("head") {
            self.crash();
            pending::<()>().await;
        }
        let mut answer = Response::builder()
            .status(script.get("status").map_or(200, |s| s.parse().unwrap()))
            .header("instance", &self.name)
            .header("invocation", inside.invocation)
            .header("received", received);
        if script.has("close") {
            answer = answer.header("connection", "close");
        }
        if script.has("pieces") {
            return Ok(answer.body(self.pieces(script, inside)).unwrap());
        }
        // What comes after the end of the work is no longer inside.
        drop(inside);
        let body = match (script.get("status"), script.get("body")) {
            (Some("204" | "304"), _) => Empty::new().map_err(|never| match never {}).boxed(),
            (_, Some(_)) => whole(vec![b'x'; script.number("body") as usize]),
            _ if script.has("echo") => whole(text(&head.headers)),
            _ => whole(self.name.clone()),
        };
        Ok(answer.body(body).unwrap())
    }

    /// A body that comes in pieces: `pieces`, of `size` bytes, `pause` milliseconds between two, with the gate `then`, silence or death
    /// after the first.
    fn pieces(self: Arc<Self>, script: Script, inside: Inside) -> Body {
        let (mut to, from) = mpsc::channel(0);
        let mut inside = Some(inside);
        let mut failing = to.clone();
        let process = self.clone();
        let sending = async move {
            let pieces = script.number("pieces");
            let piece = Bytes::from(vec![b'x'; script.number("size").max(1) as usize]);
            for number in 1..=pieces {
                if number == 2 {
                    process.after_first_piece(&script).await;
                }
                if number == pieces {
                    drop(inside.take());
                }
                to.send(Ok(Frame::data(piece.clone()))).await.ok();
                sleep(Duration::from_millis(script.number("pause"))).await;
            }
        };
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = self.crashed.cancelled() => {
                    failing.send(Err(io::Error::other("crashed"))).await.ok();
                }
                () = sending => {}
            }
        });
        BodyExt::boxed(StreamBody::new(from))
    }

    async fn after_first_piece(&self, script: &Script) {
        if let Some(gate) = script.get("then") {
            self.journal.pass(gate).await;
        }
        if script.get("die") == Some("body") {
            self.crash();
        }
        if script.has("silent") || script.get("die") == Some("body") {
            pending::<()>().await;
        }
    }

    fn enter(self: &Arc<Self>, headers: &HeaderMap) -> Option<Inside> {
        let id = headers["x-request-id"].to_str().unwrap().to_owned();
        let mut runs = self.journal.runs.lock().unwrap();
        runs.entry(id).or_default().push(self.name.clone());
        drop(runs);
        if self.inside.fetch_add(1, Ordering::SeqCst) >= self.concurrency {
            self.inside.fetch_sub(1, Ordering::SeqCst);
            self.journal.overlaps.fetch_add(1, Ordering::SeqCst);
            return None;
        }
        self.journal.inside.fetch_add(1, Ordering::SeqCst);
        Some(Inside {
            process: self.clone(),
            invocation: self.invocations.fetch_add(1, Ordering::SeqCst) + 1,
        })
    }
}

/// A request inside an instance.
struct Inside {
    process: Arc<Process>,
    invocation: u32,
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.process.inside.fetch_sub(1, Ordering::SeqCst);
        self.process.journal.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What the query asks for.
struct Script(HashMap<String, String>);

impl Script {
    fn of(uri: &Uri) -> Self {
        let pairs = uri.query().unwrap_or_default().split('&');
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), value.to_owned())
        };
        Self(pairs.map(pair).collect())
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// 0 unless it is there.
    fn number(&self, name: &str) -> u64 {
        self.get(name).map_or(0, |number| number.parse().unwrap())
    }
}

async fn read(mut body: Incoming) -> io::Result<usize> {
    let mut length = 0;
    // hyper does not say more than this while it waits for room to write.
    while !body.is_end_stream()
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(io::Error::other)?;
        length += frame.data_ref().map_or(0, Bytes::len);
    }
    Ok(length)
}

fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into())
        .map_err(|never| match never {})
        .boxed()
}

/// One `name: value` a line.
fn text(headers: &HeaderMap) -> String {
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        format!("{name}: {}\n", value.to_str().unwrap_or("?"))
    };
    headers.iter().map(line).collect()
}
