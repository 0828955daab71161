//! `/livez`, `/readyz` and `/metrics`.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{encoding::text, registry::Registry};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::timeout,
};
use tracing::{debug, warn};

use crate::leader::fence::Moment;

/// Connections at once. More wait: who asks is the kubelet and a Prometheus or two.
const CONNECTIONS: usize = 32;
/// Longest life of a connection, so that none is held for ever.
const CONNECTION: Duration = Duration::from_secs(60);
const TEXT: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether the operator works.
#[derive(Clone, Debug)]
pub struct Health {
    synced: Arc<AtomicBool>,
    renewed: watch::Receiver<Option<Moment>>,
    expiry: Duration,
}

impl Health {
    /// Of an operator that leads while `renewed` is younger than `expiry`.
    pub fn new(renewed: watch::Receiver<Option<Moment>>, expiry: Duration) -> Self {
        Self {
            synced: Arc::default(),
            renewed,
            expiry,
        }
    }

    /// The caches hold everything.
    pub fn set_synced(&self) {
        self.synced.store(true, Ordering::Relaxed);
    }

    /// A standby is ready: a roll would wait for ever for one that can only lead once the old one has gone.
    fn is_ready(&self) -> bool {
        self.renewed.borrow().is_none() || self.synced.load(Ordering::Relaxed)
    }

    /// A leader whose Lease expired should have ended; if it hangs, the kubelet ends it.
    fn is_live(&self) -> bool {
        let renewed = *self.renewed.borrow();
        renewed.is_none_or(|renewed| renewed.elapsed() < self.expiry)
    }
}

/// What is served.
pub struct Admin {
    listener: TcpListener,
    health: Health,
    registry: Registry,
}

impl Admin {
    /// Listens at `address`.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn bind(address: SocketAddr, health: Health, registry: Registry) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self {
            listener,
            health,
            registry,
        })
    }

    /// Serves for ever; ends its connections when dropped.
    pub async fn serve(self) -> Infallible {
        let Self {
            listener,
            health,
            registry,
        } = self;
        let served = Arc::new((health, registry));
        let free = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let permit = free.clone().acquire_owned().await;
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, _)) => {
                    let served = served.clone();
                    connections.spawn(async move {
                        connection(stream, &served).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    warn!(%error, "connection not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, served: &(Health, Registry)) {
    let (health, registry) = served;
    let respond = service_fn(|request: Request<Incoming>| async move {
        Ok::<_, Infallible>(answer(request.uri().path(), health, registry))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .serve_connection(TokioIo::new(stream), respond);
    if let Ok(Err(error)) = timeout(CONNECTION, connection).await {
        debug!(%error, "connection failed");
    }
}

fn answer(path: &str, health: &Health, registry: &Registry) -> Response<Full<Bytes>> {
    let probe = |is_fine: bool, otherwise: &'static str| match is_fine {
        true => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        false => (StatusCode::SERVICE_UNAVAILABLE, TEXT, otherwise.to_owned()),
    };
    let (status, kind, body) = match path {
        "/livez" => probe(health.is_live(), "the lease expired\n"),
        "/readyz" => probe(health.is_ready(), "the caches are not filled yet\n"),
        "/metrics" => {
            let mut body = String::new();
            match text::encode(&mut body, registry) {
                Ok(()) => (StatusCode::OK, OPEN_METRICS, body),
                Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, String::new()),
            }
        }
        _ => (StatusCode::NOT_FOUND, TEXT, String::new()),
    };
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_standby_is_ready_and_a_leader_that_lost_its_lease_is_not_live() {
        let renewed = watch::Sender::new(None);
        let health = Health::new(renewed.subscribe(), Duration::from_secs(15));
        let status = |path: &str| answer(path, &health, &Registry::default()).status();
        assert_eq!(
            (status("/livez"), status("/readyz")),
            (StatusCode::OK, StatusCode::OK)
        );

        renewed.send_replace(Some(Moment::now()));
        assert_eq!(status("/readyz"), StatusCode::SERVICE_UNAVAILABLE);
        health.set_synced();
        assert_eq!(
            (status("/livez"), status("/readyz")),
            (StatusCode::OK, StatusCode::OK)
        );

        tokio::time::advance(Duration::from_secs(15)).await;
        assert_eq!(status("/livez"), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status("/elsewhere"), StatusCode::NOT_FOUND);
    }
}
