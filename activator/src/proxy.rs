//! One request: find its entrypoint, wait for a slot, send it, pass the answer on.
//!
//! A request is held by not reading its body. It goes to a second instance only if the first saw no byte of it.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod head;
mod running;
pub(crate) mod upload;

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;
use http::{
    HeaderValue, Request, Response, Version,
    header::{CONNECTION, TRANSFER_ENCODING},
    request::Parts,
};
use http_body_util::{Either, Full};
use hyper::body::{Body, Bytes, Incoming};
use tokio::time::Instant;

use crate::{
    entrypoint::{Entrypoint, Key, Slot},
    metrics::Metrics,
    routes::{Route, Routes},
};
use answer::{Failure, Place};
use body::AnswerBody;
pub use head::TrustedProxies;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub use head::fuzzing;
use head::{Added, Asked, Peer};
use running::{Answered, Running, Unanswered};
use upload::RequestBody;

/// An answer: Thaw's own or a function's.
pub(crate) type Answer = Response<Either<Full<Bytes>, AnswerBody>>;

/// What every request needs.
#[derive(Debug)]
pub struct Proxy {
    /// Which entrypoint answers what.
    pub routes: ArcSwap<Routes>,
    /// Where refusals are counted.
    pub metrics: Arc<Metrics>,
    /// Whose word about the client counts.
    pub trusted: TrustedProxies,
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
            Ok(target) if target.is_server => return answer::alive(&id).map(Either::Left),
            Ok(target) => target,
            Err(failure) => return self.refuse_head(&failure, parts.version, &id),
        };
        let length = target.length;
        let found = {
            let routes = self.routes.load();
            let found = routes.find(&target.host, parts.uri.path());
            found.map(|(host, route)| (host.clone(), route.clone()))
        };
        let (host, route) = match found {
            Ok(found) => found,
            Err(unrouted) => return self.refuse_head(&unrouted.into(), parts.version, &id),
        };
        let place = Place {
            function: &host.function,
            entrypoint: &route.entrypoint,
        };
        let key = route.target.as_ref().ok().map(|entrypoint| &entrypoint.key);
        let peer = Peer {
            address: peer,
            is_trusted: self.trusted.trust(peer),
        };
        let asked = Asked {
            upgrade: None, // nothing here carries an upgraded connection
            ..Asked::of(&parts)
        };
        let added = Added {
            id: &id,
            prefix: &route.path,
            peer,
            asked: &asked,
            length,
        };
        match invoke(&route, parts, body, &added).await {
            Ok(answer) => answer.map(Either::Right),
            Err(failure) => self.refuse(&failure, place, key, &id),
        }
    }

    /// After a head that another server may read in another way, nothing more is read from its connection (RFC 9112 §6.3): what looks like the
    /// next request may be the body of this one.
    fn refuse_head(&self, failure: &Failure, version: Version, id: &HeaderValue) -> Answer {
        let mut answer = self.refuse(failure, Place::default(), None, id);
        if version < Version::HTTP_2 && *failure != Failure::NoRoute {
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(CONNECTION, close);
        }
        answer
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
    added: &Added<'_>,
) -> Result<Response<AnswerBody>, Failure> {
    let limit = route.request_bytes;
    if added.length.is_some_and(|length| length > limit) {
        return Err(Failure::RequestTooLarge { limit });
    }
    let entrypoint = route.target.as_ref().map_err(|why| match why {
        Some(why) => Failure::NoRevision(why.clone()),
        None => Failure::NotYet,
    })?;
    head::prepare(&mut parts, added);
    if added.length.is_none() && !body.is_end_stream() {
        // hyper leaves the body of a GET without a length out.
        parts
            .headers
            .insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let (body, upload) = RequestBody::new(body, limit, entrypoint.meter.request_bytes());

    let arrived = Instant::now();
    let slot = entrypoint.admit().await.map_err(Failure::Refused)?;
    let mut running = Running::start(
        slot,
        Request::from_parts(parts, body),
        upload.clone(),
        route,
    );
    let Answered {
        mut head,
        held,
        clocks,
        started,
    } = loop {
        match running.head().await {
            Ok(answered) => break answered,
            Err(Unanswered::Unreached(request)) => {
                let slot = again(entrypoint, running.into_slot()).await?;
                running = Running::start(slot, *request, upload.clone(), route);
            }
            Err(Unanswered::Failed(failure)) => return Err(failure),
        }
    };
    let waited = started - arrived;
    entrypoint.meter.waited(waited);
    let timing = Timing {
        waited,
        boot: held.slot.boot,
        thaw: held.slot.thaw,
        exec: started.elapsed(),
    };
    entrypoint
        .meter
        .answered(timing.kind(), head.status.as_u16());
    head::strip_hop_by_hop(&mut head.headers);
    head.headers.remove(head::ERROR);
    head.headers.insert(head::REQUEST_ID, added.id.clone());
    head.version = Version::HTTP_11;
    timing.write(&mut head.headers);
    let bytes = entrypoint.meter.response_bytes();
    Ok(Response::from_parts(
        head,
        AnswerBody::new(held, clocks, bytes),
    ))
}

async fn again(entrypoint: &Arc<Entrypoint>, slot: Slot) -> Result<Slot, Failure> {
    tracing::debug!(entrypoint = %entrypoint.key, pod = slot.instance.name, "instance refused the connection, waiting for another");
    entrypoint.admit_again(slot).await.map_err(Failure::Refused)
}

/// What the answer's headers say about its way.
struct Timing {
    waited: std::time::Duration,
    boot: Option<std::time::Duration>,
    thaw: Option<std::time::Duration>,
    exec: std::time::Duration,
}

impl Timing {
    fn kind(&self) -> &'static str {
        match (self.boot, self.thaw) {
            (Some(_), _) => "cold",
            (None, Some(_)) => "thawed",
            (None, None) => "hot",
        }
    }

    fn write(&self, headers: &mut http::HeaderMap) {
        let ms = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
        // An invocation may have come while the instance was booting already.
        let boot = self.boot.unwrap_or_default().min(self.waited);
        let thaw = self.thaw.unwrap_or_default().min(self.waited - boot);
        let queue = self.waited - boot - thaw;
        let value = format!(
            "queue;dur={:.1}, boot;dur={:.1}, thaw;dur={:.1}, exec;dur={:.1}",
            ms(queue),
            ms(boot),
            ms(thaw),
            ms(self.exec)
        );
        headers.insert(head::BOOT, HeaderValue::from_static(self.kind()));
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.append(head::SERVER_TIMING, value);
        }
    }
}
