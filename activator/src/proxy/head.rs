//! Heads of requests and answers: what is refused, what is stripped, what is added.
//!
//! hyper lets through much that RFC 9110 and RFC 9112 do not; what would let a client and a function disagree about where a request
//! ends is refused here.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, COOKIE, FORWARDED, HOST, TE, TRAILER, TRANSFER_ENCODING,
        UPGRADE,
    },
    request::Parts,
};

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

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Connection-level fields (RFC 9110 §7.6.1) besides those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Longest request id that is kept.
const REQUEST_ID_BYTES: usize = 128;

/// What a request asks for, once it is known to be well formed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// In lower case, without port and trailing dot.
    pub(crate) host: String,
    /// `content-length`, if there is one.
    pub(crate) length: Option<u64>,
}

/// Checks a head.
///
/// # Errors
/// What is wrong, for the client.
pub(crate) fn check(parts: &Parts) -> Result<Target, &'static str> {
    if parts.method == Method::CONNECT || parts.method == Method::TRACE {
        return Err("the methods CONNECT and TRACE are not served");
    }
    let path = parts.uri.path();
    if !path.starts_with('/') {
        return Err("the request target is not a path");
    }
    if path.split('/').any(is_dot_segment) {
        return Err("the path has a . or .. segment; send the path itself");
    }
    let host = host(parts)?;
    let length = length(parts)?;
    Ok(Target { host, length })
}

fn is_dot_segment(segment: &str) -> bool {
    segment.len() <= 6 && segment.contains(['.', '%']) && {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        plain == "." || plain == ".."
    }
}

fn host(parts: &Parts) -> Result<String, &'static str> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let header = hosts.next();
    if hosts.next().is_some() {
        return Err("there is more than one Host header");
    }
    let header = header
        .map(|host| host.to_str().map_err(|_| "the Host header is not ASCII"))
        .transpose()?;
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    // RFC 9112 §3.2.2: the authority of an absolute-form target replaces Host; two that differ are two clients' words.
    let host = match (authority, header) {
        (Some(authority), Some(header)) if !authority.eq_ignore_ascii_case(header) => {
            return Err("the Host header and the request target name different hosts");
        }
        (Some(host), _) | (None, Some(host)) => host,
        (None, None) => return Err("there is no Host header"),
    };
    let name = match host.strip_prefix('[') {
        Some(rest) => {
            rest.split_once(']')
                .ok_or("the Host header is malformed")?
                .0
        }
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || host.contains(['@', '/', ',', ' ']) {
        return Err("the Host header is malformed");
    }
    Ok(name.to_ascii_lowercase())
}

/// RFC 9112 §6.1 and §6.3: any doubt about where the body ends could be used to smuggle a second request.
fn length(parts: &Parts) -> Result<Option<u64>, &'static str> {
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next();
    if codings.next().is_some()
        || coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return Err("Transfer-Encoding must be exactly \"chunked\"");
    }
    if coding.is_some()
        && (parts.version != Version::HTTP_11 || parts.headers.contains_key(CONTENT_LENGTH))
    {
        return Err("Transfer-Encoding does not go with Content-Length or with this HTTP version");
    }
    let mut lengths = parts.headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err("there is more than one Content-Length");
    }
    let number = length.map(|length| {
        length
            .to_str()
            .ok()
            .filter(|l| l.bytes().all(|b| b.is_ascii_digit()))
    });
    match number {
        None => Ok(None),
        Some(number) => number
            .and_then(|n| n.parse().ok())
            .map(Some)
            .ok_or("Content-Length is not a number"),
    }
}

/// The request's id: the client's if it can be trusted in a log line, else a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let sent = headers.get(REQUEST_ID).filter(|id| {
        let bytes = id.as_bytes();
        !bytes.is_empty()
            && bytes.len() <= REQUEST_ID_BYTES
            && bytes.iter().all(u8::is_ascii_graphic)
    });
    sent.cloned().unwrap_or_else(|| {
        let id = uuid::Uuid::new_v4().to_string();
        HeaderValue::from_str(&id).expect("a UUID is ASCII")
    })
}

