//! The function that stories and benchmarks call: one small static program that says who answered, how often it was invoked, and
//! whether two invocations were ever inside at once.
//!
//! Query: `sleep=200ms` works that long first · `status=503` · `body=BYTES` answers that many zeros · `echo` tells what arrived ·
//! `exit=3` ends the process in the middle of the invocation · `get=HOST/PATH` answers what `http://HOST/PATH` answers.
//!
//! Environment: `PORT` · `FIXTURE_CONCURRENCY=N` lets N in at once (1) · `FIXTURE_START_DELAY=2s` · `FIXTURE_LISTEN=never` ·
//! `FIXTURE_EXIT=3` ends at the start.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    env,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{
    body::Incoming, client::conn::http1 as client, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
};

/// A file that a story expects to find again for as long as the instance lives.
const FILE: &str = "/tmp/thaw-fixture";
/// The largest `body=`.
const LARGEST_BODY: usize = 64 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    // Before anything else: as process 1 it has no default action for SIGTERM, and an ignored one holds the pod for its grace period.
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = tokio::select! {
        listening = listen() => listening?,
        _ = terminate.recv() => return Ok(()),
    };
    let instance = Arc::new(Instance::new()?);
    loop {
        tokio::select! {
            accepted = listener.accept() => drop(tokio::spawn(converse(accepted?.0, instance.clone()))),
            _ = terminate.recv() => break,
        }
    }
    drop(listener);
    instance.finished().await;
    Ok(())
}

async fn listen() -> anyhow::Result<TcpListener> {
    if let Some(code) = setting::<i32>("FIXTURE_EXIT")? {
        eprintln!("fixture: exiting with {code}, as FIXTURE_EXIT says");
        std::process::exit(code);
    }
    if let Ok(delay) = env::var("FIXTURE_START_DELAY") {
        tokio::time::sleep(humantime::parse_duration(&delay)?).await;
    }
    if env::var("FIXTURE_LISTEN").is_ok_and(|listen| listen == "never") {
        return std::future::pending().await;
    }
    let port = setting("PORT")?.unwrap_or(8080);
    Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?)
}

async fn converse(stream: TcpStream, instance: Arc<Instance>) {
    let service = service_fn(|request| {
        let instance = instance.clone();
        async move { Ok::<_, Infallible>(instance.invoke(request).await) }
    });
    // A caller that goes away ends its connection and nothing else.
    drop(
        http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}

fn setting<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    name: &str,
) -> anyhow::Result<Option<T>> {
    Ok(env::var(name).ok().map(|text| text.parse()).transpose()?)
}

/// This process, and what it remembers between invocations.
struct Instance {
    entrypoint: String,
    name: String,
    /// Invocations that may be inside at once.
    concurrency: usize,
    running: AtomicUsize,
    invocations: AtomicU64,
    overlaps: AtomicU64,
}

impl Instance {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            entrypoint: env::var("THAW_ENTRYPOINT").unwrap_or_default(),
            name: std::fs::read_to_string("/proc/sys/kernel/hostname")?
                .trim()
                .to_owned(),
            concurrency: setting("FIXTURE_CONCURRENCY")?.unwrap_or(1),
            running: AtomicUsize::new(0),
            invocations: AtomicU64::new(0),
            overlaps: AtomicU64::new(0),
        })
    }

    async fn invoke(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let inside = Inside::enter(self);
        self.answer(request, inside.nth)
            .await
            .unwrap_or_else(|error| {
                let said = json!({"error": "fixture", "detail": format!("{error:#}")});
                respond(StatusCode::BAD_REQUEST, &said)
            })
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        nth: usize,
    ) -> anyhow::Result<Response<Full<Bytes>>> {
        let invocation = self.invocations.fetch_add(1, Ordering::Relaxed) + 1;
        let mut said = json!({
            "entrypoint": self.entrypoint,
            "instance": self.name,
            "invocation": invocation,
            "file": count_in_file(),
            "path": request.uri().path(),
        });
        if nth > self.concurrency {
            self.overlaps.fetch_add(1, Ordering::Relaxed);
            said["error"] = "overlap".into();
            said["overlaps"] = self.overlaps.load(Ordering::Relaxed).into();
            return Ok(respond(StatusCode::INTERNAL_SERVER_ERROR, &said));
        }
        let query = request.uri().query().unwrap_or_default().to_owned();
        let asked: BTreeMap<&str, &str> = query
            .split('&')
            .map(|part| part.split_once('=').unwrap_or((part, "")))
            .collect();

        let headers = headers_of(&request);
        let received = request.into_body().collect().await?.to_bytes();
        if asked.contains_key("echo") {
            said["headers"] = headers;
            said["bodyBytes"] = received.len().into();
        }
        if let Some(time) = asked.get("sleep") {
            tokio::time::sleep(humantime::parse_duration(time)?).await;
        }
        if let Some(url) = asked.get("get") {
            return get(url).await;
        }
        if let Some(code) = asked.get("exit") {
            std::process::exit(code.parse()?);
        }
        let status = asked
            .get("status")
            .map_or(Ok(StatusCode::OK), |status| status.parse())?;
        said["overlaps"] = self.overlaps.load(Ordering::Relaxed).into();
        if let Some(length) = asked.get("body") {
            let length = length.parse::<usize>()?.min(LARGEST_BODY);
            let mut answer = Response::new(Full::new(Bytes::from(vec![0; length])));
            *answer.status_mut() = status;
            return Ok(answer);
        }
        Ok(respond(status, &said))
    }

    async fn finished(&self) {
        while self.running.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Calls somebody else, as functions do.
async fn get(url: &str) -> anyhow::Result<Response<Full<Bytes>>> {
    let (host, path) = url.split_once('/').unwrap_or((url, ""));
    let stream = TcpStream::connect((host, 80)).await?;
    let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(format!("/{path}")).header(header::HOST, host);
    let answer = sender.send_request(request.body(Empty::<Bytes>::new())?);
    let (head, body) = answer.await?.into_parts();
    let body = body.collect().await?.to_bytes();
    connection.abort();
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = head.status;
    Ok(answer)
}

/// One invocation that is inside.
struct Inside<'a> {
    instance: &'a Instance,
    /// How many were inside with it when it came, itself included.
    nth: usize,
}

impl<'a> Inside<'a> {
    fn enter(instance: &'a Instance) -> Self {
        let nth = instance.running.fetch_add(1, Ordering::Relaxed) + 1;
        Self { instance, nth }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.instance.running.fetch_sub(1, Ordering::Relaxed);
    }
}

fn respond(status: StatusCode, said: &Value) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{said}\n"))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    answer
}

/// Every value of a header in one line, so that a story sees those that came twice.
fn headers_of(request: &Request<Incoming>) -> Value {
    let mut headers = BTreeMap::<&str, Vec<_>>::new();
    for (name, value) in request.headers() {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.entry(name.as_str()).or_default().push(value);
    }
    headers
        .into_iter()
        .map(|(name, values)| (name.to_owned(), Value::from(values.join(", "))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Counts in a file, which the next invocation finds only on the same instance. `null` where files cannot be written.
fn count_in_file() -> Value {
    let count = std::fs::read_to_string(FILE)
        .ok()
        .and_then(|text| text.parse::<u64>().ok())
        .unwrap_or(0)
        + 1;
    std::fs::write(FILE, count.to_string()).map_or(Value::Null, |()| count.into())
}
