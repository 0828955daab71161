//! Clients: one that speaks HTTP, and one that sends what it is told.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use futures::channel::mpsc;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Bytes, Frame, Incoming},
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

use super::{HOST, soon};

/// What a client sends.
pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// One connection. Dropped, it breaks at once.
#[derive(Debug)]
pub(crate) struct Client {
    sender: SendRequest<Body>,
    connection: JoinHandle<()>,
}

impl Client {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(async move {
            connection.await.ok();
        });
        Self { sender, connection }
    }

    /// The head of the answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> hyper::Result<Response<Incoming>> {
        soon("the connection is free", self.sender.ready()).await?;
        soon("the head of an answer", self.sender.send_request(request)).await
    }

    /// The whole answer.
    pub(crate) async fn ask(&mut self, request: Request<Body>) -> Answer {
        let response = self.send(request).await.unwrap();
        Answer::read(response).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.ask(get(path)).await
    }

    /// Waits until the other side closes the connection.
    pub(crate) async fn closed(mut self) {
        soon("the connection is closed", &mut self.connection)
            .await
            .unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// A request for the function `shop`, with an id of its own.
pub(crate) fn request(method: &str, path: &str, body: Body) -> Request<Body> {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let id = format!("test-{}", LAST.fetch_add(1, Ordering::Relaxed));
    let request = Request::builder().method(method).uri(path);
    let request = request.header("host", HOST).header("x-request-id", id);
    request.body(body).unwrap()
}

pub(crate) fn get(path: &str) -> Request<Body> {
    request("GET", path, whole(""))
}

/// A body of known length.
pub(crate) fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into())
        .map_err(|never| match never {})
        .boxed()
}

/// A chunked body, fed through the sender.
pub(crate) fn pieces() -> (mpsc::Sender<io::Result<Frame<Bytes>>>, Body) {
    let (to, from) = mpsc::channel(0);
    (to, BodyExt::boxed(StreamBody::new(from)))
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    /// The body ended as it should.
    pub(crate) is_whole: bool,
}

impl Answer {
    pub(crate) async fn read(response: Response<Incoming>) -> Self {
        let (head, mut body) = response.into_parts();
        let (mut read, mut trailers, mut is_whole) = (Vec::new(), None, true);
        while let Some(frame) = soon("the next piece", body.frame()).await {
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => read.extend_from_slice(&data),
                Ok(Err(frame)) => trailers = frame.into_trailers().ok(),
                Err(_) => {
                    is_whole = false;
                    break;
                }
            }
        }
        Self {
            status: head.status,
            headers: head.headers,
            body: read.into(),
            trailers,
            is_whole,
        }
    }

    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Checks that the function answered, and says which instance.
    #[track_caller]
    pub(crate) fn instance(&self) -> &str {
        assert_eq!(self.status, 200, "{self:?}");
        assert!(self.is_whole, "{self:?}");
        assert_eq!(self.header("thaw-error"), "", "{self:?}");
        self.header("instance")
    }

    /// Checks that this is Thaw's own answer with this status and code.
    #[track_caller]
    pub(crate) fn is_error(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status.as_u16(), self.header("thaw-error")),
            (status, code),
            "{self:?}"
        );
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["code"], code);
        assert_eq!(problem["requestId"], self.header("x-request-id"));
    }
}

/// A client that sends bytes.
#[derive(Debug)]
pub(crate) struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Raw {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub(crate) async fn write(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Bytes that are no text. Whether they were taken: the other side may be gone.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        soon("bytes are taken", self.stream.write_all(bytes))
            .await
            .is_ok()
    }

    /// Whether not a byte has come yet.
    pub(crate) fn heard_nothing(&self) -> bool {
        let mut byte = [0];
        self.read.is_empty() && self.stream.try_read(&mut byte).is_err()
    }

    /// Everything up to and including this text.
    pub(crate) async fn read_until(&mut self, end: &str) -> String {
        loop {
            let read = self
                .read
                .windows(end.len())
                .position(|part| part == end.as_bytes());
            if let Some(at) = read {
                let rest = self.read.split_off(at + end.len());
                return String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap();
            }
            let reading = self.stream.read_buf(&mut self.read);
            let length = soon("more bytes", reading).await.unwrap();
            let read = String::from_utf8_lossy(&self.read);
            assert_ne!(length, 0, "closed before {end:?}, after {read:?}");
        }
    }

    /// The next HTTP/2 frame: its kind and its payload.
    pub(crate) async fn frame(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let [a, b, c, kind, ..] = self.read[..] {
                let end = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
                if self.read.len() >= end {
                    let rest = self.read.split_off(end);
                    let frame = std::mem::replace(&mut self.read, rest);
                    return (kind, frame[9..].to_vec());
                }
            }
            let reading = self.stream.read_buf(&mut self.read);
            assert_ne!(soon("a frame", reading).await.unwrap(), 0, "closed");
        }
    }

    pub(crate) async fn head(&mut self) -> String {
        self.read_until("\r\n\r\n").await
    }

    /// Waits until the other side closes, without a word.
    pub(crate) async fn closed(&mut self) {
        let reading = self.stream.read_buf(&mut self.read);
        let length = soon("the connection is closed", reading).await.unwrap_or(0);
        assert_eq!(length, 0, "closed with words");
    }

    /// Says that nothing more comes, and goes on listening.
    pub(crate) async fn end(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Sends all of this and then nothing more, and returns what came until the connection was closed.
    pub(crate) async fn exchange(self, bytes: &[u8]) -> Vec<u8> {
        let (mut from, mut to) = self.stream.into_split();
        let mut received = self.read;
        let sending = async {
            to.write_all(bytes).await.unwrap();
            to.shutdown().await.unwrap();
        };
        let both = futures::future::join(sending, from.read_to_end(&mut received));
        soon("all is exchanged", both).await.1.unwrap();
        received
    }

    /// Everything until the connection is closed.
    pub(crate) async fn rest(self) -> String {
        String::from_utf8_lossy(&self.rest_of_bytes().await).into_owned()
    }

    /// The same, of a protocol that is no text.
    pub(crate) async fn rest_of_bytes(mut self) -> Vec<u8> {
        let reading = self.stream.read_to_end(&mut self.read);
        // A reset ends it as well.
        soon("the connection is closed", reading).await.ok();
        self.read
    }
}