/// Makes a client's head one for the function. Fields that only concern this connection go first, so that a client cannot have Thaw's own
/// stripped by naming them in `Connection`.
pub(crate) fn prepare(
    parts: &mut Parts,
    target: &Target,
    id: &HeaderValue,
    prefix: &str,
    peer: IpAddr,
) {
    strip_hop_by_hop(&mut parts.headers);
    strip_look_alikes(&mut parts.headers);
    strip_trailers(&mut parts.headers);
    parts.version = Version::HTTP_11;
    let headers = &mut parts.headers;

    let host = match parts.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => headers.get(HOST).cloned(),
    };
    let host = host.or_else(|| HeaderValue::from_str(&target.host).ok());
    if let Some(host) = host {
        headers.entry(FORWARDED_HOST).or_insert(host.clone());
        headers.insert(HOST, host);
    }
    headers
        .entry(FORWARDED_PROTO)
        .or_insert(HeaderValue::from_static("http"));
    append_list(headers, FORWARDED_FOR, &peer.to_string());
    let node = if peer.is_ipv6() {
        format!("\"[{peer}]\"")
    } else {
        peer.to_string()
    };
    append_list(headers, FORWARDED, &format!("for={node}"));
    headers.insert(REQUEST_ID, id.clone());
    headers.remove(ERROR);
    if let Ok(prefix) = HeaderValue::from_str(prefix) {
        headers.insert(PATH_PREFIX, prefix);
    }
    join_cookies(headers);
    parts.uri = origin_form(&parts.uri);
}

/// The target without scheme and authority. `http://host?query` has no path of its own (RFC 9112 §3.2.1).
fn origin_form(uri: &Uri) -> Uri {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let with_path = if target.starts_with('/') {
        target.to_owned()
    } else {
        format!("/{target}")
    };
    with_path.parse().unwrap_or_default()
}

/// HTTP/2 may split cookies over several fields, HTTP/1.1 may not (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_some() {
        let pieces: Vec<&[u8]> = headers
            .get_all(COOKIE)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        if let Ok(joined) = HeaderValue::from_bytes(&pieces.join(&b"; "[..])) {
            headers.insert(COOKIE, joined);
        }
    }
}

/// Whether a field is one that Thaw sets, or one that CGI and WSGI programs cannot tell from it, since to them `_` and `-` are one.
fn is_ours(name: &str) -> bool {
    let name = name.trim().to_ascii_lowercase().replace('_', "-");
    let begins = |with: &str| name.starts_with(with);
    begins("x-forwarded-") || begins("thaw-") || name == "x-request-id" || name == "forwarded"
}

/// What comes after the body may not stand for what Thaw says before it. hyper sends only the trailers that are announced.
fn strip_trailers(headers: &mut HeaderMap) {
    let announced: Vec<&str> = headers
        .get_all(TRAILER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter(|name| !is_ours(name))
        .collect();
    match HeaderValue::from_str(&announced.join(",")) {
        Ok(value) if !announced.is_empty() => drop(headers.insert(TRAILER, value)),
        _ => drop(headers.remove(TRAILER)),
    }
}

/// Removes fields that a program might take for ours.
fn strip_look_alikes(headers: &mut HeaderMap) {
    let names = headers
        .keys()
        .filter(|name| name.as_str().contains('_') && is_ours(name.as_str()));
    for name in names.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

/// Removes the fields that concern one connection only.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn append_list(headers: &mut HeaderMap, name: HeaderName, item: &str) {
    let sent = headers
        .get_all(&name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let list: Vec<&str> = sent.chain([item]).collect();
    if let Ok(list) = HeaderValue::from_str(&list.join(", ")) {
        headers.insert(name, list);
    }
}

#[cfg(test)]
mod tests;
