//! Thaw's own answers: the one place where a failure becomes a status, a code and a sentence.

use std::hash::{DefaultHasher, Hash, Hasher};

use http::{HeaderValue, Response, StatusCode, StatusCode as S, header};
use http_body_util::Full;
use hyper::body::Bytes;

use super::{form::Form, head, upload::RequestFault};
use crate::{engine::Refusal, routes::Unrouted};

/// An overload's clients come back over this many seconds.
const SPREAD: u64 = 4;

/// Why a request has no answer of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    NoRoute,
    BadRequest(&'static str),
    HeadersTooLarge,
    /// The client was too slow.
    RequestTimeout(&'static str),
    TooManyConnections,
    /// `Expect` has something that cannot be met.
    ExpectationFailed,
    LoopDetected,
    RequestTooLarge {
        limit: u64,
    },
    Refused(Refusal),
    /// The operator could not make a revision of the entrypoint.
    NoRevision(String),
    /// The operator has not made a revision of the entrypoint yet.
    NotYet,
    FirstByteTimeout,
    IdleTimeout,
    DurationExceeded,
    InstanceFailed(String),
}

/// What failures of a kind have in common.
#[derive(Debug)]
struct Kind {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
}

const fn kind(status: StatusCode, code: &'static str, title: &'static str) -> Kind {
    Kind {
        status,
        code,
        title,
    }
}

const NO_ROUTE: Kind = kind(S::NOT_FOUND, "NoRoute", "No function answers here");
const BAD_REQUEST: Kind = kind(S::BAD_REQUEST, "BadRequest", "The request is malformed");
const HEADERS_TOO_LARGE: Kind = kind(
    S::REQUEST_HEADER_FIELDS_TOO_LARGE,
    "HeadersTooLarge",
    "The head of the request is too large",
);
const REQUEST_TIMEOUT: Kind = kind(
    S::REQUEST_TIMEOUT,
    "RequestTimeout",
    "The request came too slowly",
);
const TOO_MANY_CONNECTIONS: Kind = kind(
    S::SERVICE_UNAVAILABLE,
    "Unavailable",
    "Too many connections are open",
);
const EXPECTATION_FAILED: Kind = kind(
    S::EXPECTATION_FAILED,
    "ExpectationFailed",
    "The expectation cannot be met",
);
const LOOP_DETECTED: Kind = kind(
    S::LOOP_DETECTED,
    "LoopDetected",
    "The request comes back again and again",
);
const REQUEST_TOO_LARGE: Kind = kind(
    S::PAYLOAD_TOO_LARGE,
    "RequestTooLarge",
    "The request body is too large",
);
const QUEUE_FULL: Kind = kind(
    S::SERVICE_UNAVAILABLE,
    "QueueFull",
    "Too many invocations are waiting",
);
const QUEUE_TIMEOUT: Kind = kind(
    S::SERVICE_UNAVAILABLE,
    "QueueTimeout",
    "No instance became free in time",
);
const BOOT_FAILED: Kind = kind(S::BAD_GATEWAY, "BootFailed", "The function cannot boot");
const BOOT_TIMEOUT: Kind = kind(
    S::GATEWAY_TIMEOUT,
    "BootTimeout",
    "The function did not boot in time",
);
const DRAINING: Kind = kind(
    S::SERVICE_UNAVAILABLE,
    "Draining",
    "The activator is going away",
);
const NO_OWNER: Kind = kind(
    S::SERVICE_UNAVAILABLE,
    "Unavailable",
    "No activator owns the entrypoint",
);
const NOT_YET: Kind = kind(
    S::SERVICE_UNAVAILABLE,
    "Unavailable",
    "The function is not deployed yet",
);
const FIRST_BYTE_TIMEOUT: Kind = kind(
    S::GATEWAY_TIMEOUT,
    "FirstByteTimeout",
    "The function did not answer in time",
);
const IDLE_TIMEOUT: Kind = kind(
    S::GATEWAY_TIMEOUT,
    "IdleTimeout",
    "The function stood still",
);
const DURATION_EXCEEDED: Kind = kind(
    S::GATEWAY_TIMEOUT,
    "DurationExceeded",
    "The invocation took too long",
);
const INSTANCE_FAILED: Kind = kind(S::BAD_GATEWAY, "InstanceFailed", "The function broke off");

/// A failure in words.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) title: &'static str,
    pub(super) detail: String,
}

