//! The word of an instance that it wants the body of a request (`100 Continue`, RFC 9110 §10.1.1): until then the client's own is not given.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, StatusCode, header::EXPECT};
use tokio::time::{Timeout, timeout};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A server that does not know the expectation says nothing and waits for the body: after this it is taken to want it.
const SILENCE: Duration = Duration::from_secs(1);

/// What an instance has said about the body.
#[derive(Debug)]
pub(super) struct Invitation {
    said: CancellationToken,
    /// Begins when the instance has the head.
    waiting: Option<Pin<Box<Timeout<WaitForCancellationFutureOwned>>>>,
}

impl Invitation {
    /// Listens for it, if the client waits for it.
    pub(super) fn awaited<B>(request: &mut Request<B>) -> Option<Self> {
        let expects = request.headers().get(EXPECT)?;
        if !expects.as_bytes().eq_ignore_ascii_case(b"100-continue") {
            return None;
        }
        let said = CancellationToken::new();
        let says = said.clone();
        hyper::ext::on_informational(request, move |answer| {
            if answer.status() == StatusCode::CONTINUE {
                says.cancel();
            }
        });
        Some(Self {
            said,
            waiting: None,
        })
    }

    /// Ready when the body is wanted.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let said = &self.said;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(timeout(SILENCE, said.clone().cancelled_owned())));
        waiting.as_mut().poll(cx).map(|_said_or_silent| ())
    }
}
