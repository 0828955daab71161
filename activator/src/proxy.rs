//! One request: find its entrypoint, wait for a slot, send it, pass the answer on.
//!
//! A request is held by not reading its body. It goes to a second instance only if the first saw no byte of it.

mod access;
pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod form;
pub(crate) mod head;
mod interim;
mod patience;
mod running;
mod timing;
mod tunnel;
pub(crate) mod upload;
mod waiting;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Version,
    header::{CONNECTION, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
};
use http_body_util::{Either, Full};
use hyper::{
    body::{Body as _, Bytes, Incoming},
    upgrade::OnUpgrade,
};
use tokio::time::{Instant, sleep};

use crate::{
    entrypoint::{Entrypoint, Key, Slot},
    metrics::Metrics,
    routes::{Host, Route, Routes, Unrouted},
    server::{Door, Line},
};
use access::Access;
use answer::{Failure, Place};
use body::AnswerBody;
use form::Form;
pub(crate) use head::Peer;
pub use head::TrustedProxies;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub use head::fuzzing;
use head::{Added, Asked, Present};
pub use patience::Rate;
use running::{Answered, Running, Unanswered};
use timing::Timing;
use tunnel::Tunnel;
use upload::{InstanceRequest, RequestBody, Upload};

/// How long a request waits for the first revision of an entrypoint to be seen: well above what a watch lags behind.
const DEPLOYED: Duration = Duration::from_secs(5);
/// Between two looks for it.
const LOOK: Duration = Duration::from_millis(20);

/// The body of an answer: Thaw's own or a function's.
pub(crate) type Body = Either<Full<Bytes>, Box<AnswerBody>>;
/// An answer.
pub(crate) type Answer = Response<Body>;

/// What every request needs.
#[derive(Debug)]
pub struct Proxy {
    /// Which entrypoint answers what.
    pub routes: ArcSwap<Routes>,
    /// Where refusals are counted.
    pub metrics: Arc<Metrics>,
    /// How slowly a client may send a body; `None` is as slowly as it likes.
    pub body_rate: Option<Rate>,
    /// Whose word about the client counts.
    pub trusted: TrustedProxies,
}

/// A request as it came. It is passed on in a box: each future on its way would have room for it, twice, and is moved with that.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) parts: Parts,
    /// What `parts` had when it came; nothing is added before [`Proxy::serve`].
    present: Present,
    pub(crate) body: Incoming,
    /// To its connection, if that is one of HTTP/1.
    pub(crate) line: Option<Line>,
}

impl From<Request<Incoming>> for Arrival {
    fn from(request: Request<Incoming>) -> Self {
        let (parts, body) = request.into_parts();
        Self {
            present: Present::of(&parts.headers),
            parts,
            body,
            line: None,
        }
    }
}

impl Proxy {
    /// Answers one request. Never fails: what goes wrong becomes an answer.
    ///
    /// # Cancel safety
    /// Dropping the future gives up a place in the queue. An invocation that has begun goes on to its end without a reader.
    pub(crate) async fn serve(&self, arrival: Box<Arrival>, peer: &Peer, door: Door) -> Answer {
        let id = if arrival.present.request_id {
            head::request_id(&arrival.parts.headers)
        } else {
            head::new_id()
        };
        let mut access = Access::begin(&arrival.parts, &id, peer.address);
        let mut answer = self.answer(arrival, &id, (peer, door), &mut access).await;
        if let Some(access) = access {
            access.answered(&mut answer);
        }
        answer
    }

