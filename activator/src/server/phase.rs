//! What a connection is doing, as its socket, its requests and the bound on connections see it.

use std::{
    pin::Pin,
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Shared by everything that serves one connection.
#[derive(Debug)]
pub(super) struct Phase {
    epoch: Instant,
    begun: AtomicU32,
    ended: AtomicU32,
    /// Since `epoch`, in milliseconds: when the connection came, or when its last request ended.
    since: AtomicU64,
    /// Something of the last answer may not be written yet. Set when a request begins, taken back by a flush after its end.
    is_unflushed: AtomicBool,
    /// An answer may end before its request does: what comes next may be the rest of the request and need not be a head.
    may_have_more: AtomicBool,
    /// The connection belongs to another protocol now.
    is_tunnel: AtomicBool,
    /// Cancelled when the connection is to take no more requests.
    pub(super) close: CancellationToken,
}

impl Phase {
    pub(super) fn new(epoch: Instant, close: CancellationToken) -> Self {
        let phase = Self {
            epoch,
            begun: AtomicU32::new(0),
            ended: AtomicU32::new(0),
            since: AtomicU64::new(0),
            is_unflushed: AtomicBool::new(false),
            may_have_more: AtomicBool::new(false),
            is_tunnel: AtomicBool::new(false),
            close,
        };
        phase.touch();
        phase
    }

    fn touch(&self) {
        let since = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.since.store(since, Ordering::Release);
    }

    /// A head has been read. The request goes on until what is returned is dropped.
    pub(super) fn begin(self: &Arc<Self>, has_body: bool) -> Exchange {
        self.may_have_more.store(has_body, Ordering::Release);
        self.is_unflushed.store(true, Ordering::Release);
        self.begun.fetch_add(1, Ordering::AcqRel);
        Exchange(self.clone())
    }

    /// How many requests have begun.
    pub(super) fn begun(&self) -> u32 {
        self.begun.load(Ordering::Acquire)
    }

    /// No request is running.
    pub(super) fn is_between_requests(&self) -> bool {
        self.begun() == self.ended.load(Ordering::Acquire)
            && !self.is_tunnel.load(Ordering::Acquire)
    }

    /// No request is running, and every answer has been handed to the system.
    pub(super) fn is_idle(&self) -> bool {
        self.is_between_requests() && !self.is_unflushed.load(Ordering::Acquire)
    }

    /// Whether what comes now can only be a head.
    pub(super) fn expects_head(&self) -> bool {
        self.is_between_requests() && !self.may_have_more.load(Ordering::Acquire)
    }

    /// Everything that was to be written is.
    pub(super) fn flushed(&self) {
        if self.is_unflushed.load(Ordering::Acquire) && self.is_between_requests() {
            self.is_unflushed.store(false, Ordering::Release);
        }
    }

    /// From now on this is a tunnel, which is never idle.
    pub(super) fn becomes_tunnel(&self) {
        self.is_tunnel.store(true, Ordering::Release);
    }

    pub(super) fn is_tunnel(&self) -> bool {
        self.is_tunnel.load(Ordering::Acquire)
    }

    /// When the last request ended, or the connection came.
    pub(super) fn since(&self) -> Instant {
        self.epoch + Duration::from_millis(self.since.load(Ordering::Acquire))
    }
}

/// A request from its head to the end of its answer.
#[derive(Debug)]
pub(super) struct Exchange(Arc<Phase>);

impl Exchange {
    /// Lasts as long as this body.
    pub(super) fn until_the_end_of<B>(self, body: B) -> ExchangeBody<B> {
        ExchangeBody {
            body,
            _exchange: self,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.0.touch();
        self.0.ended.fetch_add(1, Ordering::AcqRel);
    }
}

/// The body of an answer. hyper drops it right when it has taken the last of it, before that is flushed.
#[derive(Debug)]
pub(super) struct ExchangeBody<B> {
    body: B,
    _exchange: Exchange,
}

impl<B: Body + Unpin> Body for ExchangeBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;
    use hyper::body::Bytes;

    use super::*;

    fn phase() -> Arc<Phase> {
        Arc::new(Phase::new(Instant::now(), CancellationToken::new()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_from_the_flush_of_its_last_answer() {
        let phase = phase();
        assert!(phase.is_idle());
        let exchange = phase.begin(false);
        phase.flushed();
        assert!(!phase.is_between_requests());
        tokio::time::advance(Duration::from_secs(1)).await;
        let body = exchange.until_the_end_of(Empty::<Bytes>::new());
        drop(body);
        assert!(phase.is_between_requests() && !phase.is_idle());
        phase.flushed();
        assert!(phase.is_idle());
        assert_eq!(phase.since(), Instant::now());
    }

    #[tokio::test]
    async fn a_tunnel_is_never_idle() {
        let phase = phase();
        let exchange = phase.begin(false);
        phase.becomes_tunnel();
        drop(exchange);
        phase.flushed();
        assert!(!phase.is_idle() && !phase.expects_head());
    }

    #[tokio::test]
    async fn after_a_request_with_a_body_its_rest_may_still_come() {
        let phase = phase();
        drop(phase.begin(true));
        assert!(phase.is_between_requests() && !phase.expects_head());
        drop(phase.begin(false));
        assert!(phase.expects_head());
    }
}
