//! An invocation between its slot and the head of its answer.

use std::{sync::Arc, time::Duration};

use crds::function::OnDisconnect;
use futures::future::BoxFuture;
use http::{Response, StatusCode};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tokio::time::Instant;

use super::{
    answer::Failure,
    body::{AnswerBody, Clocks, Ongoing},
    upload::{InstanceRequest, Upload},
};
use crate::{
    alarm::Alarm,
    entrypoint::Slot,
    instance::{Connection, SendError},
    routes::Route,
};

type Exchange = Result<(Response<Incoming>, Connection), SendError>;

/// Why there is no head of an answer.
pub(super) enum Unanswered {
    /// No instance has seen a byte.
    Unreached(Box<InstanceRequest>),
    Failed(Failure),
}

/// The head of an answer, and what the invocation holds until the body has ended.
pub(super) struct Answered {
    pub(super) head: http::response::Parts,
    /// The connection, if the instance switches to another protocol.
    pub(super) upgrade: Option<OnUpgrade>,
    pub(super) held: Ongoing,
    pub(super) clocks: Clocks,
}

/// An invocation that has begun and has no answer yet. Dropped, it goes on without a reader: the instance is busy until it has ended.
pub(super) struct Running {
    exchange: Option<BoxFuture<'static, Exchange>>,
    slot: Option<Box<Slot>>,
    upload: Arc<Upload>,
    clocks: Clocks,
    request_bytes: u64,
    is_cut_with_client: bool,
    /// Nobody waits for it any more. Dropped then, as a runtime that shuts down does, it is cut.
    is_unread: bool,
}

impl Running {
    pub(super) fn start(
        slot: Box<Slot>,
        request: Box<InstanceRequest>,
        upload: Arc<Upload>,
        route: &Route,
    ) -> Self {
        let started = slot.started;
        upload.progressed(started);
        let deadline = route.timeouts.duration.map(|duration| started + duration);
        Self {
            exchange: Some(Box::pin(slot.instance.clone().send(request))),
            slot: Some(slot),
            upload,
            clocks: Clocks {
                first_byte: route.timeouts.first_byte,
                idle: route.timeouts.idle,
                deadline,
            },
            request_bytes: route.limits.request_bytes,
            is_cut_with_client: route.on_disconnect == OnDisconnect::Cancel,
            is_unread: false,
        }
    }

    /// Waits for the head of the answer, within `firstByte` from the end of the request, `idle` between its pieces, and `duration`.
    pub(super) async fn head(&mut self) -> Result<Answered, Unanswered> {
        let exchange = self.exchange.as_mut().expect("an exchange is awaited once");
        let slot = self.slot.as_mut().expect("an exchange has a slot");
        let outcome = tokio::select! {
            // An answer that is there is passed on, however late.
            biased;
            outcome = exchange => outcome,
            clock = run_out(&self.upload, self.clocks, &mut slot.alarm) => return Err(self.cut(clock.into())),
        };
        self.exchange = None;
        match outcome {
            Ok((response, connection)) => Ok(self.answered(response, connection)),
            Err(SendError::Unreached { request, .. }) => Err(Unanswered::Unreached(request)),
            Err(error @ SendError::Broken(_)) => Err(match self.upload.fault() {
                Some(fault) => self.cut(Failure::of_body(fault, self.request_bytes)),
                None => Box::pin(self.broke_off(&error)).await,
            }),
        }
    }

    fn answered(&mut self, mut response: Response<Incoming>, connection: Connection) -> Answered {
        self.upload.answered();
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let upgrade = switches.then(|| hyper::upgrade::on(&mut response));
        let (head, incoming) = response.into_parts();
        let slot = self
            .slot
            .take()
            .expect("an invocation that runs has its slot");
        let held = Ongoing {
            incoming,
            slot,
            connection,
            upload: self.upload.clone(),
            is_cut_with_client: self.is_cut_with_client,
        };
        Answered {
            head,
            upgrade,
            held,
            clocks: self.clocks,
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
    pub(super) fn into_slot(mut self) -> Box<Slot> {
        self.slot
            .take()
            .expect("an unreached invocation keeps its slot")
    }

    /// Reads an answer that nobody waits for.
    async fn finish_unread(mut self) {
        if let Ok(answered) = self.head().await {
            let body = AnswerBody::of(answered.held, answered.clocks, Default::default);
            if let Some(body) = body {
                (*body).discard().await;
            }
        }
        // Otherwise the slot goes unfinished: the instance is not used again.
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_unread && !self.is_cut_with_client && self.exchange.is_some() {
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

/// Which clock ran out before the answer began.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RanOut {
    Idle,
    FirstByte,
    Duration,
}

impl From<RanOut> for Failure {
    fn from(clock: RanOut) -> Self {
        match clock {
            RanOut::Idle => Self::IdleTimeout,
            RanOut::FirstByte => Self::FirstByteTimeout,
            RanOut::Duration => Self::DurationExceeded,
        }
    }
}

/// Waits until a clock has run out before the answer has begun.
async fn run_out(upload: &Upload, clocks: Clocks, alarm: &mut Alarm) -> RanOut {
    let deadline = (clocks.deadline, RanOut::Duration);
    while !upload.has_ended() {
        let silent = clocks.idle.map(|idle| upload.progress() + idle);
        let (at, clock) = sooner((silent, RanOut::Idle), deadline);
        tokio::select! {
            () = upload.ended() => {}
            // A piece that came in between starts the clock of silence again.
            () = alarm.until(at) => if clock != RanOut::Idle || silent_for(upload, clocks.idle) {
                return clock;
            },
        }
    }
    let first_byte = clocks
        .first_byte
        .map(|first_byte| upload.progress() + first_byte);
    let (at, clock) = sooner((first_byte, RanOut::FirstByte), deadline);
    alarm.until(at).await;
    clock
}

fn silent_for(upload: &Upload, idle: Option<Duration>) -> bool {
    idle.is_some_and(|idle| upload.progress().elapsed() >= idle)
}

type Limit = (Option<Instant>, RanOut);

fn sooner(one: Limit, other: Limit) -> Limit {
    let is_other = other
        .0
        .is_some_and(|at| one.0.is_none_or(|first| at < first));
    if is_other { other } else { one }
}
