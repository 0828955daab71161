//! An answer's body on its way to the client: it carries the slot and the clocks.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use prometheus_client::metrics::counter::Counter;
use tokio::{
    task::AbortHandle,
    time::{Instant, Sleep, sleep_until},
};

use super::{access::Access, upload::Upload};
use crate::{entrypoint::Slot, instance::Connection};

/// Bounds of an invocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    /// From the end of the request to the head of the answer.
    pub(crate) first_byte: Option<Duration>,
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

/// What an invocation holds until its answer has ended. Dropped before, the instance is not used again.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) incoming: Incoming,
    pub(crate) slot: Slot,
    pub(crate) connection: Connection,
    pub(crate) upload: Arc<Upload>,
    /// `onDisconnect: Cancel`.
    pub(crate) is_cut_with_client: bool,
}

impl Held {
    fn finish(self) {
        let Self {
            incoming: _,
            mut slot,
            connection,
            upload,
            is_cut_with_client: _,
        } = self;
        // An instance may answer before it has read the request; what still comes then must not meet the next one.
        if upload.is_complete() {
            slot.instance.keep(connection);
        }
        slot.finish();
    }
}

/// A function's answer. The slot is free when the body has ended, and not before: a client that leaves does not end it, so what it
/// does not take is read and thrown away.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    /// Shared with the watchdog: a body whose client does not read is not polled. Empty once it has ended or was cut.
    held: Arc<Mutex<Option<Held>>>,
    has_ended: bool,
    clocks: Clocks,
    /// Runs while the instance is silent.
    clock: Option<Pin<Box<Sleep>>>,
    watchdog: Option<AbortHandle>,
    /// Nobody waits for it any more. Dropped then, as a runtime that shuts down does, it is cut.
    is_unread: bool,
    bytes: Counter,
    access: Option<Box<Access>>,
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
    pub(crate) fn new(held: Held, clocks: Clocks, bytes: Counter) -> Self {
        let has_ended = held.incoming.is_end_stream();
        let held = Arc::new(Mutex::new(Some(held)));
        let mut body = Self {
            held,
            has_ended,
            clocks,
            clock: None,
            watchdog: None,
            is_unread: false,
            bytes,
            access: None,
        };
        if has_ended {
            body.finish();
        } else {
            body.watchdog = clocks
                .deadline
                .map(|deadline| watch(body.held.clone(), deadline));
        }
        body
    }

    /// A line of the access log to be written at the end.
    pub(super) fn log(&mut self, mut access: Box<Access>) {
        access.is_whole = self.has_ended;
        self.access = Some(access);
    }

    fn take(&self) -> Option<Held> {
        self.held
            .lock()
            .expect("nothing panics under this lock")
            .take()
    }

    fn finish(&mut self) {
        self.has_ended = true;
        if let Some(access) = &mut self.access {
            access.is_whole = true;
        }
        self.take().into_iter().for_each(Held::finish);
    }

    /// Ends the invocation by force.
    fn cut(&mut self, why: AnswerBodyError) -> Poll<Option<Result<Frame<Bytes>, AnswerBodyError>>> {
        self.has_ended = true;
        drop(self.take());
        Poll::Ready(Some(Err(why)))
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

    /// The next piece, and whether it is the last. `None` outside: the watchdog took the body.
    fn poll_held(&self, cx: &mut Context<'_>) -> Option<Poll<(Piece, bool)>> {
        let mut held = self.held.lock().expect("nothing panics under this lock");
        let incoming = &mut held.as_mut()?.incoming;
        let piece = Pin::new(&mut *incoming).poll_frame(cx);
        // hyper does not poll a body of known length once more after its last byte.
        Some(piece.map(|piece| (piece, incoming.is_end_stream())))
    }

    /// Reads to the end, within the clocks.
    pub(crate) async fn discard(mut self) {
        self.is_unread = true;
        while let Some(Ok(_)) = self.frame().await {}
    }
}

type Piece = Option<Result<Frame<Bytes>, hyper::Error>>;

/// Cuts the body at the deadline, polled or not.
fn watch(held: Arc<Mutex<Option<Held>>>, deadline: Instant) -> AbortHandle {
    let watchdog = tokio::spawn(async move {
        sleep_until(deadline).await;
        drop(held.lock().expect("nothing panics under this lock").take());
    });
    watchdog.abort_handle()
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerBodyError>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        match self.poll_held(cx) {
            None => self.cut(AnswerBodyError::Clock),
            Some(Poll::Ready((Some(Ok(frame)), is_last))) => {
                self.clock = None;
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.bytes.inc_by(length);
                if let Some(access) = &mut self.access {
                    access.response_bytes += length;
                }
                if is_last {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Poll::Ready((None, _))) => {
                self.finish();
                Poll::Ready(None)
            }
            Some(Poll::Ready((Some(Err(error)), _))) => self.cut(error.into()),
            Some(Poll::Pending) => {
                ready!(self.poll_clock(cx));
                self.cut(AnswerBodyError::Clock)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.lock().expect("nothing panics under this lock");
        held.as_ref()
            .map_or_else(SizeHint::default, |held| held.incoming.size_hint())
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.watchdog.take().inspect(AbortHandle::abort);
        if !self.is_unread
            && let Some(held) = self.take()
            && !held.is_cut_with_client
        {
            let mut rest = Self::new(held, self.clocks, self.bytes.clone());
            rest.is_unread = true;
            tokio::spawn(rest.discard());
        }
    }
}
