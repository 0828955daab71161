//! The least that a proxy on hyper can do: no routes, no slots, no clocks, no metrics, no headers of its own. What Thaw is measured
//! against. `bare_proxy BACKEND-PORT` listens on `$PORT`.

use std::{
    env,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::{
    body::{Body, Incoming},
    client::conn::http1::{SendRequest, handshake},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

type Idle = Arc<Mutex<Vec<SendRequest<Incoming>>>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let backend: u16 = env::args().nth(1).unwrap_or_default().parse()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, env::var("PORT")?.parse()?)).await?;
    let idle = Idle::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let idle = idle.clone();
        let service = service_fn(move |request| pass(request, backend, idle.clone()));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move { connection.await.ok() });
    }
}

async fn pass(
    request: Request<Incoming>,
    backend: u16,
    idle: Idle,
) -> anyhow::Result<Response<impl Body<Data = Bytes, Error = hyper::Error>>> {
    let kept = idle.lock().expect("nothing panics").pop();
    let mut sender = match kept {
        Some(sender) => sender,
        None => connect(backend).await?,
    };
    sender.ready().await?;
    let answer = sender.send_request(request).await?;
    let lent = Lent(Some(sender), idle);
    Ok(answer.map(|body| {
        body.map_frame(move |frame| {
            let _until_the_end = &lent;
            frame
        })
    }))
}

/// A connection that goes back when the answer's body is dropped.
struct Lent(Option<SendRequest<Incoming>>, Idle);

impl Drop for Lent {
    fn drop(&mut self) {
        let mut idle = self.1.lock().expect("nothing panics");
        idle.extend(self.0.take());
    }
}

async fn connect(backend: u16) -> anyhow::Result<SendRequest<Incoming>> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, backend)).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move { connection.await.ok() });
    Ok(sender)
}
