//! HTTP requests to the ingress controller, each on a connection of its own, with nothing but the Host header to choose a function.

use std::{env, time::Duration};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

/// Above every clock of a function in a story, so that only a lost answer meets it.
const LOST: Duration = Duration::from_secs(300);

/// `HOST:PORT` of the ingress controller: that of e2e/cluster unless `THAW_E2E_INGRESS` (`http://HOST:PORT`) says otherwise.
pub fn address() -> String {
    let url = env::var("THAW_E2E_INGRESS").unwrap_or_else(|_| "http://127.0.0.1:80".to_owned());
    let uri: Uri = url.parse().expect("THAW_E2E_INGRESS is a URL");
    let host = uri.host().expect("THAW_E2E_INGRESS names a host");
    format!("{host}:{}", uri.port_u16().unwrap_or(80))
}

/// A request under construction.
#[derive(Clone, Debug)]
pub struct Call {
    request: Request<Bytes>,
}

impl Call {
    /// `GET path` of `host`.
    pub fn get(host: &str, path: &str) -> Self {
        Self::new(Method::GET, host, path, Bytes::new())
    }

    /// `method path` of `host` with a body.
    pub fn new(method: Method, host: &str, path: &str, body: Bytes) -> Self {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host)
            .body(body)
            .expect("a story writes valid requests");
        Self { request }
    }

    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("a story writes valid headers");
        self.request
            .headers_mut()
            .insert(HeaderName::from_static(name), value);
        self
    }

    /// Sends it to the ingress controller.
    ///
    /// # Errors
    /// When no whole answer comes.
    pub async fn send(self) -> Result<Answer> {
        self.send_to(&address()).await
    }

    /// Sends it to `HOST:PORT`.
    ///
    /// # Errors
    /// When no whole answer comes.
    pub async fn send_to(self, address: &str) -> Result<Answer> {
        let what = format!(
            "{} {} of {:?} from {address}",
            self.request.method(),
            self.request.uri(),
            self.request.headers().get(header::HOST)
        );
        timeout(LOST, exchange(address, self.request))
            .await
            .with_context(|| format!("{what}: no answer in {LOST:?}"))?
            .context(what)
    }
}

async fn exchange(address: &str, request: Request<Bytes>) -> Result<Answer> {
    let begun = Instant::now();
    let stream = TcpStream::connect(address).await.context("connect")?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request.map(Full::new)).await?;
    let first_byte = begun.elapsed();
    let (head, body) = response.into_parts();
    let body = body.collect().await.context("read the answer's body")?;
    let ended = Instant::now();
    connection.abort();
    Ok(Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: body.to_bytes(),
        first_byte,
        ended,
    })
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// From before the connection was opened until the head of the answer was here.
    pub first_byte: Duration,
    /// When the body had come to its end.
    pub ended: Instant,
}

impl Answer {
    /// A header's value, empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Itself, when the function answered 200.
    ///
    /// # Errors
    /// With the whole answer, when it did not.
    pub fn ok(self) -> Result<Self> {
        ensure!(self.status == 200, "{} {}", self.status, self.text());
        Ok(self)
    }

    /// What the fixture said, when it answered 200.
    ///
    /// # Errors
    /// With the whole answer, when it did not.
    pub fn fixture(self) -> Result<Fixture> {
        let answer = self.ok()?;
        serde_json::from_slice(&answer.body).context("the fixture's answer")
    }

    /// The error that Thaw answered.
    ///
    /// # Errors
    /// With the whole answer, when it is none, or its header and body disagree.
    pub fn problem(&self) -> Result<Problem> {
        ensure!(
            self.header("content-type") == "application/problem+json",
            "not an error of Thaw: {} {}",
            self.status,
            self.text()
        );
        let problem: Problem = serde_json::from_slice(&self.body)?;
        ensure!(problem.status == self.status, "{problem:?}");
        ensure!(problem.code == self.header("thaw-error"), "{problem:?}");
        Ok(problem)
    }
}

/// What the fixture says.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fixture {
    /// `THAW_ENTRYPOINT` of the instance.
    pub entrypoint: String,
    /// Name of the pod.
    pub instance: String,
    /// How many invocations the process has seen, this one included.
    pub invocation: u64,
    /// The same, counted in a file.
    pub file: Option<u64>,
    /// How often two were inside at once.
    pub overlaps: u64,
    /// Path that arrived.
    pub path: String,
    /// Headers that arrived, with `?echo`.
    #[serde(default)]
    pub headers: std::collections::BTreeMap<String, String>,
}

/// An error answer of Thaw (RFC 9457).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Status code, again.
    pub status: u16,
    /// What went wrong, for machines.
    pub code: String,
    /// What went wrong, for people.
    pub detail: String,
    /// Name of the Function.
    #[serde(default)]
    pub function: String,
    /// Name of the entrypoint.
    #[serde(default)]
    pub entrypoint: String,
    /// The id that stands in `x-request-id` too.
    #[serde(default)]
    pub request_id: String,
}
