//! Heads of requests and answers: what is refused, what is stripped, what is added.
//!
//! hyper lets through much that RFC 9110 and RFC 9112 do not; what would let a client and a function disagree about where a request
//! ends is refused here. The host and the path alone say which function answers.

mod forwarded;
mod framing;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod hops;
mod host;
mod loops;
pub(crate) mod path;
mod present;

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri, Version,
    header::{COOKIE, Entry, HOST, TRAILER},
    request::Parts,
    uri::PathAndQuery,
};

use super::answer::Failure;
pub(crate) use forwarded::Peer;
pub use forwarded::TrustedProxies;
pub(crate) use hops::{Asked, agree};
pub(crate) use present::Present;

/// Kept if the client sent it, else made.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The path of the entrypoint, as the function's routes see it.
pub(crate) const PATH_PREFIX: HeaderName = HeaderName::from_static("thaw-path-prefix");
/// Only Thaw's own error answers carry it.
pub(crate) const ERROR: HeaderName = HeaderName::from_static("thaw-error");
/// `cold` or `hot`.
pub(crate) const BOOT: HeaderName = HeaderName::from_static("thaw-boot");
/// W3C Server Timing.
pub(crate) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// W3C Trace Context; passed on.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Longest request id that is kept.
const REQUEST_ID_BYTES: usize = 128;

/// Fields besides ours and the forwarded ones that must not come in under a name with `_`: they say where a request ends or what it is.
const EXACT: [&str; 7] = [
    "x-request-id",
    "cdn-loop",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "proxy-connection",
];

/// What a request asks for, once it is known to be well formed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// In lower case, without port and trailing dot.
    pub(crate) host: Cow<'a, str>,
    /// `content-length`, if there is one.
    pub(crate) length: Option<u64>,
    /// `expect: 100-continue`: the client waits to be asked for its body.
    pub(crate) waits: bool,
    /// `OPTIONS *`: it is about the server and not about a function (RFC 9110 §9.3.7).
    pub(crate) is_server: bool,
}

/// Checks a head. `present` says which fields it has; the others are not looked for.
///
/// # Errors
/// What is wrong, for the client.
pub(crate) fn check<'a>(
    parts: &'a Parts,
    present: Present,
    peer: &'a Peer,
) -> Result<Target<'a>, Failure> {
    let bad = Failure::BadRequest;
    if parts.method == Method::CONNECT || parts.method == Method::TRACE {
        return Err(bad("the methods CONNECT and TRACE are not served"));
    }
    if let Some(scheme) = parts.uri.scheme_str()
        && !["http", "https"].contains(&scheme)
    {
        return Err(bad("the request target is not one of HTTP"));
    }
    let is_server = parts.method == Method::OPTIONS && parts.uri.path() == "*";
    // A query alone is a target in absolute-form only (RFC 9112 §3.2.2, RFC 9113 §8.3.1).
    let is_query = |target: &PathAndQuery| target.as_str().starts_with('?');
    if parts.version == Version::HTTP_2 && parts.uri.path_and_query().is_some_and(is_query) {
        return Err(bad("the request target is not a path"));
    }
    if !is_server {
        path::check(parts.uri.path()).map_err(bad)?;
    }
    let host = host::of(parts, peer).map_err(bad)?;
    let length = if present.length {
        framing::length(parts).map_err(bad)?
    } else {
        None
    };
    framing::edges(parts).map_err(bad)?;
    framing::once(&parts.headers).map_err(bad)?;
    let waits = present.expect && framing::expectation(&parts.headers)?;
    if present.cdn_loop && loops::is_loop(&parts.headers) {
        return Err(Failure::LoopDetected);
    }
    Ok(Target {
        host,
        length,
        waits,
        is_server,
    })
}

/// The request's id: the client's if it can be trusted in a log line, else a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let sent = headers.get(REQUEST_ID).filter(|id| {
        let bytes = id.as_bytes();
        !bytes.is_empty()
            && bytes.len() <= REQUEST_ID_BYTES
            && bytes.iter().all(u8::is_ascii_graphic)
    });
    // A copy: the id is kept to the end, and would keep the whole buffer that the head was read into.
    let sent = sent.and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok());
    sent.unwrap_or_else(new_id)
}

/// The id of a request that came without.
pub(crate) fn new_id() -> HeaderValue {
    let mut text = uuid::Uuid::encode_buffer();
    let text = uuid::Uuid::new_v4().hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).expect("a UUID is ASCII")
}

/// What Thaw adds to a request, and what it knows of it.
#[derive(Debug)]
pub(crate) struct Added<'a> {
    pub(crate) id: &'a HeaderValue,
    /// What the head had before.
    pub(crate) present: Present,
    /// Path of the entrypoint.
    pub(crate) prefix: &'a str,
    pub(crate) peer: &'a Peer,
    /// What the instance is asked for over its connection.
    pub(crate) asked: &'a Asked,
    /// `content-length`, as [`check`] read it.
    pub(crate) length: Option<u64>,
    /// The client waits to be asked for its body.
    pub(crate) waits: bool,
}

