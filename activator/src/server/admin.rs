//! What probes and scrapes ask for.

use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Health, accept};
use crate::{entrypoints::Entrypoints, metrics::Metrics};

/// A probe or a scraper that keeps its connection asks again before.
const IDLE: Duration = Duration::from_secs(180);

/// Answers `/livez`, `/readyz` and `/metrics` for ever.
pub async fn admin(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    entrypoints: Arc<Entrypoints>,
    health: Arc<Health>,
) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(IDLE);
    let never = CancellationToken::new();
    while let Some((stream, _)) = accept::next(&listener, &never).await {
        let (metrics, entrypoints, health) = (metrics.clone(), entrypoints.clone(), health.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let answer = answer(request.uri().path(), &metrics, &entrypoints, &health);
            async move { Ok::<_, Infallible>(answer) }
        });
        let connection = server.serve_connection(TokioIo::new(stream), service);
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
