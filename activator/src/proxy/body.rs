//! An answer's body on its way to the client: it carries the slot and the clocks.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use super::{access::Access, upload::Upload};
use crate::{
    entrypoint::Slot,
    instance::{Connection, Watched},
};

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

/// What an invocation holds until its answer has ended. Dropped before, the instance is not used again.
#[derive(Debug)]
pub(crate) struct Ongoing {
    pub(crate) incoming: Incoming,
    /// In a box, since it is moved often, and so is what holds it.
    pub(crate) slot: Box<Slot>,
    pub(crate) connection: Connection,
    pub(crate) upload: Arc<Upload>,
    /// `onDisconnect: Cancel`.
    pub(crate) is_cut_with_client: bool,
}

impl Ongoing {
    /// The next piece, and whether it is the last; an error after a silence of `idle`.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        idle: Option<Duration>,
        silent_until: &mut Option<Instant>,
    ) -> Poll<Result<Piece, AnswerBodyError>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            // hyper does not poll a body of known length once more after its last byte.
            Poll::Ready(piece) => {
                *silent_until = None;
                Poll::Ready(Ok((piece.transpose()?, self.incoming.is_end_stream())))
            }
            Poll::Pending => {
                let until = silent_until.or_else(|| Some(Instant::now() + idle?));
                *silent_until = until;
                match until {
                    Some(at) => self
                        .slot
                        .alarm
                        .poll(at, cx)
                        .map(|()| Err(AnswerBodyError::Clock)),
                    None => Poll::Pending,
                }
            }
        }
    }

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
    /// Watched, since a body whose client does not read is not polled. `None` once it has ended.
    held: Option<Watched<Ongoing>>,
    has_ended: bool,
    /// Why it was cut, until the client hears of it.
    broken: Option<AnswerBodyError>,
    clocks: Clocks,
    /// When the silence of the instance has lasted too long.
    silent_until: Option<Instant>,
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
    /// `None` if the answer has no body: then the invocation has ended, and is finished here.
    pub(crate) fn of(
        held: Ongoing,
        clocks: Clocks,
        bytes: impl FnOnce() -> Counter,
    ) -> Option<Box<Self>> {
        if held.incoming.is_end_stream() {
            held.finish();
            return None;
        }
        Some(Box::new(Self::begin(held, clocks, bytes())))
    }

    fn begin(held: Ongoing, clocks: Clocks, bytes: Counter) -> Self {
        let instance = held.slot.instance.clone();
        Self {
            held: Some(instance.deadlines.watch(held, clocks.deadline)),
            has_ended: false,
            broken: None,
            clocks,
            silent_until: None,
            is_unread: false,
            bytes,
            access: None,
        }
    }

    /// A line of the access log to be written at the end.
    pub(super) fn log(&mut self, access: Box<Access>) {
        self.access = Some(access);
    }

    fn take(&mut self) -> Option<Ongoing> {
        self.held.take()?.take()
    }

    fn finish(&mut self) {
        self.has_ended = true;
        if let Some(access) = &mut self.access {
            access.is_whole = true;
        }
        self.take().into_iter().for_each(Ongoing::finish);
    }

    /// Ends the invocation by force. The client hears of it at the next poll: hyper throws away what it has not flushed by then.
    fn cut(&mut self, why: AnswerBodyError, cx: &mut Context<'_>) {
        drop(self.take());
        self.broken = Some(why);
        cx.waker().wake_by_ref();
    }

    /// The next piece, and whether it is the last.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, AnswerBodyError>> {
        let (idle, silent_until) = (self.clocks.idle, &mut self.silent_until);
        let polled = self
            .held
            .as_ref()
            .and_then(|watched| watched.poll(cx, |held, cx| held.poll(cx, idle, silent_until)));
        // It was cut at its deadline.
        polled.unwrap_or(Poll::Ready(Err(AnswerBodyError::Clock)))
    }

    /// Reads to the end, within the clocks.
    pub(crate) async fn discard(mut self) {
        self.is_unread = true;
        while let Some(Ok(_)) = self.frame().await {}
    }
}

/// One more, if there is one, and whether it is the last.
type Piece = (Option<Frame<Bytes>>, bool);

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
        if let Some(why) = self.broken.take() {
            self.has_ended = true;
            return Poll::Ready(Some(Err(why)));
        }
        match ready!(self.poll_held(cx)) {
            Ok((Some(frame), is_last)) => {
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
            Ok((None, _)) => {
                self.finish();
                Poll::Ready(None)
            }
            Err(why) => {
                self.cut(why, cx);
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }

    fn size_hint(&self) -> SizeHint {
        let watched = self.held.as_ref();
        let hint = watched.and_then(|watched| watched.look(|held| held.incoming.size_hint()));
        hint.unwrap_or_default()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if !self.is_unread
            && let Some(held) = self.take()
            && !held.is_cut_with_client
        {
            let mut rest = Self::begin(held, self.clocks, self.bytes.clone());
            rest.is_unread = true;
            tokio::spawn(rest.discard());
        }
    }
}
