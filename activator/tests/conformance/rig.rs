//! An activator before one function that writes down every byte it hears.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use activator::{
    cluster::{Cluster, carry_out},
    engine::{BootReport, InstanceId, Takeover},
    entrypoint::{Entrypoint, Key, Mark},
    entrypoints::{self, Entrypoints},
    metrics::Metrics,
    proxy::{Proxy, TrustedProxies},
    routes::{Host, Route, Routes},
    server::{Door, Health, Server},
    settings::Edge,
};
use crds::{
    entrypoint::{Limits, Scale, Timeouts},
    function::{Burst, OnDisconnect, PathMatch, Visibility},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Far more than any step needs.
const DEADLINE: Duration = Duration::from_secs(30);

/// Where the function answers.
const PATHS: [(&str, PathMatch); 4] = [
    ("/", PathMatch::Prefix),
    ("/api", PathMatch::Prefix),
    ("/api/orders", PathMatch::Prefix),
    ("/exact", PathMatch::Exact),
];

/// The activator.
pub(crate) struct Rig {
    pub(crate) address: SocketAddr,
    function: Function,
}

impl Rig {
    /// Nobody before it is trusted.
    pub(crate) async fn start() -> Self {
        Self::behind(TrustedProxies::default()).await
    }

    /// With proxies before it.
    pub(crate) async fn behind(trusted: TrustedProxies) -> Self {
        let metrics = Arc::new(Metrics::default());
        let (orders, ordered) = mpsc::unbounded_channel();
        let entrypoints = Entrypoints::new(
            metrics.clone(),
            orders,
            Default::default(),
            Default::default(),
        );
        let function = Function::start().await;
        tokio::spawn(carry_out(function.clone(), ordered, TaskTracker::new()));
        let web = entrypoints.get_or_add(&Key {
            namespace: "prod".to_owned(),
            function: "shop".to_owned(),
            entrypoint: "web".to_owned(),
            revision: "r1".to_owned(),
        });
        let (limits, timeouts) = (limits(), timeouts());
        web.configure(entrypoints::settings(&scale(), &limits, &timeouts));
        web.observed(Some(0));
        entrypoints.own(Takeover::Released);
        let route = |(path, path_match): (&str, PathMatch)| {
            let route = Route {
                path: path.to_owned(),
                path_match,
                entrypoint: "web".to_owned(),
                target: Ok(web.clone()),
                limits,
                timeouts,
                on_disconnect: OnDisconnect::Finish,
            };
            (path.to_owned(), Arc::new(route))
        };
        let host = Host {
            function: "shop".to_owned(),
            visibility: Visibility::Public,
            paths: PATHS.into_iter().map(route).collect(),
        };
        let routes = Routes::default().with("shop.test", Some(Arc::new(host)));
        let proxy = Arc::new(Proxy {
            routes: arc_swap::ArcSwap::from_pointee(routes),
            metrics,
            body_rate: None,
            trusted,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let health = Arc::new(Health::default());
        let server = Server::new(proxy, health, Edge::default());
        tokio::spawn(server.serve(listener, Door::Public, CancellationToken::new()));
        Self { address, function }
    }

    /// Sends these bytes over a connection of their own, and reads until it is closed.
    pub(crate) async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // A connection that is closed early shows in what is heard.
        stream.write_all(bytes).await.ok();
        let mut heard = Vec::new();
        let reading = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut heard)).await;
        let heard = String::from_utf8_lossy(&heard).into_owned();
        assert!(reading.is_ok(), "the connection stays open after {heard:?}");
        heard
    }

    /// What the function heard since it was asked last, request by request.
    pub(crate) fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.function.heard.lock().unwrap())
    }

    /// Instances that were booted.
    pub(crate) fn boots(&self) -> u32 {
        self.function.boots.load(Ordering::Relaxed)
    }
}

fn limits() -> Limits {
    Limits {
        queue: 100,
        request_bytes: 1 << 20,
        buffer_bytes: 0,
    }
}

