//! A request's body on its way to the instance: counted, bounded, and watched for its end.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http::Request;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use prometheus_client::metrics::counter::Counter;
use tokio::{sync::Notify, time::Instant};

use super::{
    head,
    interim::Invitation,
    patience::{Patience, Rate},
};
use crate::{entrypoint::Entrypoint, held::Permit, instance::Taken, server::Line};

/// What both ends of an exchange know about the request's body.
#[derive(Debug)]
pub(crate) struct Upload {
    state: AtomicU8,
    ending: Notify,
    is_answered: AtomicBool,
    begun: Instant,
    /// Microseconds from `begun` to the last piece.
    progress: AtomicU64,
}

const RUNNING: u8 = 0;
const ENDED: u8 = 1;
const TOO_LARGE: u8 = 2;
const CLIENT_LEFT: u8 = 3;
const DROPPED: u8 = 4;
const TOO_SLOW: u8 = 5;

impl Upload {
    fn new(is_empty: bool) -> Self {
        Self {
            state: AtomicU8::new(if is_empty { ENDED } else { RUNNING }),
            ending: Notify::new(),
            is_answered: AtomicBool::new(false),
            begun: Instant::now(),
            progress: AtomicU64::new(0),
        }
    }

    /// The instance got all of it.
    pub(crate) fn is_complete(&self) -> bool {
        self.state.load(Ordering::Acquire) == ENDED
    }

    /// Why the body was cut on the client's side, if it was.
    pub(crate) fn fault(&self) -> Option<RequestFault> {
        match self.state.load(Ordering::Acquire) {
            TOO_LARGE => Some(RequestFault::TooLarge),
            CLIENT_LEFT => Some(RequestFault::BrokenOff),
            TOO_SLOW => Some(RequestFault::TooSlow),
            _ => None,
        }
    }

    /// Nothing more of it will be sent.
    pub(crate) fn has_ended(&self) -> bool {
        self.state.load(Ordering::Acquire) != RUNNING
    }

    /// Waits until nothing more of it will be sent.
    pub(crate) async fn ended(&self) {
        while !self.has_ended() {
            self.ending.notified().await;
        }
    }

    /// Since when its request waits.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    /// When its last piece was handed on.
    pub(crate) fn progress(&self) -> Instant {
        self.begun + Duration::from_micros(self.progress.load(Ordering::Relaxed))
    }

    /// The answer has begun: from now on the two sides may talk as slowly as they like.
    pub(crate) fn answered(&self) {
        self.is_answered.store(true, Ordering::Relaxed);
    }

    /// A piece was handed on, or an instance begins to take them: until then nobody was silent.
    pub(super) fn progressed(&self, now: Instant) {
        let since = u64::try_from((now - self.begun).as_micros()).unwrap_or(u64::MAX);
        self.progress.store(since, Ordering::Relaxed);
    }

    /// It is to be sent once more. False if the client failed meanwhile.
    fn begin_again(&self) -> bool {
        let state = &self.state;
        let ended = state.compare_exchange(ENDED, RUNNING, Ordering::AcqRel, Ordering::Acquire);
        matches!(ended, Ok(_) | Err(RUNNING))
    }

    /// The first word counts.
    fn end(&self, how: u8) {
        if self.has_ended() {
            return;
        }
        // Before it is said: the clock of the answer begins now.
        self.progressed(Instant::now());
        let first = self
            .state
            .compare_exchange(RUNNING, how, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            self.ending.notify_one();
        }
    }
}

/// What a client did wrong with its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestFault {
    TooLarge,
    BrokenOff,
    TooSlow,
}

/// A request on its way to an instance. Its body is in a box, since hyper moves a request from hand to hand a dozen times.
pub(crate) type InstanceRequest = Request<Box<RequestBody>>;

/// A request's body. It is read only as fast as the instance takes it, and before that no more than [`read_ahead`](Self::read_ahead) was
/// allowed: holding a request is not reading its body.
#[derive(Debug)]
pub struct RequestBody {
    inner: Incoming,
    /// Read while the request waited.
    ahead: VecDeque<Frame<Bytes>>,
    ahead_bytes: u64,
    /// For as much as may be read ahead, until the instance has taken it.
    permit: Option<Permit>,
    left: u64,
    /// The instance has not asked for it yet.
    invitation: Option<Invitation>,
    patience: Option<Patience>,
    /// To its connection, until all of it has come.
    line: Option<Line>,
    upload: Arc<Upload>,
    bytes: Counter,
}

/// Why a request's body ends before its end.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// Larger than allowed.
    #[error("the request body is larger than limits.requestBytes")]
    TooLarge,
    /// The client sends too slowly.
    #[error("the request body comes too slowly")]
    TooSlow,
    /// The client went away or broke the protocol.
    #[error("read the request body: {0}")]
    Client(#[from] hyper::Error),
}

