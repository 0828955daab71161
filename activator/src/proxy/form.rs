//! The form of Thaw's own answers: what the client reads.

use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE},
    request::Parts,
};
use http_body_util::Full;
use hyper::body::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::json;

use super::answer::{Place, Problem};

/// What stands for itself in `grpc-message`: printable ASCII but for `%`.
const GRPC_MESSAGE: &AsciiSet = &CONTROLS.add(b'%');
/// Longest `grpc-message` before it is encoded, so that a client's limit on trailers is not met.
const GRPC_MESSAGE_CHARS: usize = 1000;

/// How a failure is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// `application/problem+json` (RFC 9457).
    #[default]
    Problem,
    /// A page for a person.
    Page,
    /// A status in the trailers alone: a gRPC client makes no sense of anything else.
    Grpc,
}

impl Form {
    /// The form for a request.
    pub(crate) fn of(parts: &Parts) -> Self {
        if is_grpc(&parts.headers) {
            Self::Grpc
        } else if parts.method == Method::GET && wants_page(&parts.headers) {
            Self::Page
        } else {
            Self::Problem
        }
    }

    pub(super) fn write(
        self,
        problem: &Problem,
        place: Place<'_>,
        id: &str,
    ) -> Response<Full<Bytes>> {
        let (status, kind, text) = match self {
            Self::Problem => (
                problem.status,
                "application/problem+json",
                json(problem, place, id),
            ),
            Self::Page => (
                problem.status,
                "text/html; charset=utf-8",
                page(problem, place, id),
            ),
            Self::Grpc => (StatusCode::OK, "application/grpc", String::new()),
        };
        let mut answer = Response::new(Full::new(Bytes::from(text)));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self == Self::Grpc {
            headers.insert("grpc-status", grpc_status(problem).into());
            let message: String = problem.detail.chars().take(GRPC_MESSAGE_CHARS).collect();
            let message = format!("{}: {message}", problem.code);
            let message = utf8_percent_encode(&message, GRPC_MESSAGE).to_string();
            if let Ok(message) = HeaderValue::from_str(&message) {
                headers.insert("grpc-message", message);
            }
        }
        answer
    }
}

/// Whether the request is a gRPC call.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
}

fn wants_page(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get(ACCEPT)
        .and_then(|accepted| accepted.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("text/html"))
}

fn json(problem: &Problem, place: Place<'_>, id: &str) -> String {
    let problem = json!({
        "type": "about:blank",
        "title": problem.title,
        "status": problem.status.as_u16(),
        "detail": problem.detail,
        "code": problem.code,
        "function": place.function,
        "entrypoint": place.entrypoint,
        "requestId": id,
    });
    problem.to_string()
}

fn page(problem: &Problem, place: Place<'_>, id: &str) -> String {
    let Problem {
        status,
        code,
        title,
        detail,
    } = problem;
    let of = match place.function {
        "" => String::new(),
        function => format!(
            "<p>Function {function}, entrypoint {}</p>",
            place.entrypoint
        ),
    };
    let (detail, id) = (
        html_escape::encode_text(detail),
        html_escape::encode_text(id),
    );
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>{title}</title>\
         <style>body{{font:1rem/1.5 system-ui;max-width:40rem;margin:15vh auto;padding:0 1rem;color-scheme:light dark}}pre{{white-space:pre-wrap}}small{{opacity:.6}}</style>\
         <h1>{title}</h1><pre>{detail}</pre>{of}<p><small>{} {code} &middot; request {id}</small></p></html>\n",
        status.as_u16()
    )
}

/// A status code of gRPC. `UNAVAILABLE` promises that the call has not run, so that a client may try again.
fn grpc_status(problem: &Problem) -> u16 {
    const DEADLINE_EXCEEDED: u16 = 4;
    const RESOURCE_EXHAUSTED: u16 = 8;
    const UNIMPLEMENTED: u16 = 12;
    const INTERNAL: u16 = 13;
    const UNAVAILABLE: u16 = 14;
    match problem.code {
        "NoRoute" => UNIMPLEMENTED,
        "RequestTooLarge" => RESOURCE_EXHAUSTED,
        "FirstByteTimeout" | "DurationExceeded" | "IdleTimeout" | "RequestTimeout" => {
            DEADLINE_EXCEEDED
        }
        "BadRequest" | "InstanceFailed" | "LoopDetected" | "HeadersTooLarge" => INTERNAL,
        _ => UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::BodyExt;

    use super::*;

    fn form(method: &str, headers: &[(&str, &str)]) -> Form {
        let request = Request::builder().method(method);
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        Form::of(&request.body(()).unwrap().into_parts().0)
    }

    fn problem() -> Problem {
        Problem {
            status: StatusCode::BAD_GATEWAY,
            code: "InstanceFailed",
            title: "The function broke off",
            detail: "<b>50 %</b>\nüber".to_owned(),
        }
    }

    #[test]
    fn the_form_is_what_the_client_reads() {
        let browser = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        assert_eq!(form("GET", &[]), Form::Problem);
        assert_eq!(form("GET", &[("accept", "*/*")]), Form::Problem);
        assert_eq!(form("GET", &[browser]), Form::Page);
        assert_eq!(form("POST", &[browser]), Form::Problem);
        assert_eq!(
            form("POST", &[("content-type", "application/grpc+proto")]),
            Form::Grpc
        );
    }

    #[test]
    fn a_call_gets_a_status_of_its_own() {
        let answer = Form::Grpc.write(&problem(), Place::default(), "r1");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["grpc-status"], "13");
        assert_eq!(
            answer.headers()["grpc-message"],
            "InstanceFailed: <b>50 %25</b>%0A%C3%BCber"
        );
    }

    #[tokio::test]
    async fn a_page_shows_what_a_function_said_and_does_not_run_it() {
        let place = Place {
            function: "shop",
            entrypoint: "orders",
        };
        let answer = Form::Page.write(&problem(), place, "r1");
        assert_eq!(answer.status(), 502);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let text = std::str::from_utf8(&body).unwrap();
        for part in [
            "&lt;b&gt;50 %",
            "Function shop, entrypoint orders",
            "request r1",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("<b>"), "{text}");
    }
}