    async fn answer(
        &self,
        arrival: Box<Arrival>,
        id: &HeaderValue,
        (peer, door): (&Peer, Door),
        access: &mut Option<Box<Access>>,
    ) -> Answer {
        let (parts, present) = (&arrival.parts, arrival.present);
        let form = if present.form {
            Form::of(parts)
        } else {
            Form::default()
        };
        let (version, nowhere) = (parts.version, Place::default());
        let refuse = |failure: &Failure, place: Place<'_>, key: Option<&Key>| {
            self.metrics.rejected(key, failure.code());
            failure.answer(place, id, form).map(Either::Left)
        };
        let target = match head::check(parts, present, peer) {
            Ok(target) if target.is_server => return answer::alive(id).map(Either::Left),
            Ok(target) => target,
            Err(failure) => return last(refuse(&failure, nowhere, None), version),
        };
        let (length, waits) = (target.length, target.waits);
        let found = self.settled(&target.host, parts.uri.path(), door).await;
        let (function, route) = match found {
            Ok(found) => found,
            Err(unrouted) => return last(refuse(&unrouted.into(), nowhere, None), version),
        };
        let place = Place {
            function: &function.function,
            entrypoint: &route.entrypoint,
        };
        if let Some(access) = access {
            access.goes_to(place);
        }
        let key = route.target.as_ref().ok().map(|entrypoint| &entrypoint.key);
        let asked = if present.asked {
            Asked::of(parts)
        } else {
            Asked::default()
        };
        let added = Added {
            id,
            present,
            prefix: &route.path,
            peer,
            asked: &asked,
            length,
            waits,
        };
        // A call may be silent for as long as both sides like.
        let rate = self.body_rate.filter(|_| form != Form::Grpc);
        match invoke(&route, arrival, &added, rate).await {
            Ok(answer) => answer,
            Err(failure) => refuse(&failure, place, key),
        }
    }

    /// Where a request goes. One that comes before the activator has seen the first revision waits for that: `kubectl wait` may know sooner
    /// that the Function is Ready.
    pub(crate) async fn settled(
        &self,
        host: &str,
        path: &str,
        door: Door,
    ) -> Result<(Arc<Host>, Arc<Route>), Unrouted> {
        let found = self.route(host, path, door)?;
        if !matches!(found.1.target, Err(None)) {
            return Ok(found);
        }
        let end = Instant::now() + DEPLOYED;
        // In a box, since next to no request comes here and each would have room for it.
        Box::pin(async {
            loop {
                sleep(LOOK).await;
                let found = self.route(host, path, door)?;
                if !matches!(found.1.target, Err(None)) || Instant::now() >= end {
                    return Ok(found);
                }
            }
        })
        .await
    }

    fn route(
        &self,
        host: &str,
        path: &str,
        door: Door,
    ) -> Result<(Arc<Host>, Arc<Route>), Unrouted> {
        let routes = self.routes.load();
        let (host, route) = routes.find(host, path, door)?;
        Ok((host.clone(), route.clone()))
    }

    /// A request that is refused before its target is looked at.
    pub(crate) fn refuse_unrouted(&self, failure: &Failure, headers: &HeaderMap) -> Answer {
        self.metrics.rejected(None, failure.code());
        let (place, id) = (Place::default(), head::request_id(headers));
        failure
            .answer(place, &id, Form::default())
            .map(Either::Left)
    }
}

/// Runs one invocation up to the head of its answer.
async fn invoke(
    route: &Route,
    arrival: Box<Arrival>,
    added: &Added<'_>,
    rate: Option<Rate>,
) -> Result<Answer, Failure> {
    let limit = route.limits.request_bytes;
    if added.length.is_some_and(|length| length > limit) {
        return Err(Failure::RequestTooLarge { limit });
    }
    let entrypoint = route.target.as_ref().map_err(|why| match why {
        Some(why) => Failure::NoRevision(why.clone()),
        None => Failure::NotYet,
    })?;
    let mut onward = onward(rate, route, entrypoint, arrival, added);
    let (ahead, upload) = (onward.ahead, onward.upload);
    let arrived = upload.begun();
    let slot = admit(entrypoint, &mut onward.request, ahead, limit).await?;
    let mut running = Running::start(slot, onward.request, upload.clone(), route);
    let answered = loop {
        match running.head().await {
            Ok(answered) => break answered,
            Err(Unanswered::Unreached(request)) => {
                let slot = Box::pin(again(entrypoint, running.into_slot())).await?;
                running = Running::start(slot, request, upload.clone(), route);
            }
            Err(Unanswered::Failed(failure)) => return Err(failure),
        }
    };
    let client = onward.client.filter(|_| added.asked.upgrade.is_some());
    pass_on(answered, client, entrypoint, arrived, added.id)
}

/// After a head that another server may read in another way, nothing more is read from its connection (RFC 9112 §6.3): what looks like
/// the next request may be the body of this one.
fn last(mut answer: Answer, version: Version) -> Answer {
    if version < Version::HTTP_2 && answer.status() != StatusCode::NOT_FOUND {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(CONNECTION, close);
    }
    answer
}

