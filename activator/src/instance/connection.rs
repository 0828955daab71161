//! One connection to an instance, in the protocol that it speaks. A connection carries one request at a time, in HTTP/2 as well: what
//! runs at once is what the slots say.

use std::{io, net::SocketAddr, time::Duration};

use crds::function::Protocol;
use futures::{TryFutureExt, future::Either};
use http::{
    Response, Uri, Version,
    header::{CONNECTION, HOST, TRANSFER_ENCODING, UPGRADE},
    uri::{Authority, Scheme},
};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, time::Instant};

use super::kept::{Kept, Lent, is_unprocessed};
use crate::proxy::upload::{InstanceRequest, RequestBody};

/// One attempt to connect to an instance that boots. A pod address that nobody answers yet drops the first packet silently.
pub(super) const BOOTING: Duration = Duration::from_secs(1);
/// One attempt to connect to an instance that has accepted before. Where many connect at once its backlog runs over and the kernel drops
/// first packets; it sends them again after 1 s and after 3 s (RFC 6298 §2). Within a shorter time an instance that is only busy would
/// be taken for one that is gone.
pub(super) const SERVING: Duration = Duration::from_secs(4);

/// Where an instance listens, and what it speaks there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// IP address and port.
    pub socket: SocketAddr,
    /// What is spoken there.
    pub protocol: Protocol,
}

impl From<SocketAddr> for Address {
    fn from(socket: SocketAddr) -> Self {
        let protocol = Protocol::default();
        Self { socket, protocol }
    }
}

/// A connection that carries nothing, or one request.
#[derive(Debug)]
pub struct Connection {
    sender: Sender,
    idle_since: Instant,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Box<RequestBody>>),
    H2c(http2::SendRequest<Lent>),
}

/// Why a request has no answer.
pub(super) struct Failed {
    pub(super) error: hyper::Error,
    /// The request, if the instance has not begun with it.
    pub(super) request: Option<InstanceRequest>,
}

impl From<TrySendError<InstanceRequest>> for Failed {
    fn from(mut error: TrySendError<InstanceRequest>) -> Self {
        let request = error.take_message();
        let error = error.into_error();
        Self { error, request }
    }
}

impl Connection {
    pub(super) async fn open(address: Address, longest: Duration) -> io::Result<Self> {
        let connecting = TcpStream::connect(address.socket);
        let stream = tokio::time::timeout(longest, connecting).await??;
        stream.set_nodelay(true)?;
        let io = TokioIo::new(stream);
        // Each ends when its sender is dropped or the instance closes it; what went wrong reaches the request itself.
        let sender = match address.protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
                let connection = connection.with_upgrades();
                tokio::spawn(async move { connection.await.ok() });
                Sender::Http1(sender)
            }
            Protocol::H2c => {
                let handshake = http2::handshake(TokioExecutor::new(), io);
                let (sender, connection) = handshake.await.map_err(io::Error::other)?;
                tokio::spawn(async move { connection.await.ok() });
                Sender::H2c(sender)
            }
        };
        let idle_since = Instant::now();
        Ok(Self { sender, idle_since })
    }

    /// Waits until a request can be sent; false if none can any more.
    pub(super) async fn is_ready(&mut self) -> bool {
        match &mut self.sender {
            Sender::Http1(sender) => sender.ready().await.is_ok(),
            Sender::H2c(sender) => sender.ready().await.is_ok(),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::H2c(sender) => sender.is_closed(),
        }
    }

    /// Sends one request; the error gives it back if the instance has not begun with it.
    pub(super) fn send(
        &mut self,
        request: InstanceRequest,
    ) -> impl Future<Output = Result<Response<Incoming>, Failed>> {
        match &mut self.sender {
            Sender::Http1(sender) => {
                Either::Left(sender.try_send_request(request).map_err(Failed::from))
            }
            // In a box, since it has room for the request twice, and those of HTTP/1 would have it too.
            Sender::H2c(sender) => Either::Right(Box::pin(send_http2(sender, request))),
        }
    }

    /// It carries nothing from now on.
    pub(super) fn rest(&mut self) {
        self.idle_since = Instant::now();
    }

    pub(super) fn rests_for(&self) -> Duration {
        self.idle_since.elapsed()
    }
}

async fn send_http2(
    sender: &mut http2::SendRequest<Lent>,
    mut request: InstanceRequest,
) -> Result<Response<Incoming>, Failed> {
    speak_http2(&mut request);
    // hyper does not pass `100 Continue` on from HTTP/2: to wait for it would be to wait in vain.
    request.body_mut().is_wanted();
    let (kept, request) = Kept::of(request);
    let sent = sender.try_send_request(request).await;
    sent.map_err(|mut error| {
        let is_unsent = error.take_message().is_some();
        let error = error.into_error();
        let may_be_sent_again = is_unsent || is_unprocessed(&error);
        let request = may_be_sent_again.then(|| kept.take_back()).flatten();
        Failed { error, request }
    })
}

/// HTTP/2 says the host in the target, frames say where a body ends, and nothing is said about the connection (RFC 9113 §8.3.1 and
/// §8.2.2). Done twice, it changes nothing.
fn speak_http2(request: &mut InstanceRequest) {
    let headers = request.headers_mut();
    for name in [CONNECTION, UPGRADE, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    let authority = headers
        .remove(HOST)
        .and_then(|host| Authority::try_from(host.as_bytes()).ok());
    if let Some(authority) = authority {
        let mut target = std::mem::take(request.uri_mut()).into_parts();
        (target.scheme, target.authority) = (Some(Scheme::HTTP), Some(authority));
        *request.uri_mut() = Uri::from_parts(target).expect("a path, a scheme and an authority");
    }
    *request.version_mut() = Version::HTTP_2;
}