impl RequestBody {
    pub(crate) fn new(
        inner: Incoming,
        limit: u64,
        rate: Option<Rate>,
        bytes: Counter,
    ) -> (Box<Self>, Arc<Upload>) {
        let upload = Arc::new(Upload::new(inner.is_end_stream()));
        let body = Self {
            inner,
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            permit: None,
            left: limit,
            invitation: None,
            patience: rate.map(Patience::new),
            line: None,
            upload: upload.clone(),
            bytes,
        };
        (Box::new(body), upload)
    }

    /// Nothing is read before the instance asks for it.
    pub(super) fn waits_for(&mut self, invitation: Option<Invitation>) {
        self.invitation = invitation;
    }

    /// The connection over this line hears when all of it has come.
    pub(super) fn came_over(&mut self, line: Option<Line>) {
        self.line = line;
    }

    /// The instance wants it as soon as it has the head.
    pub(crate) fn is_wanted(&mut self) {
        self.invitation = None;
    }

    /// What was taken of it is there again. False if its client failed: then it has no end.
    pub(crate) fn give_again(&mut self, taken: Taken) -> bool {
        let is_empty = taken.pieces.is_empty() && taken.trailers.is_none();
        self.ahead_bytes += taken
            .pieces
            .iter()
            .map(|piece| piece.len() as u64)
            .sum::<u64>();
        let trailers = taken.trailers.map(Frame::trailers);
        let pieces = taken.pieces.into_iter().map(Frame::data);
        let rest = std::mem::take(&mut self.ahead);
        self.ahead = pieces.chain(trailers).chain(rest).collect();
        is_empty && self.is_end_stream() || self.upload.begin_again()
    }

    /// Reads while nobody takes it, up to about so many bytes if the entrypoint may hold them. Returns only if the client fails; dropped, it
    /// loses nothing.
    pub(crate) async fn read_ahead(&mut self, entrypoint: &Entrypoint, most: u64) -> RequestFault {
        let most = self
            .inner
            .size_hint()
            .upper()
            .map_or(most, |all| most.min(all));
        if most > 0 && self.permit.is_none() {
            self.permit = entrypoint.take_bytes(most);
        }
        while self.permit.is_some() && self.ahead_bytes < most && !self.inner.is_end_stream() {
            match poll_fn(|cx| self.poll_inner(cx)).await {
                Some(Ok(frame)) => {
                    self.ahead_bytes += length(&frame);
                    self.ahead.push_back(frame);
                }
                Some(Err(_)) | None => break,
            }
        }
        match self.upload.fault() {
            Some(fault) => fault,
            None => std::future::pending().await,
        }
    }

    /// The next piece from the client, counted.
    fn poll_inner(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let next = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        let has_come = next.is_none() || self.inner.is_end_stream();
        if has_come && let Some(line) = self.line.take() {
            line.is_complete();
        }
        Poll::Ready(match next {
            Some(Ok(mut frame)) => {
                frame.trailers_mut().into_iter().for_each(head::strip_taken);
                let length = length(&frame);
                self.bytes.inc_by(length);
                match self.left.checked_sub(length) {
                    Some(left) => {
                        self.left = left;
                        Some(Ok(frame))
                    }
                    None => {
                        self.upload.end(TOO_LARGE);
                        Some(Err(RequestBodyError::TooLarge))
                    }
                }
            }
            Some(Err(error)) => {
                self.upload.end(CLIENT_LEFT);
                Some(Err(error.into()))
            }
            None => None,
        })
    }

    /// The instance waits and the client sends nothing: how long that may be.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.patience {
            Some(patience) if !self.upload.is_answered.load(Ordering::Relaxed) => patience.poll(cx),
            _ => Poll::Pending,
        }
    }
}

fn length(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        if let Some(invitation) = &mut self.invitation {
            ready!(invitation.poll(cx));
            self.invitation = None;
        }
        if self.ahead.is_empty() {
            self.permit = None;
        }
        let next = match self.ahead.pop_front() {
            Some(frame) => {
                self.ahead_bytes -= length(&frame);
                Some(Ok(frame))
            }
            None => match self.poll_inner(cx) {
                Poll::Ready(next) => next,
                Poll::Pending => {
                    ready!(self.poll_patience(cx));
                    self.upload.end(TOO_SLOW);
                    return Poll::Ready(Some(Err(RequestBodyError::TooSlow)));
                }
            },
        };
        if let (Some(patience), Some(Ok(frame))) = (&mut self.patience, &next) {
            patience.heard(length(frame));
        }
        self.upload.progressed(Instant::now());
        if next.is_none() || self.is_end_stream() {
            self.upload.end(ENDED);
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + self.ahead_bytes);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + self.ahead_bytes);
        }
        hint
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.upload.end(DROPPED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_answer_is_awaited_from_the_end_of_the_request_however_it_ends() {
        for how in [ENDED, TOO_LARGE, CLIENT_LEFT, DROPPED, TOO_SLOW] {
            let upload = Upload::new(false);
            tokio::time::sleep(Duration::from_secs(5)).await;
            upload.end(how);
            let end = Instant::now();
            assert_eq!(upload.progress(), end, "{how}");
            tokio::time::sleep(Duration::from_secs(5)).await;
            upload.end(DROPPED);
            assert_eq!(upload.progress(), end, "{how}");
        }
    }
}