impl From<Unrouted> for Failure {
    fn from(unrouted: Unrouted) -> Self {
        match unrouted {
            Unrouted::Nowhere => Self::NoRoute,
            Unrouted::Ambiguous => Self::BadRequest(
                "some servers read the path as another entrypoint's; send it without needless escapes, empty segments and parameters",
            ),
        }
    }
}

/// Where the request was going, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place<'a> {
    pub(crate) function: &'a str,
    pub(crate) entrypoint: &'a str,
}

impl Failure {
    /// What a client did wrong with its body; `limit` is how large that may be.
    pub(super) fn of_body(fault: RequestFault, limit: u64) -> Self {
        match fault {
            RequestFault::TooLarge => Self::RequestTooLarge { limit },
            RequestFault::TooSlow => {
                Self::RequestTimeout("the client sends its body too slowly; send it faster")
            }
            RequestFault::BrokenOff => Self::BadRequest("the request body broke off"),
        }
    }

    fn kind(&self) -> &'static Kind {
        match self {
            Self::NoRoute => &NO_ROUTE,
            Self::BadRequest(_) => &BAD_REQUEST,
            Self::HeadersTooLarge => &HEADERS_TOO_LARGE,
            Self::RequestTimeout(_) => &REQUEST_TIMEOUT,
            Self::TooManyConnections => &TOO_MANY_CONNECTIONS,
            Self::ExpectationFailed => &EXPECTATION_FAILED,
            Self::LoopDetected => &LOOP_DETECTED,
            Self::RequestTooLarge { .. } => &REQUEST_TOO_LARGE,
            Self::Refused(Refusal::QueueFull | Refusal::HeldFull) => &QUEUE_FULL,
            Self::Refused(Refusal::QueueTimeout) => &QUEUE_TIMEOUT,
            Self::Refused(Refusal::BootFailed(_)) | Self::NoRevision(_) => &BOOT_FAILED,
            Self::Refused(Refusal::BootTimeout(_)) => &BOOT_TIMEOUT,
            Self::Refused(Refusal::Draining) => &DRAINING,
            Self::Refused(Refusal::Unavailable) => &NO_OWNER,
            Self::NotYet => &NOT_YET,
            Self::FirstByteTimeout => &FIRST_BYTE_TIMEOUT,
            Self::IdleTimeout => &IDLE_TIMEOUT,
            Self::DurationExceeded => &DURATION_EXCEEDED,
            Self::InstanceFailed(_) => &INSTANCE_FAILED,
        }
    }

    /// What somebody can do about it.
    fn detail(&self) -> String {
        let detail: &str = match self {
            Self::Refused(refusal) => return detail_of(refusal),
            Self::BadRequest(problem) | Self::RequestTimeout(problem) => problem,
            Self::NoRevision(problem) | Self::InstanceFailed(problem) => problem,
            Self::RequestTooLarge { limit } => {
                return format!("limits.requestBytes of the entrypoint is {limit} bytes");
            }
            Self::NoRoute => "no Function has this host and path",
            Self::HeadersTooLarge => {
                "too many header fields, or too many bytes in them and in the URL"
            }
            Self::TooManyConnections => "every connection of the activator is busy; try again",
            Self::ExpectationFailed => "Expect may be 100-continue; send the request without it",
            Self::LoopDetected => {
                "it has passed the activator 16 times (CDN-Loop); a function calls itself"
            }
            Self::NotYet => "the operator has not made a revision of the entrypoint yet; try again",
            Self::FirstByteTimeout => "timeouts.firstByte of the entrypoint passed",
            Self::IdleTimeout => {
                "timeouts.idle of the entrypoint passed: nothing was read of the request"
            }
            Self::DurationExceeded => "timeouts.duration of the entrypoint passed",
        };
        detail.to_owned()
    }

    /// The machine-readable code.
    pub(crate) fn code(&self) -> &'static str {
        self.kind().code
    }

    /// The answer, in the form that the client reads.
    pub(crate) fn answer(
        &self,
        place: Place<'_>,
        id: &HeaderValue,
        form: Form,
    ) -> Response<Full<Bytes>> {
        let &Kind {
            status,
            code,
            title,
        } = self.kind();
        let detail = self.detail();
        let problem = Problem {
            status,
            code,
            title,
            detail,
        };
        let mut answer = form.write(&problem, place, id.to_str().unwrap_or_default());
        let headers = answer.headers_mut();
        headers.insert(head::ERROR, HeaderValue::from_static(code));
        headers.insert(head::REQUEST_ID, id.clone());
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, self.retry_after(id).into());
        }
        answer
    }

    /// In how many seconds to come back. Those who were refused together must not come back together.
    fn retry_after(&self, id: &HeaderValue) -> u64 {
        match self {
            Self::Refused(Refusal::QueueFull | Refusal::HeldFull | Refusal::QueueTimeout) => {
                let mut hasher = DefaultHasher::new();
                id.hash(&mut hasher);
                1 + hasher.finish() % SPREAD
            }
            _ => 1,
        }
    }
}

