//! Where a request ends. Any doubt about it could be used to smuggle a second request.

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, TRANSFER_ENCODING},
    request::Parts,
};

use super::super::answer::Failure;

/// Fields that say one thing: a second line is somebody's who hopes that the other one is read (RFC 9110 §5.3).
const ONCE: [(HeaderName, &str); 2] = [
    (AUTHORIZATION, "there is more than one Authorization header"),
    (CONTENT_TYPE, "there is more than one Content-Type header"),
];

/// `content-length`, if there is one (RFC 9112 §6.1 and §6.3). hyper has refused what is not all digits or names two lengths, and has dropped
/// a Content-Length beside Transfer-Encoding; it closes the connection after that one, as RFC 9112 §6.1 asks for.
///
/// # Errors
/// What is wrong, for the client.
pub(super) fn length(parts: &Parts) -> Result<Option<u64>, &'static str> {
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next();
    if codings.next().is_some()
        || coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return Err("Transfer-Encoding must be exactly \"chunked\"");
    }
    let mut lengths = parts.headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if coding.is_some() && (parts.version != Version::HTTP_11 || length.is_some()) {
        return Err("Transfer-Encoding does not go with Content-Length or with this HTTP version");
    }
    if lengths.next().is_some() {
        return Err("there is more than one Content-Length");
    }
    let Some(length) = length else {
        return Ok(None);
    };
    let digits = length.as_bytes().iter().all(u8::is_ascii_digit);
    let number = length.to_str().ok().filter(|_| digits);
    let number = number.and_then(|number| number.parse().ok());
    number.map(Some).ok_or("Content-Length is not a number")
}

/// Writes a length as everybody reads it: `010` is eight to some.
pub(super) fn rewrite_length(headers: &mut HeaderMap, length: Option<u64>) {
    if let Some(length) = length
        && headers
            .get(CONTENT_LENGTH)
            .is_some_and(|sent| sent.len() > 1 && sent.as_bytes()[0] == b'0')
    {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// RFC 9113 §8.2.1. HTTP/1 has no such values, since spaces around one are no part of it; written there, this one would become another.
///
/// # Errors
/// What is wrong, for the client.
pub(super) fn edges(parts: &Parts) -> Result<(), &'static str> {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let has_space = |value: &HeaderValue| {
        is_space(value.as_bytes().first()) || is_space(value.as_bytes().last())
    };
    if parts.version == Version::HTTP_2 && parts.headers.values().any(has_space) {
        return Err("a header begins or ends with a space");
    }
    Ok(())
}

/// Refuses second lines of fields that say one thing.
///
/// # Errors
/// What is wrong, for the client.
pub(super) fn once(headers: &HeaderMap) -> Result<(), &'static str> {
    if !has_second_lines(headers) {
        return Ok(());
    }
    for (name, problem) in &ONCE {
        if headers.get_all(name).iter().nth(1).is_some() {
            return Err(problem);
        }
    }
    Ok(())
}

/// Whether any field has more than one line; next to none has.
pub(super) fn has_second_lines(headers: &HeaderMap) -> bool {
    headers.len() > headers.keys_len()
}

/// Whether the client waits to be asked for its body. That is done here, when the instance takes it; nothing else that a client may expect can
/// be (RFC 9110 §10.1.1 has 417 for that, after which clients try again without).
///
/// # Errors
/// [`Failure::ExpectationFailed`].
pub(super) fn expectation(headers: &HeaderMap) -> Result<bool, Failure> {
    let is_met = |sent: &HeaderValue| sent.as_bytes().eq_ignore_ascii_case(b"100-continue");
    let mut sent = headers.get_all(EXPECT).iter();
    match (sent.next(), sent.next()) {
        (None, _) => Ok(false),
        (Some(only), None) if is_met(only) => Ok(true),
        _ => Err(Failure::ExpectationFailed),
    }
}
