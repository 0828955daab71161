//! What a client asks of its connection that is asked of the instance's in turn: another protocol, and trailers.

use http::{
    HeaderMap, HeaderValue, Version,
    header::{CONNECTION, TE, UPGRADE},
    request::Parts,
};
use hyper::upgrade::OnUpgrade;

/// Taken from a head before [`prepare`](super::head::prepare) strips it.
#[derive(Debug, Default)]
pub(super) struct Asks {
    /// The other protocol, and the client's end of it.
    pub(super) switch: Option<(HeaderValue, OnUpgrade)>,
    /// The client understands trailers.
    trailers: bool,
}

impl Asks {
    pub(super) fn of(parts: &mut Parts) -> Self {
        let client = parts.extensions.remove::<OnUpgrade>();
        Self {
            switch: protocol(parts).zip(client),
            trailers: has_token(&parts.headers.get_all(TE), "trailers"),
        }
    }

    /// Asks the instance.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        if self.trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
        }
        if let Some((protocol, _)) = &self.switch {
            agree(headers, protocol.clone());
        }
    }
}

/// Asks for another protocol, or agrees to it.
pub(super) fn agree(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// The protocol that a client wants. HTTP/2 without TLS is spoken from the first byte or not at all (RFC 9113 §3.1).
fn protocol(parts: &Parts) -> Option<HeaderValue> {
    let wanted = parts.headers.get(UPGRADE)?;
    let is_http2 = wanted.as_bytes().to_ascii_lowercase().starts_with(b"h2");
    let is_named = has_token(&parts.headers.get_all(CONNECTION), "upgrade");
    (is_named && !is_http2 && parts.version == Version::HTTP_11).then(|| wanted.clone())
}

fn has_token(values: &http::header::GetAll<'_, HeaderValue>, token: &str) -> bool {
    let values = values.iter().filter_map(|value| value.to_str().ok());
    let mut tokens = values.flat_map(|value| value.split(','));
    tokens.any(|each| each.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn wanted(version: Version, headers: &[(&str, &str)]) -> Option<String> {
        let request = Request::builder().version(version);
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        let (parts, ()) = request.body(()).unwrap().into_parts();
        protocol(&parts).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_switch_is_asked_for_in_two_fields_of_http_1_1() {
        let both = [
            ("upgrade", "websocket"),
            ("connection", "Keep-Alive, Upgrade"),
        ];
        assert_eq!(
            wanted(Version::HTTP_11, &both).as_deref(),
            Some("websocket")
        );
        assert_eq!(wanted(Version::HTTP_10, &both), None);
        assert_eq!(wanted(Version::HTTP_11, &both[..1]), None);
        let http2 = [
            ("upgrade", "h2c"),
            ("connection", "upgrade, http2-settings"),
        ];
        assert_eq!(wanted(Version::HTTP_11, &http2), None);
    }
}
