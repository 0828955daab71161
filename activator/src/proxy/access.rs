//! The access log: one line for each request, when its answer has ended. Off unless asked for.

use std::net::IpAddr;

use http::{HeaderValue, Method, Version, request::Parts};
use http_body_util::Either;
use tokio::time::Instant;

use super::{Answer, answer::Place, head};

/// One request. Dropped, it is written.
#[derive(Debug)]
pub(crate) struct Access {
    arrived: Instant,
    id: HeaderValue,
    client: IpAddr,
    version: Version,
    method: Method,
    host: String,
    /// Without the query, in which there may be secrets.
    path: String,
    function: String,
    entrypoint: String,
    /// 0: the client left before there was an answer.
    status: u16,
    error: Option<HeaderValue>,
    boot: Option<HeaderValue>,
    timing: Option<HeaderValue>,
    pub(super) response_bytes: u64,
    pub(super) is_whole: bool,
}

impl Access {
    /// Nothing if nobody wants the log.
    pub(super) fn begin(parts: &Parts, id: &HeaderValue, client: IpAddr) -> Option<Box<Self>> {
        if !tracing::enabled!(target: "access", tracing::Level::INFO) {
            return None;
        }
        let host = parts.headers.get(http::header::HOST);
        let host = host.and_then(|host| host.to_str().ok());
        let host = host.or_else(|| parts.uri.authority().map(|authority| authority.as_str()));
        Some(Box::new(Self {
            arrived: Instant::now(),
            id: id.clone(),
            client,
            version: parts.version,
            method: parts.method.clone(),
            host: host.unwrap_or_default().to_owned(),
            path: parts.uri.path().to_owned(),
            function: String::new(),
            entrypoint: String::new(),
            status: 0,
            error: None,
            boot: None,
            timing: None,
            response_bytes: 0,
            is_whole: false,
        }))
    }

    pub(super) fn goes_to(&mut self, place: Place<'_>) {
        self.function = place.function.to_owned();
        self.entrypoint = place.entrypoint.to_owned();
    }

    /// There is an answer. It is written when the answer's body has ended; a switch of protocols when it happens.
    pub(super) fn answered(mut self: Box<Self>, answer: &mut Answer) {
        let header = |name| answer.headers().get(name).cloned();
        self.status = answer.status().as_u16();
        self.error = header(head::ERROR);
        self.boot = header(head::BOOT);
        self.timing = header(head::SERVER_TIMING);
        match answer.body_mut() {
            Either::Right(body) => body.log(self),
            Either::Left(_) => self.is_whole = true,
        }
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        let text = |value: &Option<HeaderValue>| {
            let value = value.as_ref().and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        tracing::info!(
            target: "access",
            request_id = text(&Some(self.id.clone())),
            client = %self.client,
            version = ?self.version,
            method = %self.method,
            host = self.host,
            path = self.path,
            function = self.function,
            entrypoint = self.entrypoint,
            status = self.status,
            error = text(&self.error),
            boot = text(&self.boot),
            timing = text(&self.timing),
            response_bytes = self.response_bytes,
            is_whole = self.is_whole,
            seconds = self.arrived.elapsed().as_secs_f64(),
            "request"
        );
    }
}
