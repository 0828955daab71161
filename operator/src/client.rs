//! How the operator talks to the API server: with patience, and not more often than it should.
//!
//! # Guarantees
//! - After an answer that says when to come again (`Retry-After`), nothing is sent before that time.
//! - An answer begins within [`ANSWER`] and does not pause for longer, or it counts as lost. The client below has no such clock, so a
//!   connection that died silently would be waited for until the kernel gives it up. A watch only has to begin; whoever reads it
//!   notices when it falls silent.
//! - Watches of one collection begin a few times in a row and then once every 5 s: the watcher resumes a watch that ends without an error
//!   at once, and something that cuts every watch as soon as it begins would be asked without end.
//!
//! Nothing is tried again here. Who asked knows better when, and whether it is still wanted.

mod hold;
mod pace;

use std::{sync::Arc, time::Duration};

use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame};
use kube::{Client, Config, client::Body};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tower::BoxError;

use hold::Hold;
use pace::Pace;

/// Longest wait for an answer, and for each next piece of it. Webhooks have 10 s by default.
pub const ANSWER: Duration = Duration::from_secs(15);

/// The API server did not answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {ANSWER:?}")]
pub struct Overdue;

/// A client of the API server that this pod belongs to, or that the kubeconfig names.
///
/// # Errors
/// There is none, or its credentials cannot be read.
pub async fn connect() -> kube::Result<Client> {
    let mut config = Config::infer().await.map_err(kube::Error::InferConfig)?;
    // It would go on for minutes, past the end of the Lease and of what the request was made for.
    config.default_retry = false;
    Client::try_from(config)
}

/// `inner` with the manners that the module promises.
pub fn polite(inner: Client) -> Client {
    let namespace = inner.default_namespace().to_owned();
    let manners = Arc::new(Manners {
        inner,
        hold: Hold::default(),
        pace: Pace::default(),
    });
    let service = tower::service_fn(move |request| {
        let manners = manners.clone();
        // A task of its own: a caller that is slow to ask for the answer must not come between the look at the hold and the sending.
        let sending = tokio::spawn(async move { manners.send(request).await });
        let answer = AbortOnDropHandle::new(sending);
        async move { answer.await? }
    });
    Client::new(service, namespace)
}

type Answer = Result<Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError>;

struct Manners {
    inner: Client,
    hold: Hold,
    pace: Pace,
}

impl Manners {
    async fn send(&self, request: Request<Body>) -> Answer {
        let is_watch = is_watch(&request);
        if is_watch {
            self.pace.turn(request.uri().path()).await;
        }
        self.hold.is_over().await;
        let answer = timeout(ANSWER, self.inner.send(request)).await;
        let answer = answer.map_err(|_| Overdue)??;
        self.hold.heed(&answer);
        if is_watch && answer.status().is_success() {
            return Ok(answer.map(|body| body.map_err(BoxError::from).boxed_unsync()));
        }
        whole(answer).await
    }
}

/// Whether a request asks for changes as they come.
fn is_watch<B>(request: &Request<B>) -> bool {
    let mut query = request.uri().query().unwrap_or_default().split('&');
    query.any(|pair| pair == "watch=true")
}

/// The whole answer, if it keeps coming.
async fn whole(answer: Response<Body>) -> Answer {
    let (head, mut body) = answer.into_parts();
    let mut all = Vec::new();
    while let Some(piece) = timeout(ANSWER, body.frame()).await.map_err(|_| Overdue)? {
        if let Ok(data) = piece.map(Frame::into_data)? {
            all.extend_from_slice(&data);
        }
    }
    let all = Full::new(Bytes::from(all)).map_err(|never| match never {});
    Ok(Response::from_parts(head, all.boxed_unsync()))
}

#[cfg(test)]
mod tests;