/// Makes a checked head one for the function. Fields that only concern this connection go first, so that a client cannot have Thaw's own
/// stripped by naming them in `Connection`.
pub(crate) fn prepare(parts: &mut Parts, added: &Added<'_>) {
    let headers = &mut parts.headers;
    hops::strip(headers, |name| {
        is_misleading(name) || forwarded::is_forged(name, added.peer)
    });
    if added.present.trailer {
        strip_trailers(headers, added.length);
    }
    if let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        headers.insert(HOST, host);
    }
    if let Some(host) = headers.get(HOST).cloned() {
        forwarded::write(headers, &host, added.peer, added.present.forwarded);
    }
    loops::mark(headers);
    headers.insert(REQUEST_ID, added.id.clone());
    if let Ok(prefix) = HeaderValue::from_str(added.prefix) {
        headers.insert(PATH_PREFIX, prefix);
    }
    framing::rewrite_length(headers, added.length);
    join_cookies(headers);
    added.asked.write(headers);
    parts.version = Version::HTTP_11;
    parts.uri = origin_form(std::mem::take(&mut parts.uri));
}

/// The target without scheme and authority. `http://host?query` has no path of its own (RFC 9112 §3.2.1); nor has `http://host#fragment`, of
/// which `http` leaves a target that says it is `/` and is written as nothing.
fn origin_form(uri: Uri) -> Uri {
    let target = uri.into_parts().path_and_query;
    match target {
        Some(target) if target.as_str().len() > 1 => match target.as_str().strip_prefix('?') {
            Some(query) => format!("/?{query}").parse().unwrap_or_default(),
            None => Uri::from(target),
        },
        _ => Uri::default(),
    }
}

/// HTTP/2 may split cookies over several fields, HTTP/1.1 may not (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if framing::has_second_lines(headers) && headers.get_all(COOKIE).iter().nth(1).is_some() {
        join(headers, &COOKIE, b"; ", None);
    }
}

/// Whether a field says what Thaw says, or where a request ends and what it is. To CGI and WSGI programs `_` and `-` are one.
fn is_taken(name: &str) -> bool {
    let name = name.trim().to_ascii_lowercase().replace('_', "-");
    let is_ours = name.starts_with("thaw-") || EXACT.contains(&&*name);
    is_ours || name == "forwarded" || forwarded::is_believed(&name)
}

/// What comes after the body may not stand for what was said before it. hyper sends only the trailers that are announced, and only a
/// chunked body has any (RFC 9112 §7.1.2).
fn strip_trailers(headers: &mut HeaderMap, length: Option<u64>) {
    let announced = headers.get_all(TRAILER).iter();
    let announced = announced.filter_map(|value| value.to_str().ok());
    let announced = announced.flat_map(|value| value.split(','));
    let announced: Vec<&str> = announced.filter(|name| !is_taken(name)).collect();
    let announced = announced.join(",");
    match HeaderValue::try_from(announced) {
        Ok(value) if length.is_none() && !value.is_empty() => drop(headers.insert(TRAILER, value)),
        _ => drop(headers.remove(TRAILER)),
    }
}

/// The same for trailers as they come, which HTTP/2 does not announce.
pub(crate) fn strip_taken(trailers: &mut HeaderMap) {
    let taken = trailers.keys().filter(|name| is_taken(name.as_str()));
    for name in taken.cloned().collect::<Vec<_>>() {
        trailers.remove(name);
    }
}

/// Makes the head of an answer one for the client. Only Thaw's own answers may say that they are.
pub(crate) fn prepare_answer(headers: &mut HeaderMap, id: &HeaderValue) {
    hops::strip(headers, |name| *name == ERROR);
    headers.insert(REQUEST_ID, id.clone());
}

/// Makes what an instance says before its answer something for the client.
pub(crate) fn prepare_interim(headers: &mut HeaderMap) {
    hops::strip(headers, |name| is_taken(name.as_str()));
}

/// Whether a program might take a field for one of Thaw's, or for something else. CGI takes `Proxy` for its HTTP_PROXY.
fn is_misleading(name: &HeaderName) -> bool {
    *name == ERROR
        || name.as_str() == "proxy"
        || name.as_str().contains('_') && is_taken(name.as_str())
}

fn append_list(headers: &mut HeaderMap, name: HeaderName, item: HeaderValue) {
    match headers.entry(&name) {
        Entry::Occupied(_) => join(headers, &name, b", ", Some(item.as_bytes())),
        Entry::Vacant(none) => drop(none.insert(item)),
    }
}

/// Makes one line of several, and of one more.
fn join(headers: &mut HeaderMap, name: &HeaderName, separator: &[u8], more: Option<&[u8]>) {
    let sent = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let sent = sent.filter(|line| !line.is_empty());
    let lines: Vec<&[u8]> = sent.chain(more).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(separator)) {
        headers.insert(name, joined);
    }
}

#[cfg(test)]
mod tests;
