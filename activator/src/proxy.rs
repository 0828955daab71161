//! One request: find its entrypoint, wait for a slot, send it, pass the answer on.
//!
//! A request is held by not reading its body. It goes to a second instance only if the first saw no byte of it.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod head;

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, request::Parts};
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::{
    engine::Refusal,
    entrypoint::{Entrypoint, Key, Slot},
    instance::{Connection, SendError},
    metrics::Metrics,
    routes::{Route, Routes},
};
use answer::{Failure, Place};
use body::{AnswerBody, Clocks, RequestBody, Upload};
use head::Target;

/// An answer: Thaw's own or a function's.
pub(crate) type Answer = Response<Either<Full<Bytes>, AnswerBody>>;

/// What every request needs.
#[derive(Debug)]
pub struct Proxy {
    /// Which entrypoint answers what.
    pub routes: ArcSwap<Routes>,
    /// Where refusals are counted.
    pub metrics: Arc<Metrics>,
}

impl Proxy {
    /// Answers one request. Never fails: what goes wrong becomes an answer.
    ///
    /// # Cancel safety
    /// Dropping the future gives up a place in the queue. An invocation that has begun goes on to its end without a reader.
    pub(crate) async fn serve(&self, request: Request<Incoming>, peer: IpAddr) -> Answer {
        let (parts, body) = request.into_parts();
        let id = head::request_id(&parts.headers);
        let target = match head::check(&parts) {
            Ok(target) => target,
            Err(problem) => {
                return self.refuse(&Failure::BadRequest(problem), Place::default(), None, &id);
            }
        };
        let routes = self.routes.load();
        let host = routes.host(&target.host);
        let Some((host, route)) =
            host.and_then(|host| Some((host.clone(), host.route(parts.uri.path())?.clone())))
        else {
            return self.refuse(&Failure::NoRoute, Place::default(), None, &id);
        };
        drop(routes);
        let place = Place {
            function: &host.function,
            entrypoint: &route.entrypoint,
        };
        let key = route.target.as_ref().ok().map(|entrypoint| &entrypoint.key);
        match invoke(&route, parts, body, &target, &id, peer).await {
            Ok(answer) => answer.map(Either::Right),
            Err(failure) => self.refuse(&failure, place, key, &id),
        }
    }

    fn refuse(
        &self,
        failure: &Failure,
        place: Place<'_>,
        key: Option<&Key>,
        id: &HeaderValue,
    ) -> Answer {
        self.metrics.rejected(key, failure.code());
        failure.answer(place, id).map(Either::Left)
    }
}

/// Runs one invocation up to the head of its answer.
async fn invoke(
    route: &Route,
    mut parts: Parts,
    body: Incoming,
    target: &Target,
    id: &HeaderValue,
    peer: IpAddr,
) -> Result<Response<AnswerBody>, Failure> {
    let limit = route.request_bytes;
    if target.length.is_some_and(|length| length > limit) {
        return Err(Failure::RequestTooLarge { limit });
    }
    let entrypoint = route.target.as_ref().map_err(|why| match why {
        Some(why) => Failure::NoRevision(why.clone()),
        None => Failure::NotYet,
    })?;
    head::prepare(&mut parts, target, id, &route.path, peer);
    let (body, upload) = RequestBody::new(body, limit, entrypoint.meter.request_bytes.clone());

    let arrived = Instant::now();
    let slot = entrypoint.admit().await.map_err(Failure::Refused)?;
    let mut running = Running::start(slot, Request::from_parts(parts, body), route);
    let (response, connection) = loop {
        match running.head(&upload, route).await {
            Ok(exchange) => break exchange,
            Err(Unanswered::Unreached(request)) => {
                let slot = again(entrypoint, running.into_slot()).await?;
                running = Running::start(slot, *request, route);
            }
            Err(Unanswered::Failed(failure)) => return Err(failure),
        }
    };
    let (slot, clocks, started) = running.answered();
    entrypoint.meter.waited(started - arrived);
    let timing = Timing {
        waited: started - arrived,
        boot: slot.boot,
        exec: started.elapsed(),
    };
    let (mut parts, incoming) = response.into_parts();
    entrypoint
        .meter
        .answered(timing.kind(), parts.status.as_u16());
    head::strip_hop_by_hop(&mut parts.headers);
    parts.headers.remove(head::ERROR);
    timing.write(&mut parts.headers);
    parts.headers.insert(head::REQUEST_ID, id.clone());
    let bytes = entrypoint.meter.response_bytes.clone();
    Ok(Response::from_parts(
        parts,
        AnswerBody::new(incoming, slot, connection, clocks, bytes),
    ))
}

