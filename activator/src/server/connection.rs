//! One connection of a client, from its first byte to its close.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use hyper::{
    body::Body,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Door, Server,
    connections::Place,
    farewell,
    http2::RESET_UNACCEPTED,
    io::Io,
    phase::{ExchangeBody, Phase},
    streams::{Pieces, Streams},
    version::{self, NoBeginning, Version},
};
use crate::{
    proxy::{self, Arrival, Peer, answer::Failure, form},
    settings::Edge,
};

/// A connection that has to make room and is idle ends after this long, whether the client agrees or not.
const LEAVES: Duration = Duration::from_secs(2);
/// A peer that is gone without a word is noticed within the sum of these.
const PING_EVERY: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(20);
/// Streams that h2 resets because a client does wrong, in the life of a connection.
const RESET_FOR_ERRORS: usize = 256;
/// The most fields of a head; that of hyper for HTTP/1, where another one would cost an allocation a request.
const FIELDS: usize = 100;
/// What a field takes besides its bytes (RFC 9113 §6.5.2).
const FIELD: usize = 32;

/// hyper's settings for each version.
#[derive(Debug)]
pub(super) struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<Streams>,
}

impl Protocols {
    pub(super) fn new(settings: &Edge) -> Self {
        let mut http1 = http1::Builder::new();
        // The clock of heads is ours: hyper's starts when the last answer ends, and says nothing to the client.
        http1.header_read_timeout(None);
        http1.max_header_size(settings.max_header_bytes);
        let mut http2 = http2::Builder::new(Streams {
            patience: *settings.write_timeout,
        });
        // Above its limit h2 answers 431 without a word of ours: up to twice ours the words are there.
        let most = settings.max_header_bytes.saturating_mul(2);
        http2
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PONG_WITHIN)
            .max_header_list_size(u32::try_from(most).unwrap_or(u32::MAX))
            .max_concurrent_streams(settings.max_streams)
            .max_pending_accept_reset_streams(RESET_UNACCEPTED)
            .max_local_error_reset_streams(RESET_FOR_ERRORS);
        Self { http1, http2 }
    }
}

/// What requests need to know of their connection.
#[derive(Clone, Debug)]
pub(super) struct ClientConnection {
    pub(super) server: Arc<Server>,
    pub(super) peer: Peer,
    pub(super) door: Door,
    pub(super) phase: Arc<Phase>,
    pub(super) stop: CancellationToken,
}

impl ClientConnection {
    /// Answers requests until either side has enough.
    pub(super) async fn serve(self, mut stream: TcpStream, place: Place) {
        let patience = *self.server.settings.header_timeout;
        let beginning = tokio::select! {
            // What has come already is answered, also when the stop comes with it.
            biased;
            beginning = version::detect(&mut stream, patience) => beginning,
            () = self.phase.close.cancelled() => return,
        };
        let beginning = match beginning {
            Ok(beginning) => beginning,
            Err(NoBeginning::Silent) => return,
            Err(NoBeginning::Slow) => {
                let late = farewell::LATE_HEAD;
                self.server.proxy.metrics.rejected(None, late.code());
                return farewell::say(stream, farewell::http1(&late)).await;
            }
        };
        let version = beginning.version;
        let io = TokioIo::new(Io::new(stream, place, beginning, self.server.clone()));
        // Shared: a clone of its token takes a lock that all connections have in common.
        let connection = Arc::new(self.clone());
        let service = service_fn(move |request| {
            let connection = connection.clone();
            let arrival = Box::new(Arrival::from(request));
            async move { Ok::<_, Infallible>(connection.answer(arrival).await) }
        });
        let protocols = &self.server.protocols;
        match version {
            Version::Http1 => {
                let hyper = protocols.http1.serve_connection(io, service);
                let hyper = Box::pin(hyper.with_upgrades());
                self.drive(hyper, |hyper| hyper.graceful_shutdown()).await;
            }
            Version::Http2 => {
                let hyper = Box::pin(protocols.http2.serve_connection(io, service));
                self.drive(hyper, |hyper| hyper.graceful_shutdown()).await;
            }
        }
    }

    /// Runs the connection. Told to close, it finishes its requests. It has a box, since a task is as large as the largest that it may ever
    /// hold: twice a connection of HTTP/2, and ten thousand of HTTP/1 would pay for it.
    async fn drive<C>(&self, mut hyper: Pin<Box<C>>, close: impl FnOnce(Pin<&mut C>))
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let ended = tokio::select! {
            // Once the connection is told to close, hyper goes first: what has come already is answered.
            biased;
            ended = hyper.as_mut() => Some(ended),
            () = self.phase.close.cancelled() => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                close(hyper.as_mut());
                self.leave(hyper.as_mut()).await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended");
        }
    }

    async fn leave<C>(&self, mut hyper: Pin<&mut C>) -> hyper::Result<()>
    where
        C: Future<Output = hyper::Result<()>>,
    {
        if self.stop.is_cancelled() {
            return hyper.await;
        }
        loop {
            tokio::select! {
                ended = hyper.as_mut() => return ended,
                () = sleep(LEAVES) => if self.phase.is_idle() {
                    return Ok(());
                }
            }
        }
    }

    async fn answer(&self, mut arrival: Box<Arrival>) -> Response<ExchangeBody<proxy::Body>> {
        let exchange = self.phase.begin(!arrival.body.is_end_stream());
        let is_http1 = arrival.parts.version < http::Version::HTTP_2;
        arrival.line = is_http1.then(|| exchange.line());
        let server = &self.server;
        let mut answer =
            if !is_http1 && is_too_large(&arrival.parts, server.settings.max_header_bytes) {
                let failure = Failure::HeadersTooLarge;
                server
                    .proxy
                    .refuse_unrouted(&failure, &arrival.parts.headers)
            } else {
                server.proxy.serve(arrival, &self.peer, self.door).await
            };
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.phase.becomes_tunnel();
        } else if is_http1 && server.health.is_draining.load(Ordering::Relaxed) {
            // The next request of this client finds another replica.
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(header::CONNECTION, close);
        }
        // A connection of HTTP/1 has the clock of its socket, and who calls over gRPC may let a stream of messages wait for as long as the
        // function lets it.
        let is_watched = !is_http1 && !form::is_grpc(answer.headers());
        let pieces = is_watched.then(Pieces::here).flatten();
        answer.map(|body| exchange.until_the_end_of(body, pieces))
    }
}

/// As HTTP/2 counts the size of a head.
fn is_too_large(parts: &Parts, most: usize) -> bool {
    let (headers, uri) = (&parts.headers, &parts.uri);
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let host = uri.authority().map_or(0, |host| host.as_str().len());
    let sizes = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD);
    headers.len() > FIELDS || path + host + sizes.sum::<usize>() > most
}
