//! How a registry asks who is asking (RFC 9110 §11.6.1, and the token authentication of Docker's registry). Pure.

use http::{HeaderMap, Uri, header::WWW_AUTHENTICATE};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

/// Longest token: what a header of a registry takes.
const LONGEST: usize = 16 << 10;

/// Most challenges that are answered: who writes a Function chooses the registry, which chooses whom its challenges lead to.
pub(super) const MOST: usize = 4;

/// A way to say who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password.
    Basic,
    /// A token, to be fetched first.
    Bearer(Bearer),
}

/// Where a token is fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bearer {
    realm: String,
    service: Option<String>,
}

impl Challenge {
    /// The first [`MOST`] that a response offers and that are known here, tokens first.
    pub(super) fn all(headers: &HeaderMap) -> Vec<Self> {
        let values = headers.get_all(WWW_AUTHENTICATE).iter();
        let texts = values.filter_map(|value| value.to_str().ok());
        let mut all: Vec<_> = texts
            .filter_map(|text| http_auth::parse_challenges(text).ok())
            .flatten()
            .filter_map(|challenge| Self::read(&challenge))
            .collect();
        all.truncate(MOST);
        all.sort_by_key(|challenge| *challenge == Self::Basic);
        all
    }

    fn read(challenge: &http_auth::ChallengeRef<'_>) -> Option<Self> {
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !challenge.scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let value = |name: &str| {
            let mut params = challenge.params.iter();
            let found = params.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
            Some(found.1.to_unescaped())
        };
        Some(Self::Bearer(Bearer {
            realm: value("realm")?,
            service: value("service"),
        }))
    }
}

impl Bearer {
    /// Where a token to pull from `repository` is fetched.
    pub(super) fn address(&self, repository: &str) -> Option<Uri> {
        let realm: Uri = self.realm.parse().ok()?;
        if !matches!(realm.scheme_str(), Some("http" | "https")) {
            return None;
        }
        let mark = if realm.query().is_some() { '&' } else { '?' };
        let scope = format!("repository:{repository}:pull");
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut address = format!("{}{mark}scope={}", self.realm, encoded(&scope));
        if let Some(service) = &self.service {
            address.push_str(&format!("&service={}", encoded(service)));
        }
        address.parse().ok()
    }
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

/// The token of an answer, if it is one that a header may hold.
pub(super) fn token(body: &[u8]) -> Option<String> {
    let Token {
        token,
        access_token,
    } = serde_json::from_slice(body).ok()?;
    let token = if token.is_empty() {
        access_token
    } else {
        token
    };
    let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
    (!token.is_empty() && token.len() <= LONGEST && is_plain).then_some(token)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn challenges(values: &[&'static str]) -> Vec<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(value));
        }
        Challenge::all(&headers)
    }

    #[test]
    fn every_form_of_a_challenge_is_read_and_tokens_come_first() {
        let bearer = |realm: &str, service: Option<&str>| {
            Challenge::Bearer(Bearer {
                realm: realm.to_owned(),
                service: service.map(str::to_owned),
            })
        };
        let quoted =
            r#"Bearer realm="https://auth.test/token?a=b,c",service="registry, of ours",scope="x""#;
        assert_eq!(
            challenges(&[r#"Basic realm="x""#, quoted]),
            [
                bearer("https://auth.test/token?a=b,c", Some("registry, of ours")),
                Challenge::Basic
            ]
        );
        assert_eq!(
            challenges(&[r#"basic realm="x", BEARER Realm="https://a.test""#]),
            [bearer("https://a.test", None), Challenge::Basic]
        );
        assert!(challenges(&["Negotiate", "Bearer", "=,=", ""]).is_empty());
    }

    #[test]
    fn a_token_is_asked_for_by_repository() {
        let bearer = Bearer {
            realm: "https://auth.test/token?a=b".to_owned(),
            service: Some("a&b".to_owned()),
        };
        let address = bearer
            .address("team/web")
            .map(|address| address.to_string());
        let expected =
            "https://auth.test/token?a=b&scope=repository%3Ateam%2Fweb%3Apull&service=a%26b";
        assert_eq!(address.as_deref(), Some(expected));
        for realm in ["", "/token", "file:///etc/passwd", "auth.test"] {
            let bearer = Bearer {
                realm: realm.to_owned(),
                service: None,
            };
            assert_eq!(bearer.address("web"), None, "{realm}");
        }
    }

    #[test]
    fn a_token_that_would_break_a_header_is_none() {
        assert_eq!(token(br#"{"token": "abc"}"#).as_deref(), Some("abc"));
        assert_eq!(token(br#"{"access_token": "abc"}"#).as_deref(), Some("abc"));
        for none in [
            r#"{}"#,
            r#"{"token": "a\r\nb"}"#,
            r#"{"token": "a b"}"#,
            "[]",
            "",
        ] {
            assert_eq!(token(none.as_bytes()), None, "{none}");
        }
    }
}
