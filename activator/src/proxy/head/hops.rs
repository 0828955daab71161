//! What concerns one connection and is not passed on, and what of it is asked for on the next one.

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{
        AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
        COOKIE, EXPECT, FORWARDED, HOST, RANGE, TE, TRANSFER_ENCODING, UPGRADE,
    },
    request::Parts,
};

use super::{REQUEST_ID, TRACEPARENT, loops::CDN_LOOP};

/// Connection-level fields (RFC 9110 §7.6.1) besides those that `Connection` names. `proxy-authenticate` and `proxy-authorization` are for
/// the next proxy (§11.7), which is us.
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

/// `Connection` may not take these away. §7.6.1 forbids to name them, and naming one makes a different request of it: another caller, another
/// body, a loop that nobody counts, a body that nobody asks for.
const END_TO_END: [HeaderName; 13] = [
    HOST,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    CONTENT_ENCODING,
    AUTHORIZATION,
    COOKIE,
    EXPECT,
    CACHE_CONTROL,
    RANGE,
    FORWARDED,
    REQUEST_ID,
    TRACEPARENT,
    CDN_LOOP,
];

/// What a request asks of the connection to the instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// `Upgrade`, with the one protocol that is asked for first.
    pub(crate) upgrade: Option<HeaderValue>,
    /// Trailers of the answer are wanted (`te: trailers`, RFC 9110 §10.1.4).
    pub(crate) trailers: bool,
}

impl Asked {
    /// Reads it from a head that [`strip`] has not seen yet.
    pub(crate) fn of(parts: &Parts) -> Self {
        let te = tokens(&parts.headers, &TE);
        let mut te = te.map(|token| token.split(';').next().unwrap_or(token).trim());
        Self {
            upgrade: upgrade(parts),
            trailers: te.any(|token| token.eq_ignore_ascii_case("trailers")),
        }
    }

    /// Asks for it again, over HTTP/1.1: there `Connection` must name both (RFC 9110 §7.8 and §10.1.4). HTTP/2 knows `te` alone (RFC 9113
    /// §8.2.2); take `connection` away there.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let connection = match (&self.upgrade, self.trailers) {
            (None, false) => return,
            (Some(_), false) => "upgrade",
            (None, true) => "te",
            (Some(_), true) => "upgrade, te",
        };
        headers.insert(CONNECTION, HeaderValue::from_static(connection));
        if let Some(protocol) = &self.upgrade {
            headers.insert(UPGRADE, protocol.clone());
        }
        if self.trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
    }
}

/// Agrees to another protocol.
pub(crate) fn agree(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// RFC 9110 §7.8: only HTTP/1.1 upgrades, and only if `Connection` says so too. h2c is ignored, as RFC 9113 §3.1 ends it: the request is served
/// as it is.
fn upgrade(parts: &Parts) -> Option<HeaderValue> {
    if parts.version != Version::HTTP_11 || !parts.headers.contains_key(UPGRADE) {
        return None;
    }
    let is_meant =
        tokens(&parts.headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let protocol = tokens(&parts.headers, &UPGRADE)
        .find(|protocol| !protocol.is_empty() && !protocol.eq_ignore_ascii_case("h2c"))?;
    HeaderValue::from_str(protocol).ok().filter(|_| is_meant)
}

/// Removes the fields that concern one connection only, and these others. In one pass over what is there: to ask for each field that may be
/// there takes longer than all else that is done to a head.
pub(crate) fn strip(headers: &mut HeaderMap, is_other: impl Fn(&HeaderName) -> bool) {
    let present = headers.keys();
    let present = present.filter(|name| HOP_BY_HOP.contains(name) || is_other(name));
    let mut gone: Vec<HeaderName> = present.cloned().collect();
    if gone.contains(&CONNECTION) {
        let named = tokens(headers, &CONNECTION).filter_map(|name| name.parse().ok());
        gone.extend(named.filter(|name| !is_end_to_end(name)));
    }
    for name in gone {
        headers.remove(name);
    }
}

fn is_end_to_end(name: &HeaderName) -> bool {
    END_TO_END.contains(name) || name.as_str().starts_with("x-forwarded-")
}

/// The members of a list, over all its lines. Lines that are not text have none.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter();
    let texts = lines.filter_map(|line| line.to_str().ok());
    texts.flat_map(|text| text.split(',').map(str::trim))
}
