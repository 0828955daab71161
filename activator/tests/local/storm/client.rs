//! A client in the storm: what it asks for, when it leaves, and what each request came to.

use std::{fmt, io, time::Duration};

use futures::{SinkExt, channel::mpsc};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Bytes, Frame, Incoming},
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::support::LONG;

type Body = BoxBody<Bytes, io::Error>;

/// What one request came to.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) id: u64,
    pub(super) end: End,
    /// The function was told to crash before it ends its answer.
    pub(super) kills: bool,
}

#[derive(Debug)]
pub(super) enum End {
    /// By the function, to the end.
    Answered { instance: String, was_frozen: bool },
    /// Thaw's error code, or `cut` in the middle of the answer.
    Failed(String),
    /// The client did not wait for the end.
    Left,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answered { was_frozen, .. } if *was_frozen => "thawed",
            Self::Answered { .. } => "answered",
            Self::Failed(code) => code,
            Self::Left => "left",
        })
    }
}

/// One connection, as long as it lasts.
#[derive(Debug)]
pub(super) struct Client {
    port: u16,
    dice: Dice,
    connection: Option<Connection>,
}

impl Client {
    pub(super) fn new(port: u16, number: u64) -> Self {
        Self {
            port,
            dice: Dice(number),
            connection: None,
        }
    }

    /// Sends one request, and waits a moment now and then.
    pub(super) async fn request(&mut self, id: u64) -> Outcome {
        let kept = self.connection.take();
        let kept = kept.filter(|kept| !kept.sender.is_closed());
        let mut connection = match kept {
            Some(kept) => kept,
            None => Connection::open(self.port).await,
        };
        let kind = self.dice.roll(200);
        let request = self.of_kind(kind, id);
        let asked = request.uri().clone();
        let patience = Duration::from_millis(self.dice.roll(12));
        let asking = async {
            match kind {
                152..160 => connection.leave_before_the_answer(request, patience).await,
                160..168 => connection.leave_in_the_answer(request).await,
                168..172 => connection.leave_in_the_upload(request, patience).await,
                _ => connection.ask(request).await,
            }
        };
        let end = timeout(LONG, asking).await;
        let end = end.unwrap_or_else(|_| panic!("{asked} was lost: it hangs"));
        if matches!(end, End::Answered { .. }) {
            self.connection = Some(connection);
        }
        if self.dice.roll(10) == 0 {
            sleep(Duration::from_millis(self.dice.roll(30))).await;
        }
        Outcome {
            id,
            end,
            kills: kind >= 198,
        }
    }

    fn of_kind(&mut self, kind: u64, id: u64) -> Request<Body> {
        let entrypoint = ["freezes", "never"][self.dice.roll(2) as usize];
        let (pause, size) = (self.dice.roll(4), self.dice.roll(20_000));
        let behaviour = match kind {
            0..100 => String::new(),
            100..124 => format!("&sleep={pause}"),
            124..140 => format!("&size={size}"),
            152..160 => format!("&sleep={}", pause * 4),
            140..152 | 160..168 => format!("&pieces=3&size={size}&pause={pause}"),
            197 => format!("&die=after&pause={pause}"),
            198 => format!("&die=head&sleep={pause}"),
            199 => format!("&die=body&pieces=3&size={size}"),
            _ => String::new(),
        };
        let upload = match kind {
            168..197 => size as usize,
            _ => 0,
        };
        let request = Request::builder()
            .method(if upload == 0 { "GET" } else { "POST" })
            .uri(format!("/{entrypoint}?id={id}{behaviour}"))
            .header("host", "localhost");
        let body = Full::new(vec![b'x'; upload].into());
        request
            .body(body.map_err(|never| match never {}).boxed())
            .unwrap()
    }
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Body>,
    task: JoinHandle<()>,
}

impl Connection {
    async fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        let task = tokio::spawn(async move {
            connection.await.ok();
        });
        Self { sender, task }
    }

    async fn send(&mut self, request: Request<Body>) -> Response<Incoming> {
        let sent = self.sender.send_request(request).await;
        sent.expect("every request has an answer")
    }

    async fn ask(&mut self, request: Request<Body>) -> End {
        let upload = http_body::Body::size_hint(request.body()).exact();
        let response = self.send(request).await;
        let (head, body) = response.into_parts();
        let header = |name| {
            let value = head.headers.get(name);
            value.map_or("", |value| value.to_str().unwrap()).to_owned()
        };
        if body.collect().await.is_err() {
            return End::Failed("cut".to_owned());
        }
        if head.status != 200 {
            return End::Failed(header("thaw-error"));
        }
        assert_eq!(header("received").parse().ok(), upload);
        End::Answered {
            instance: header("instance"),
            was_frozen: header("thaw-boot") == "thawed",
        }
    }

    /// Perhaps while it waits for an instance.
    async fn leave_before_the_answer(&mut self, request: Request<Body>, patience: Duration) -> End {
        timeout(patience, self.sender.send_request(request))
            .await
            .ok();
        End::Left
    }

    async fn leave_in_the_answer(&mut self, request: Request<Body>) -> End {
        self.send(request).await.body_mut().frame().await;
        End::Left
    }

    async fn leave_in_the_upload(&mut self, request: Request<Body>, patience: Duration) -> End {
        let (mut upload, body) = mpsc::channel(0);
        let request = request.map(|_| BodyExt::boxed(StreamBody::new(body)));
        let (mut head, body) = request.into_parts();
        head.headers.insert("content-length", 1000.into());
        let feeding = async {
            upload.send(Ok(Frame::data("half".into()))).await.ok();
            sleep(patience).await;
        };
        tokio::select! {
            _ = self.sender.send_request(Request::from_parts(head, body)) => {}
            () = feeding => {}
        }
        End::Left
    }
}

/// Dropped, it breaks at once.
impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Numbers that are the same in every run (SplitMix64).
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    /// 0 up to `sides`, without it.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }
}