/// A request on its way to an instance.
struct Onward {
    request: Box<InstanceRequest>,
    upload: Arc<Upload>,
    /// The connection of its client, should it switch protocols.
    client: Option<OnUpgrade>,
    /// Bytes of its body that may be read while it waits.
    ahead: u64,
}

/// Makes a client's request one for the instance.
fn onward(
    rate: Option<Rate>,
    route: &Route,
    entrypoint: &Entrypoint,
    mut arrival: Box<Arrival>,
    added: &Added<'_>,
) -> Onward {
    let parts = &mut arrival.parts;
    // HTTP/1.0 knows no answer before the answer.
    let is_listening = parts.version == Version::HTTP_11;
    let client = parts.extensions.remove::<OnUpgrade>();
    // A client that waits to be asked for its body is asked by an instance.
    let ahead = if added.waits {
        0
    } else {
        route.limits.buffer_bytes
    };
    head::prepare(parts, added);
    if added.length.is_none() && !arrival.body.is_end_stream() {
        // hyper leaves the body of a GET without a length out.
        let chunked = HeaderValue::from_static("chunked");
        parts.headers.insert(TRANSFER_ENCODING, chunked);
    }
    let Arrival {
        parts, body, line, ..
    } = *arrival;
    let bytes = entrypoint.meter.request_bytes();
    let (body, upload) = RequestBody::new(body, route.limits.request_bytes, rate, bytes);
    let mut request = Box::new(Request::from_parts(parts, body));
    let listens = line.clone().filter(|_| is_listening);
    let invitation = interim::listen(&mut request, listens, added.waits);
    request.body_mut().waits_for(invitation);
    request.body_mut().came_over(line);
    Onward {
        request,
        upload,
        client,
        ahead,
    }
}

/// Waits for a slot. Meanwhile this much of the body is read.
async fn admit(
    entrypoint: &Entrypoint,
    request: &mut InstanceRequest,
    ahead: u64,
    limit: u64,
) -> Result<Box<Slot>, Failure> {
    tokio::select! {
        // First, so that nothing is read ahead if a slot is free.
        biased;
        slot = entrypoint.admit() => slot.map(Box::new).map_err(Failure::Refused),
        fault = waiting::wait(request, entrypoint, ahead) => Err(Failure::of_body(fault, limit)),
    }
}

/// Makes an instance's answer one for the client.
fn pass_on(
    answered: Answered,
    client: Option<OnUpgrade>,
    entrypoint: &Entrypoint,
    arrived: Instant,
    id: &HeaderValue,
) -> Result<Answer, Failure> {
    let Answered {
        mut head,
        upgrade,
        held,
        clocks,
    } = answered;
    let (meter, started) = (&entrypoint.meter, held.slot.started);
    let waited = started - arrived;
    meter.waited(waited);
    let timing = Timing {
        waited,
        slot: &held.slot,
        exec: started.elapsed(),
    };
    meter.answered(timing.kind(), head.status.as_u16());
    let protocol = upgrade.as_ref().and_then(|_| head.headers.remove(UPGRADE));
    head::prepare_answer(&mut head.headers, id);
    head.version = Version::HTTP_11;
    timing.write(&mut head.headers);
    let Some(instance) = upgrade else {
        let body = AnswerBody::of(held, clocks, || meter.response_bytes());
        let body = body.map_or_else(|| Either::Left(Full::default()), Either::Right);
        return Ok(Response::from_parts(head, body));
    };
    let (Some(client), Some(protocol)) = (client, protocol) else {
        return Err(Failure::InstanceFailed(
            "it switched protocols without being asked".to_owned(),
        ));
    };
    head::agree(&mut head.headers, protocol);
    let tunnel = Tunnel {
        client,
        instance,
        held,
        clocks,
        request_bytes: meter.request_bytes(),
        response_bytes: meter.response_bytes(),
    };
    tunnel.open();
    Ok(Response::from_parts(head, Either::Left(Full::default())))
}

async fn again(entrypoint: &Arc<Entrypoint>, slot: Box<Slot>) -> Result<Box<Slot>, Failure> {
    tracing::debug!(entrypoint = %entrypoint.key, pod = slot.instance.name, "instance refused the connection, waiting for another");
    let slot = entrypoint.admit_again(*slot).await;
    slot.map(Box::new).map_err(Failure::Refused)
}
