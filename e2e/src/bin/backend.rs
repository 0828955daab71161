//! The function that benchmarks call: as little as a server can do, on one thread, so that it is not what is measured.
//!
//! `/` answers nothing · `/bytes/16384` that many zeros · `/sleep/100` after that many milliseconds · `/read` after the
//! request's body. It listens on `$PORT`.

use std::{convert::Infallible, env, net::Ipv4Addr, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::spawn_blocking};

/// The largest `/bytes/`.
const ZEROS: &[u8] = &[0; 1 << 20];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let port = env::var("PORT").context("PORT is not set")?;
    let port = port.parse().context("PORT is not a port")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::spawn(async move { connection.await.ok() });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let mut words = path.splitn(3, '/').skip(1);
    let what = words.next().unwrap_or_default();
    let amount: Option<usize> = words.next().and_then(|word| word.parse().ok());
    let body = match (what, amount) {
        ("bytes", Some(amount)) => Bytes::from_static(&ZEROS[..amount.min(ZEROS.len())]),
        ("sleep", Some(amount)) => {
            let time = Duration::from_millis(amount.try_into().unwrap_or(u64::MAX));
            // The runtime's timer counts whole milliseconds; the thread sleeps to some microseconds.
            #[expect(clippy::disallowed_methods, reason = "on a thread of its own")]
            let slept = spawn_blocking(move || std::thread::sleep(time)).await;
            slept.expect("to sleep does not panic");
            Bytes::new()
        }
        ("read", _) => {
            // However it ends, it is over.
            request.into_body().collect().await.ok();
            Bytes::new()
        }
        _ => Bytes::new(),
    };
    Ok(Response::new(Full::new(body)))
}
