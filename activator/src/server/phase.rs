//! What a connection is doing, as its socket, its requests and the bound on connections see it.

use std::{
    pin::Pin,
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderMap, StatusCode};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{interims::Interims, streams::Pieces};

/// Shared by everything that serves one connection.
#[derive(Debug)]
pub(crate) struct Phase {
    epoch: Instant,
    begun: AtomicU32,
    ended: AtomicU32,
    /// Since `epoch`, in milliseconds: when the connection came, or when its last request ended.
    since: AtomicU64,
    /// Something of the last answer may not be written yet. Set when a request begins, taken back by a flush after its end.
    is_unflushed: AtomicBool,
    /// A request began while that was so, and has seen no flush yet: what is written next may be the end of an older answer.
    is_behind: AtomicBool,
    /// Number of the last request, until all of it has come; else 0. An answer may end before its request does: what comes next may be the
    /// rest of the request and need not be a head.
    incomplete: AtomicU32,
    /// What is said before an answer.
    pub(super) interims: Interims,
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
            is_behind: AtomicBool::new(false),
            incomplete: AtomicU32::new(0),
            interims: Interims::default(),
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
        let number = self.begun.fetch_add(1, Ordering::AcqRel).wrapping_add(1);
        let incomplete = if has_body { number } else { 0 };
        self.incomplete.store(incomplete, Ordering::Release);
        let is_behind = self.is_unflushed.swap(true, Ordering::AcqRel);
        self.is_behind.store(is_behind, Ordering::Release);
        let phase = self.clone();
        Exchange { phase, number }
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
        self.is_between_requests() && self.incomplete.load(Ordering::Acquire) == 0
    }

    /// What is written next may be the end of an older answer than that to the request which runs.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Acquire)
    }

    /// Everything that was to be written is.
    pub(super) fn flushed(&self) {
        self.is_behind.store(false, Ordering::Release);
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
pub(super) struct Exchange {
    phase: Arc<Phase>,
    number: u32,
}

impl Exchange {
    /// For a request of HTTP/1.1 or before, which has the connection to itself.
    pub(super) fn line(&self) -> Line {
        self.phase.interims.open(self.number);
        Line {
            phase: self.phase.clone(),
            number: self.number,
        }
    }

    /// The answer is there. It lasts as long as this body, which may go in pieces.
    pub(super) fn until_the_end_of<B>(self, body: B, pieces: Option<Pieces>) -> ExchangeBody<B> {
        self.phase.interims.close();
        ExchangeBody {
            body,
            pieces,
            _exchange: self,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.phase.touch();
        self.phase.ended.fetch_add(1, Ordering::AcqRel);
    }
}

/// What a request has to say to the connection of HTTP/1 that it came on. It may outlive the request.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    phase: Arc<Phase>,
    number: u32,
}

impl Line {
    /// All of the request has come.
    pub(crate) fn is_complete(&self) {
        // Unless the next has begun: then this is no news.
        let known = &self.phase.incomplete;
        known
            .compare_exchange(self.number, 0, Ordering::AcqRel, Ordering::Acquire)
            .ok();
    }

    /// This is to be said before the answer, which has not begun yet.
    pub(crate) fn say(&self, status: StatusCode, headers: &HeaderMap) {
        self.phase.interims.say(self.number, status, headers);
    }
}

/// The body of an answer. hyper drops it right when it has taken the last of it, before that is flushed.
#[derive(Debug)]
pub(super) struct ExchangeBody<B> {
    body: B,
    /// On a stream of HTTP/2.
    pieces: Option<Pieces>,
    _exchange: Exchange,
}

impl<B: Body<Data = Bytes> + Unpin> Body for ExchangeBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Self { body, pieces, .. } = &mut *self;
        let Some(pieces) = pieces else {
            return Pin::new(body).poll_frame(cx);
        };
        if let Some(piece) = pieces.next() {
            return Poll::Ready(Some(Ok(piece)));
        }
        let frame = ready!(Pin::new(body).poll_frame(cx)?);
        Poll::Ready(frame.map(|frame| Ok(pieces.cut(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.as_ref().is_none_or(|pieces| pieces.left() == 0) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let left = self.pieces.as_ref().map_or(0, Pieces::left);
        if left > 0 {
            let (lower, upper) = (hint.lower(), hint.upper());
            hint = SizeHint::new();
            hint.set_lower(lower + left);
            upper
                .into_iter()
                .for_each(|upper| hint.set_upper(upper + left));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;

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
        let body = exchange.until_the_end_of(Empty::<Bytes>::new(), None);
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
        let exchange = phase.begin(true);
        let line = exchange.line();
        drop(exchange);
        assert!(phase.is_between_requests() && !phase.expects_head());
        let next = phase.begin(true);
        let last = next.line();
        drop(next);
        line.is_complete();
        assert!(!phase.expects_head(), "that was the one before");
        last.is_complete();
        assert!(phase.expects_head());
        drop(phase.begin(false));
        assert!(phase.expects_head());
    }

    #[tokio::test]
    async fn a_request_is_behind_until_the_answer_before_it_is_flushed() {
        let phase = phase();
        let first = phase.begin(false);
        assert!(!phase.is_behind());
        drop(first);
        let _second = phase.begin(false);
        assert!(phase.is_behind());
        phase.flushed();
        assert!(!phase.is_behind());
    }
}
