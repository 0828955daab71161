//! What an instance says before its answer (1xx, RFC 9110 §15.2).
//!
//! `100 Continue` invites the body of the request: until then the client is not asked for it (§10.1.1). Everything else is for a client of
//! HTTP/1.1. Clients of HTTP/2 do without: neither hyper writes it for them, nor can anybody beside it, since heads of HTTP/2 are
//! compressed with what both ends know of the heads before.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, Request, StatusCode};
use tokio::time::{Timeout, timeout};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::head;
use crate::server::Line;

/// A server that does not know the expectation says nothing and waits for the body: after this it is taken to want it.
const SILENCE: Duration = Duration::from_secs(1);

/// What an instance has said about the body.
#[derive(Debug)]
pub(super) struct Invitation {
    said: CancellationToken,
    /// Begins when the instance has the head.
    waiting: Option<Pin<Box<Timeout<WaitForCancellationFutureOwned>>>>,
}

/// Listens to it, and passes it on. What comes back says when the body is wanted, if the client waits to be asked for it.
pub(super) fn listen<B>(
    request: &mut Request<B>,
    line: Option<Line>,
    waits: bool,
) -> Option<Invitation> {
    let said = waits.then(CancellationToken::new);
    if said.is_none() && line.is_none() {
        return None;
    }
    let says = said.clone();
    hyper::ext::on_informational(request, move |interim| match interim.status() {
        StatusCode::CONTINUE => says.iter().for_each(CancellationToken::cancel),
        status => {
            if let Some(line) = &line {
                line.say(status, &passed_on(interim.headers()));
            }
        }
    });
    said.map(|said| Invitation {
        said,
        waiting: None,
    })
}

/// The fields of an interim answer that are for the client.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    head::prepare_interim(&mut headers);
    headers
}

impl Invitation {
    /// Ready when the body is wanted.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let said = &self.said;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(timeout(SILENCE, said.clone().cancelled_owned())));
        waiting.as_mut().poll(cx).map(|_said_or_silent| ())
    }
}