fn scale() -> Scale {
    Scale {
        min: 0,
        max: 1,
        concurrency: 100,
        burst: Burst::PerRequest,
        idle_after: DEADLINE,
    }
}

fn timeouts() -> Timeouts {
    Timeouts {
        queue: Some(DEADLINE),
        boot: Some(DEADLINE),
        first_byte: Some(DEADLINE),
        idle: Some(DEADLINE),
        duration: Some(DEADLINE),
    }
}

/// The function, and the cluster in which all its instances are one listener.
#[derive(Clone)]
struct Function {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
    instances: Arc<Mutex<Vec<u32>>>,
    boots: Arc<AtomicU32>,
}

impl Function {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let function = Self {
            address: listener.local_addr().unwrap(),
            heard: Arc::default(),
            instances: Arc::default(),
            boots: Arc::default(),
        };
        let heard = function.heard.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(listen(stream, heard.clone()));
            }
        });
        function
    }
}

/// Answers every request with `ok`, as long as anything comes.
async fn listen(mut stream: TcpStream, heard: Arc<Mutex<Vec<String>>>) {
    let mut bytes = Vec::new();
    while stream
        .read_buf(&mut bytes)
        .await
        .is_ok_and(|length| length > 0)
    {
        while let Some(end) = end_of_request(&String::from_utf8_lossy(&bytes)) {
            // What is not text is kept readable, byte by byte.
            let request = bytes
                .drain(..end.min(bytes.len()))
                .map(char::from)
                .collect();
            heard.lock().unwrap().push(request);
            let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            if stream.write_all(ok).await.is_err() {
                return;
            }
        }
    }
    if !bytes.is_empty() {
        heard
            .lock()
            .unwrap()
            .push(format!("half a request: {bytes:?}"));
    }
}

/// As strict as a parser can be: what hyper writes is in lower case and has one length.
fn end_of_request(text: &str) -> Option<usize> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let body_at = head.len() + 4;
    if head.contains("\r\ntransfer-encoding: chunked") {
        // Between the last chunk, which is empty, and the end there may be trailers.
        let last = format!("\r\n{body}").find("\r\n0\r\n")?;
        let end = body[last + 1..].find("\r\n\r\n")?;
        return Some(body_at + last + 1 + end + 4);
    }
    let length = head
        .split_once("\r\ncontent-length: ")
        .map_or("0", |(_, rest)| rest);
    let length: usize = length.split("\r\n").next()?.parse().ok()?;
    (body.len() >= length).then_some(body_at + length)
}

impl Cluster for Function {
    async fn scale(&self, entrypoint: &Arc<Entrypoint>) {
        let replicas = entrypoint.replicas();
        loop {
            let mut instances = self.instances.lock().unwrap();
            let length = instances.len() as u32;
            if length < replicas {
                let number = self.boots.fetch_add(1, Ordering::Relaxed);
                instances.push(number);
                drop(instances);
                let id = entrypoint.seen(&number.to_string(), &format!("i{number}"), false, 0);
                entrypoint.scheduled(id);
                entrypoint.located(id, self.address.into());
            } else if length > replicas {
                let number = instances.remove(0);
                drop(instances);
                entrypoint.gone(&number.to_string());
            } else {
                break;
            }
        }
        entrypoint.scaled(Some(replicas));
    }

    async fn mark(&self, entrypoint: &Arc<Entrypoint>, instances: Vec<(Mark, String)>) {
        let marks: Vec<_> = instances.into_iter().map(|(mark, _)| mark).collect();
        entrypoint.marked(&marks);
    }

    fn freeze(&self, entrypoint: &Arc<Entrypoint>, id: InstanceId, _: &str) {
        entrypoint.frozen(id);
    }

    fn thaw(&self, entrypoint: &Arc<Entrypoint>, id: InstanceId, _: &str) {
        entrypoint.thawed(id);
    }

    async fn release(&self, _: &Arc<Entrypoint>, _: String) {}

    fn report(&self, _: &Arc<Entrypoint>, _: &BootReport) {}
}
