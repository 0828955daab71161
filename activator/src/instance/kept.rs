//! A request on its way over HTTP/2, of which enough is kept to send it again.
//!
//! An instance may refuse a stream, or end a connection and say which streams it has not looked at. Such a request was not processed and
//! may be sent again (RFC 9113 §8.7). hyper has taken it apart by then: its head and the first of its body are kept here.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, ready},
};

use h2::Reason;
use http::{HeaderMap, Request, request::Parts};
use hyper::body::{Body, Bytes, Frame, SizeHint};

use crate::proxy::upload::{InstanceRequest, RequestBody, RequestBodyError};

/// So much of a body is kept: what a server takes of it before it has said a word (RFC 9113 §6.9.2), and one piece.
const MOST: usize = 64 << 10;

/// A request that can be taken back.
pub(super) struct Kept {
    head: Parts,
    body: Lent,
}

/// The body of a request, as hyper has it until it is taken back.
#[derive(Debug, Clone)]
pub(super) struct Lent(Arc<Mutex<Loan>>);

#[derive(Debug)]
struct Loan {
    /// `None` once it was taken back.
    body: Option<Box<RequestBody>>,
    /// What was taken of it; `None`: too much to be kept.
    taken: Option<Taken>,
}

/// The beginning of a body.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) pieces: Vec<Bytes>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Kept {
    /// The request for hyper, and what is kept of it.
    pub(super) fn of(request: InstanceRequest) -> (Self, Request<Lent>) {
        let (head, body) = request.into_parts();
        let body = Lent(Arc::new(Mutex::new(Loan {
            body: Some(body),
            taken: Some(Taken::default()),
        })));
        let kept = Self {
            head: head.clone(),
            body: body.clone(),
        };
        (kept, Request::from_parts(head, body))
    }

    /// The request as it was; `None` if too much of its body is gone, or its client failed.
    pub(super) fn take_back(self) -> Option<InstanceRequest> {
        let mut loan = self.body.lock();
        let (mut body, taken) = (loan.body.take()?, loan.taken.take()?);
        drop(loan);
        body.give_again(taken)
            .then(|| Request::from_parts(self.head, body))
    }
}

/// Whether the instance says that it has not begun with the request.
pub(super) fn is_unprocessed(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    let Some(error) = source.and_then(|source| source.downcast_ref::<h2::Error>()) else {
        return false;
    };
    // h2 fails a stream with the GOAWAY of the instance only if that does not cover it.
    let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    error.is_remote() && (is_refused || error.is_go_away())
}

impl Lent {
    fn lock(&self) -> MutexGuard<'_, Loan> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

impl Loan {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        let Some(taken) = &mut self.taken else {
            return;
        };
        if let Some(piece) = frame.data_ref() {
            taken.pieces.push(piece.clone());
        }
        taken.trailers = frame.trailers_ref().cloned().or(taken.trailers.take());
        if taken.pieces.iter().map(Bytes::len).sum::<usize>() > MOST {
            self.taken = None;
        }
    }
}

impl Body for Lent {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let mut loan = self.lock();
        let Some(body) = &mut loan.body else {
            return Poll::Ready(None);
        };
        let next = ready!(Pin::new(body).poll_frame(cx));
        if let Some(Ok(frame)) = &next {
            loan.keep(frame);
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        let loan = self.lock();
        loan.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let loan = self.lock();
        loan.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}
