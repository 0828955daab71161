//! Instances that speak something else than HTTP/1.1.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{SinkExt, channel::mpsc};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use super::{Body, Process, whole};

impl Process {
    /// Switches to a protocol that returns every byte, and says good bye when the other side has nothing more to say.
    pub(super) async fn switch(self: Arc<Self>, mut stream: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.contains("upgrade: echo\r\n"), "{head}");
        let id = head
            .lines()
            .find_map(|line| line.strip_prefix("x-request-id: "));
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", HeaderValue::from_str(id.unwrap()).unwrap());
        let inside = self.enter(&headers).expect("no overlap");
        let query = head
            .split([' ', '?'])
            .find_map(|part| part.strip_prefix("sleep="));
        let pause = query.map_or(0, |pause| pause.parse().unwrap());
        sleep(Duration::from_millis(pause)).await;
        let accept = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\ninstance: {}\r\n\r\n",
            self.name
        );
        if stream.write_all(accept.as_bytes()).await.is_err() {
            return;
        }
        let (mut from, mut to) = stream.split();
        tokio::select! {
            copied = tokio::io::copy(&mut from, &mut to) => drop(copied),
            () = self.crashed.cancelled() => return,
        }
        // The work is done; what is said now is for whoever listens.
        drop(inside);
        stream.write_all(b"bye").await.ok();
        stream.shutdown().await.ok();
    }

    /// Says one thing after the other, whatever it is asked.
    pub(super) async fn speak(self: Arc<Self>, mut stream: TcpStream, words: &[&str]) {
        let mut read = Vec::new();
        while let Ok(1..) = stream.read_buf(&mut read).await {
            if !read.windows(4).any(|end| end == b"\r\n\r\n") {
                continue;
            }
            read.clear();
            for (number, word) in words.iter().enumerate() {
                if number > 0 {
                    self.journal.pass(&number.to_string()).await;
                }
                if stream.write_all(word.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Takes a request of HTTP/2, or as much of it as there is room for, answers with these frames, and says nothing more.
    pub(super) async fn refuse(self: Arc<Self>, mut stream: TcpStream, frames: &[u8]) {
        const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        const END_STREAM: u8 = 1;
        const ROOM: usize = 65_535;
        let mut preface = [0; 24];
        if stream.write_all(&SETTINGS).await.is_err()
            || stream.read_exact(&mut preface).await.is_err()
        {
            return;
        }
        let mut taken = 0;
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                return;
            }
            let [a, b, c, kind, flags, ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            if stream.read_exact(&mut payload).await.is_err() {
                return;
            }
            taken += if kind == 0 { payload.len() } else { 0 };
            if taken == ROOM || kind < 2 && flags & END_STREAM != 0 {
                break;
            }
        }
        stream.write_all(frames).await.ok();
        stream.shutdown().await.ok();
        // What still comes must not cost the other side what was said.
        stream.read_to_end(&mut Vec::new()).await.ok();
    }

    /// HTTP/2 from the first byte on.
    pub(super) async fn converse_http2(self: Arc<Self>, stream: TcpStream) {
        let process = self.clone();
        let service = service_fn(move |request| {
            let process = process.clone();
            Box::pin(async move {
                Ok(match request.uri().path() {
                    "/call" => process.call(request).await,
                    _ => process.answer(request).await?,
                })
            }) as Pin<Box<dyn Future<Output = std::io::Result<Response<Body>>> + Send>>
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            ended = connection => drop(ended),
            () = self.crashed.cancelled() => {}
            () = self.leaving.cancelled() => {}
        }
    }

    /// What a gRPC server does: each message comes back before the next, and the status is in the trailers. `?fails`: there is nothing else.
    async fn call(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let inside = self.enter(request.headers()).expect("no overlap");
        let te = request.headers().get("te").cloned();
        let answer = Response::builder()
            .header("content-type", "application/grpc")
            .header("instance", &self.name)
            .header("te-seen", te.unwrap_or(HeaderValue::from_static("")));
        if request.uri().query() == Some("fails") {
            return answer.header("grpc-status", "5").body(whole("")).unwrap();
        }
        let (mut to, from) = mpsc::channel(0);
        tokio::spawn(async move {
            let mut messages = request.into_body();
            while let Some(frame) = messages.frame().await {
                // A client that has left; the work ends with it.
                let Ok(frame) = frame else { return };
                to.send(Ok(frame)).await.ok();
            }
            drop(inside);
            let status =
                HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
            to.send(Ok(Frame::trailers(status))).await.ok();
        });
        answer.body(BodyExt::boxed(StreamBody::new(from))).unwrap()
    }
}