async fn again(entrypoint: &Arc<Entrypoint>, slot: Slot) -> Result<Slot, Failure> {
    tracing::debug!(entrypoint = %entrypoint.key, pod = slot.instance.name, "instance refused the connection, waiting for another");
    entrypoint
        .admit_again(slot)
        .await
        .map_err(|refusal: Refusal| Failure::Refused(refusal))
}

type Exchange = Result<(Response<Incoming>, Connection), SendError>;

/// Why there is no head of an answer.
enum Unanswered {
    /// No instance has seen a byte.
    Unreached(Box<Request<RequestBody>>),
    Failed(Failure),
}

/// An invocation that has begun and has no answer yet. Dropped, it goes on without a reader: the instance is busy until it has ended.
struct Running {
    exchange: Option<BoxFuture<'static, Exchange>>,
    slot: Option<Slot>,
    clocks: Clocks,
    started: Instant,
}

impl Running {
    fn start(slot: Slot, request: Request<RequestBody>, route: &Route) -> Self {
        let started = Instant::now();
        let deadline = route.timeouts.duration.map(|duration| started + duration);
        let clocks = Clocks {
            idle: route.timeouts.idle,
            deadline,
        };
        let exchange =
            Some(Box::pin(slot.instance.clone().send(request)) as BoxFuture<'static, Exchange>);
        Self {
            exchange,
            slot: Some(slot),
            clocks,
            started,
        }
    }

    /// Waits for the head of the answer, within `firstByte` from the end of the request and within `duration`.
    async fn head(
        &mut self,
        upload: &Upload,
        route: &Route,
    ) -> Result<(Response<Incoming>, Connection), Unanswered> {
        let exchange = self.exchange.as_mut().expect("an exchange is awaited once");
        let first_byte = async {
            match route.timeouts.first_byte {
                Some(timeout) => {
                    upload.ended().await;
                    sleep(timeout).await;
                }
                None => std::future::pending().await,
            }
        };
        let duration = async {
            match self.clocks.deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let outcome = tokio::select! {
            // An answer that is there is passed on, however late.
            biased;
            outcome = exchange => outcome,
            () = first_byte => return Err(self.cut(Failure::FirstByteTimeout)),
            () = duration => return Err(self.cut(Failure::DurationExceeded)),
        };
        self.exchange = None;
        match outcome {
            Ok(exchange) => Ok(exchange),
            Err(SendError::Unreached { request, .. }) => Err(Unanswered::Unreached(request)),
            Err(SendError::Broken(_)) if upload.is_too_large() => {
                Err(self.cut(Failure::RequestTooLarge {
                    limit: route.request_bytes,
                }))
            }
            Err(error @ SendError::Broken(_)) => {
                Err(self.cut(Failure::InstanceFailed(error.to_string())))
            }
        }
    }

    /// Ends the invocation by force; its instance is not used again.
    fn cut(&mut self, failure: Failure) -> Unanswered {
        self.exchange = None;
        self.slot = None;
        Unanswered::Failed(failure)
    }

    fn into_slot(mut self) -> Slot {
        self.slot
            .take()
            .expect("an unreached invocation keeps its slot")
    }

    fn answered(mut self) -> (Slot, Clocks, Instant) {
        (
            self.slot
                .take()
                .expect("an answered invocation has its slot"),
            self.clocks,
            self.started,
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let (Some(exchange), Some(slot)) = (self.exchange.take(), self.slot.take()) {
            tokio::spawn(finish_unread(exchange, slot, self.clocks));
        }
    }
}

/// Reads an answer that nobody waits for.
async fn finish_unread(exchange: BoxFuture<'static, Exchange>, slot: Slot, clocks: Clocks) {
    let exchange = match clocks.deadline {
        Some(deadline) => timeout_at(deadline, exchange).await.ok(),
        None => Some(exchange.await),
    };
    if let Some(Ok((response, connection))) = exchange {
        let body = AnswerBody::new(
            response.into_body(),
            slot,
            connection,
            clocks,
            Default::default(),
        );
        body.discard().await;
    }
}

/// What the answer's headers say about its way.
struct Timing {
    waited: std::time::Duration,
    boot: Option<std::time::Duration>,
    exec: std::time::Duration,
}

impl Timing {
    fn kind(&self) -> &'static str {
        if self.boot.is_some() { "cold" } else { "hot" }
    }

    fn write(&self, headers: &mut http::HeaderMap) {
        let ms = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
        // An invocation may have come while the instance was booting already.
        let boot = self.boot.unwrap_or_default().min(self.waited);
        let queue = self.waited - boot;
        let value = format!(
            "queue;dur={:.1}, boot;dur={:.1}, exec;dur={:.1}",
            ms(queue),
            ms(boot),
            ms(self.exec)
        );
        headers.insert(head::BOOT, HeaderValue::from_static(self.kind()));
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.append(head::SERVER_TIMING, value);
        }
    }
}
