//! Sockets: requests come in on one, probes and scrapes on another.

use std::{
    convert::Infallible,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{entrypoints::Entrypoints, metrics::Metrics, proxy::Proxy};

/// A connection may be idle this long, and a head may take this long. Longer than ingress controllers keep theirs (nginx 60 s, Traefik 90 s):
/// a request that crosses our close on the wire would be lost.
const IDLE: Duration = Duration::from_secs(180);
/// Pause after a failed accept: out of file descriptors it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the probes ask for.
#[derive(Debug, Default)]
pub struct Health {
    /// Every watch has listed once.
    pub is_synced: AtomicBool,
    /// SIGTERM came.
    pub is_draining: AtomicBool,
}

/// Accepts requests until `stop`, and then waits for those that were accepted.
pub async fn serve(
    listener: TcpListener,
    proxy: Arc<Proxy>,
    health: Arc<Health>,
    stop: CancellationToken,
) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE);
    server.http2().timer(TokioTimer::new());
    let open = GracefulShutdown::new();
    while let Some((stream, peer)) = accept(&listener, &stop).await {
        let (proxy, health) = (proxy.clone(), health.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (proxy, health) = (proxy.clone(), health.clone());
            async move {
                let is_http1 = request.version() < http::Version::HTTP_2;
                let mut answer = proxy.serve(request, peer).await;
                let switches = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
                if is_http1 && !switches && health.is_draining.load(Ordering::Relaxed) {
                    // The next request of this client finds another replica.
                    answer
                        .headers_mut()
                        .insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = server
            .serve_connection_with_upgrades(TokioIo::new(stream), service)
            .into_owned();
        let connection = open.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    open.shutdown().await;
}

/// The next connection; `None` after `stop`.
async fn accept(listener: &TcpListener, stop: &CancellationToken) -> Option<(TcpStream, IpAddr)> {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return None,
        };
        match accepted {
            Ok((stream, peer)) => {
                if stream.set_nodelay(true).is_ok() {
                    return Some((stream, peer.ip().to_canonical()));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers `/livez`, `/readyz` and `/metrics` for ever.
pub async fn admin(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    entrypoints: Arc<Entrypoints>,
    health: Arc<Health>,
) {
    let server = auto::Builder::new(TokioExecutor::new());
    let never = CancellationToken::new();
    while let Some((stream, _)) = accept(&listener, &never).await {
        let (metrics, entrypoints, health) = (metrics.clone(), entrypoints.clone(), health.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let answer = answer(request.uri().path(), &metrics, &entrypoints, &health);
            async move { Ok::<_, Infallible>(answer) }
        });
        let connection = server
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        tokio::spawn(async move { connection.await.ok() });
    }
}

fn answer(
    path: &str,
    metrics: &Metrics,
    entrypoints: &Entrypoints,
    health: &Health,
) -> Response<Full<Bytes>> {
    let (status, text) = match path {
        "/livez" => (StatusCode::OK, "ok\n".to_owned()),
        "/readyz" if health.is_draining.load(Ordering::Relaxed) => {
            (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned())
        }
        "/readyz" if !health.is_synced.load(Ordering::Relaxed) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "waiting for the API server\n".to_owned(),
        ),
        "/readyz" => (StatusCode::OK, "ok\n".to_owned()),
        "/metrics" => (StatusCode::OK, metrics.text(entrypoints.all().iter())),
        _ => (
            StatusCode::NOT_FOUND,
            "try /livez, /readyz or /metrics\n".to_owned(),
        ),
    };
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static(if path == "/metrics" {
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    } else {
        "text/plain; charset=utf-8"
    });
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}
