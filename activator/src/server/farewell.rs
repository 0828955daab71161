//! Last words on a connection that Thaw ends itself.

use std::time::Duration;

use http::HeaderValue;
use http_body_util::BodyExt;
use hyper::body::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::proxy::{
    answer::{Failure, Place},
    form::Form,
    head,
};

/// What a client hears whose head does not end.
pub(super) const LATE_HEAD: Failure =
    Failure::RequestTimeout("the head of the request took too long");
/// A client has this long to take them.
const PATIENCE: Duration = Duration::from_secs(1);
/// What is read of a client that goes on sending, so that its system does not throw our words away.
const MOST_READ: u64 = 4 << 20;

/// Writes, and closes. A socket closed with unread bytes in it is reset, and a reset overtakes what was written: therefore what
/// still comes is read and thrown away.
pub(super) async fn say(mut stream: TcpStream, words: Bytes) {
    let saying = async {
        stream.write_all(&words).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(MOST_READ), &mut tokio::io::sink()).await
    };
    // A client that does not listen misses the words.
    timeout(PATIENCE, saying).await.ok();
}

/// An error answer as HTTP/1.1 sends it, where no request was read that hyper could answer.
pub(super) fn http1(failure: &Failure) -> Bytes {
    let id = head::request_id(&http::HeaderMap::new());
    let answer = failure.answer(Place::default(), &id, Form::Problem);
    let (mut head, body) = answer.into_parts();
    let body = whole(body);
    head.headers
        .insert(http::header::CONTENT_LENGTH, body.len().into());
    let close = HeaderValue::from_static("close");
    head.headers.insert(http::header::CONNECTION, close);
    let mut words = super::http1::head(head.status, &head.headers);
    words.extend_from_slice(&body);
    words.into()
}

/// A body that is there already.
fn whole(body: http_body_util::Full<Bytes>) -> Bytes {
    use futures::FutureExt;
    let collected = body.collect().now_or_never().and_then(Result::ok);
    collected.map(|body| body.to_bytes()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_message() {
        let words = http1(&LATE_HEAD);
        let words = std::str::from_utf8(&words).unwrap();
        let (head, body) = words.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
            "{head}"
        );
        for field in [
            "thaw-error: RequestTimeout".to_owned(),
            "connection: close".to_owned(),
            format!("content-length: {}", body.len()),
        ] {
            assert!(head.lines().any(|line| line == field), "{head}");
        }
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["code"], "RequestTimeout");
    }
}
