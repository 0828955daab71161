//! Bodies on their way through: the request's is counted and bounded, the answer's carries the slot and the clocks.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use prometheus_client::metrics::counter::Counter;
use tokio::{
    sync::Notify,
    time::{Instant, Sleep, sleep_until},
};

use crate::{entrypoint::Slot, instance::Connection};

/// What both ends of an exchange know about the request's body.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    too_large: AtomicBool,
    ended: AtomicBool,
    ending: Notify,
}

impl Upload {
    /// The body was cut because it exceeds `limits.requestBytes`.
    pub(crate) fn is_too_large(&self) -> bool {
        self.too_large.load(Ordering::Acquire)
    }

    /// Waits until the last byte was taken.
    pub(crate) async fn ended(&self) {
        while !self.ended.load(Ordering::Acquire) {
            self.ending.notified().await;
        }
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.ending.notify_one();
    }
}

/// A request's body. It is read only as fast as the instance takes it, and not before: holding a request is not reading its body.
#[derive(Debug)]
pub struct RequestBody {
    inner: Incoming,
    left: u64,
    upload: Arc<Upload>,
    bytes: Counter,
}

/// The request's body is larger than `limits.requestBytes`, or the client broke off.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// Larger than allowed.
    #[error("the request body is larger than limits.requestBytes")]
    TooLarge,
    /// The client went away or broke the protocol.
    #[error("read the request body: {0}")]
    Client(#[from] hyper::Error),
}

impl RequestBody {
    pub(crate) fn new(inner: Incoming, limit: u64, bytes: Counter) -> (Self, Arc<Upload>) {
        let upload = Arc::new(Upload::default());
        if inner.is_end_stream() {
            upload.end();
        }
        (
            Self {
                inner,
                left: limit,
                upload: upload.clone(),
                bytes,
            },
            upload,
        )
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let length = data.len() as u64;
            self.bytes.inc_by(length);
            match self.left.checked_sub(length) {
                Some(left) => self.left = left,
                None => {
                    self.upload.too_large.store(true, Ordering::Release);
                    return Poll::Ready(Some(Err(RequestBodyError::TooLarge)));
                }
            }
        }
        if frame.is_none() || self.inner.is_end_stream() {
            self.upload.end();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(RequestBodyError::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Bounds on an answer's body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    /// Between two pieces.
    pub(crate) idle: Option<Duration>,
    /// For the whole invocation.
    pub(crate) deadline: Option<Instant>,
}

impl Clocks {
    fn next(self, now: Instant) -> Option<Instant> {
        let idle = self.idle.map(|idle| now + idle);
        [idle, self.deadline].into_iter().flatten().min()
    }
}

/// A function's answer. The slot is free when the body has ended, and not before: a client that leaves does not end it, so what it
/// does not take is read and thrown away.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    inner: Option<Incoming>,
    held: Option<(Slot, Connection)>,
    clocks: Clocks,
    /// Runs while the instance is silent.
    clock: Option<Pin<Box<Sleep>>>,
    bytes: Counter,
}

/// Why an answer's body was cut.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerBodyError {
    #[error("timeouts.idle or timeouts.duration of the entrypoint passed")]
    Clock,
    #[error("the instance broke off: {0}")]
    Instance(#[from] hyper::Error),
}

impl AnswerBody {
    pub(crate) fn new(
        inner: Incoming,
        slot: Slot,
        connection: Connection,
        clocks: Clocks,
        bytes: Counter,
    ) -> Self {
        let mut body = Self {
            inner: Some(inner),
            held: Some((slot, connection)),
            clocks,
            clock: None,
            bytes,
        };
        body.finish_at_end();
        body
    }

    /// Frees the slot once everything has been read. hyper does not poll a body of known length once more after its last byte.
    fn finish_at_end(&mut self) {
        if self.inner.as_ref().is_some_and(Body::is_end_stream) {
            self.finish();
        }
    }

    fn finish(&mut self) {
        if let Some((mut slot, connection)) = self.held.take() {
            slot.instance.keep(connection);
            slot.finish();
        }
    }

    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.clock.is_none() {
            let Some(at) = self.clocks.next(Instant::now()) else {
                return Poll::Pending;
            };
            self.clock = Some(Box::pin(sleep_until(at)));
        }
        self.clock
            .as_mut()
            .map_or(Poll::Pending, |clock| clock.as_mut().poll(cx))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerBodyError>>> {
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(None);
        };
        match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.clock = None;
                self.bytes
                    .inc_by(frame.data_ref().map_or(0, |data| data.len() as u64));
                self.finish_at_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                // The slot goes unfinished: the instance is not used again.
                self.held = None;
                self.inner = None;
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Pending => {
                ready!(self.poll_clock(cx));
                self.held = None;
                self.inner = None;
                Poll::Ready(Some(Err(AnswerBodyError::Clock)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if let (Some(inner), Some(held)) = (self.inner.take(), self.held.take()) {
            let bytes = self.bytes.clone();
            let rest = Self {
                inner: Some(inner),
                held: Some(held),
                clocks: self.clocks,
                clock: None,
                bytes,
            };
            tokio::spawn(rest.discard());
        }
    }
}

impl AnswerBody {
    /// Reads to the end, within the clocks.
    pub(crate) async fn discard(mut self) {
        while let Some(Ok(_)) = self.frame().await {}
        // Whatever is left is not read by another task in turn.
        self.inner = None;
    }
}
