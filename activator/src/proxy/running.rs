//! An invocation between its slot and the head of its answer.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    answer::Failure,
    body::{AnswerBody, Clocks, Held},
    upload::{RequestBody, Upload},
};
use crate::{
    entrypoint::Slot,
    instance::{Connection, SendError},
    routes::Route,
};

type Exchange = Result<(Response<Incoming>, Connection), SendError>;

/// Why there is no head of an answer.
pub(super) enum Unanswered {
    /// No instance has seen a byte.
    Unreached(Box<Request<RequestBody>>),
    Failed(Failure),
}

/// The head of an answer, and what the invocation holds until the body has ended.
pub(super) struct Answered {
    pub(super) head: http::response::Parts,
    pub(super) held: Held,
    pub(super) clocks: Clocks,
    pub(super) started: Instant,
}

/// An invocation that has begun and has no answer yet. Dropped, it goes on without a reader: the instance is busy until it has ended.
pub(super) struct Running {
    exchange: Option<BoxFuture<'static, Exchange>>,
    slot: Option<Slot>,
    upload: Arc<Upload>,
    first_byte: Option<Duration>,
    clocks: Clocks,
    started: Instant,
    request_bytes: u64,
    /// Nobody waits for it any more. Dropped then, as a runtime that shuts down does, it is cut.
    is_unread: bool,
}

impl Running {
    pub(super) fn start(
        slot: Slot,
        request: Request<RequestBody>,
        upload: Arc<Upload>,
        route: &Route,
    ) -> Self {
        let started = Instant::now();
        let deadline = route.timeouts.duration.map(|duration| started + duration);
        Self {
            exchange: Some(Box::pin(slot.instance.clone().send(request))),
            slot: Some(slot),
            upload,
            first_byte: route.timeouts.first_byte,
            clocks: Clocks {
                idle: route.timeouts.idle,
                deadline,
            },
            started,
            request_bytes: route.request_bytes,
            is_unread: false,
        }
    }

    /// Waits for the head of the answer, within `firstByte` from the end of the request and within `duration`.
    pub(super) async fn head(&mut self) -> Result<Answered, Unanswered> {
        let exchange = self.exchange.as_mut().expect("an exchange is awaited once");
        let outcome = tokio::select! {
            // An answer that is there is passed on, however late.
            biased;
            outcome = exchange => outcome,
            () = first_byte(&self.upload, self.first_byte) => return Err(self.cut(Failure::FirstByteTimeout)),
            () = until(self.clocks.deadline) => return Err(self.cut(Failure::DurationExceeded)),
        };
        self.exchange = None;
        match outcome {
            Ok((response, connection)) => {
                let (head, incoming) = response.into_parts();
                let slot = self
                    .slot
                    .take()
                    .expect("an invocation that runs has its slot");
                let held = Held {
                    incoming,
                    slot,
                    connection,
                    upload: self.upload.clone(),
                };
                Ok(Answered {
                    head,
                    held,
                    clocks: self.clocks,
                    started: self.started,
                })
            }
            Err(SendError::Unreached { request, .. }) => Err(Unanswered::Unreached(request)),
            Err(SendError::Broken(_)) if self.upload.is_too_large() => {
                Err(self.cut(Failure::RequestTooLarge {
                    limit: self.request_bytes,
                }))
            }
            Err(SendError::Broken(_)) if self.upload.was_broken_off() => {
                Err(self.cut(Failure::BadRequest("the request body broke off")))
            }
            Err(error @ SendError::Broken(_)) => Err(self.broke_off(&error).await),
        }
    }

    /// The instance broke off; what it wrote last says why, where that is known.
    async fn broke_off(&mut self, error: &SendError) -> Unanswered {
        let instance = self.slot.as_ref().map(|slot| slot.instance.clone());
        // First of all the slot: nobody gains from waiting for the words.
        self.cut_off();
        let last_words = match instance {
            Some(instance) => instance.last_words().await,
            None => None,
        };
        let last_words = last_words.map(|words| format!("; its last lines:\n{words}"));
        Unanswered::Failed(Failure::InstanceFailed(format!(
            "{error}{}",
            last_words.unwrap_or_default()
        )))
    }

    /// Ends the invocation by force; its instance is not used again.
    fn cut(&mut self, failure: Failure) -> Unanswered {
        self.cut_off();
        Unanswered::Failed(failure)
    }

    fn cut_off(&mut self) {
        self.exchange = None;
        self.slot = None;
    }

    /// The slot of an invocation that did not reach its instance.
    pub(super) fn into_slot(mut self) -> Slot {
        self.slot
            .take()
            .expect("an unreached invocation keeps its slot")
    }

    /// Reads an answer that nobody waits for.
    async fn finish_unread(mut self) {
        if let Ok(answered) = self.head().await {
            let body = AnswerBody::new(answered.held, answered.clocks, Default::default());
            body.discard().await;
        }
        // Otherwise the slot goes unfinished: the instance is not used again.
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_unread && self.exchange.is_some() {
            let rest = Self {
                exchange: self.exchange.take(),
                slot: self.slot.take(),
                upload: self.upload.clone(),
                is_unread: true,
                ..*self
            };
            tokio::spawn(rest.finish_unread());
        }
    }
}

async fn first_byte(upload: &Upload, timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => {
            upload.ended().await;
            sleep(timeout).await;
        }
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