fn detail_of(refusal: &Refusal) -> String {
    let detail = match refusal {
        Refusal::BootFailed(failure) | Refusal::BootTimeout(failure) => {
            return format!("{}: {}", failure.reason, failure.message);
        }
        Refusal::QueueFull => "limits.queue of the entrypoint is reached",
        Refusal::HeldFull => {
            "the activator holds no more requests of this namespace while so many wait; whoever runs it can raise activator.limits.heldRequests (--max-held-requests)"
        }
        Refusal::QueueTimeout => {
            "timeouts.queue of the entrypoint passed; raise scale.max or the timeout"
        }
        Refusal::Draining => "no instance of the entrypoint is left here; try again",
        Refusal::Unavailable => "the activator is handing over; try again",
    };
    detail.to_owned()
}

/// The answer to `OPTIONS *`: there is a server (RFC 9110 §9.3.7). What a function allows is its own to say.
pub(crate) fn alive(id: &HeaderValue) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer.headers_mut().insert(head::REQUEST_ID, id.clone());
    answer
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn an_answer_says_what_happened_in_header_and_body() {
        let failure = crate::engine::BootFailure {
            reason: "ErrImagePull".into(),
            message: "not found".into(),
        };
        let failure = Failure::Refused(Refusal::BootFailed(failure));
        let place = Place {
            function: "shop",
            entrypoint: "orders",
        };
        let answer = failure.answer(place, &HeaderValue::from_static("r1"), Form::Problem);
        assert_eq!(answer.status(), 502);
        assert_eq!(answer.headers()["thaw-error"], "BootFailed");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["detail"], "ErrImagePull: not found");
        assert_eq!(
            (&problem["function"], &problem["requestId"]),
            (&"shop".into(), &"r1".into())
        );
    }

    #[test]
    fn clients_are_told_to_come_back_from_an_overload_one_after_the_other() {
        for refusal in [Refusal::QueueFull, Refusal::HeldFull, Refusal::QueueTimeout] {
            let mut told = [0; SPREAD as usize];
            for number in 0..1_000 {
                let id = HeaderValue::from(number);
                let answer =
                    Failure::Refused(refusal.clone()).answer(Place::default(), &id, Form::Problem);
                assert_eq!(answer.status(), 503);
                let wait = answer.headers()["retry-after"].to_str().unwrap();
                told[wait.parse::<usize>().unwrap() - 1] += 1;
            }
            assert!(told.iter().all(|clients| *clients > 200), "{told:?}");
        }
    }
}
