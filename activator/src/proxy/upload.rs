//! A request's body on its way to the instance: counted, bounded, and watched for its end.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Notify;

/// What both ends of an exchange know about the request's body.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    state: AtomicU8,
    ending: Notify,
}

const RUNNING: u8 = 0;
const ENDED: u8 = 1;
const TOO_LARGE: u8 = 2;
const CLIENT_LEFT: u8 = 3;
const DROPPED: u8 = 4;

impl Upload {
    /// The instance got all of it.
    pub(crate) fn is_complete(&self) -> bool {
        self.state.load(Ordering::Acquire) == ENDED
    }

    /// The body was cut because it exceeds `limits.requestBytes`.
    pub(crate) fn is_too_large(&self) -> bool {
        self.state.load(Ordering::Acquire) == TOO_LARGE
    }

    /// The client broke off before its end.
    pub(crate) fn was_broken_off(&self) -> bool {
        self.state.load(Ordering::Acquire) == CLIENT_LEFT
    }

    /// Waits until nothing more of it will be sent.
    pub(crate) async fn ended(&self) {
        while self.state.load(Ordering::Acquire) == RUNNING {
            self.ending.notified().await;
        }
    }

    /// The first word counts.
    fn end(&self, how: u8) {
        let first = self
            .state
            .compare_exchange(RUNNING, how, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            self.ending.notify_one();
        }
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
            upload.end(ENDED);
        }
        let body = Self {
            inner,
            left: limit,
            upload: upload.clone(),
            bytes,
        };
        (body, upload)
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
        match &frame {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.bytes.inc_by(length);
                let Some(left) = self.left.checked_sub(length) else {
                    self.upload.end(TOO_LARGE);
                    return Poll::Ready(Some(Err(RequestBodyError::TooLarge)));
                };
                self.left = left;
                if self.inner.is_end_stream() {
                    self.upload.end(ENDED);
                }
            }
            Some(Err(_)) => self.upload.end(CLIENT_LEFT),
            None => self.upload.end(ENDED),
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

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.upload.end(DROPPED);
    }
}
