//! Which host a request is for.

use std::{borrow::Cow, net::Ipv6Addr};

use crds::hosts::normal;
use http::{header::HOST, request::Parts};

use super::Peer;

/// The host of a request as routes know it: in lower case, without port, trailing dot and brackets.
///
/// # Errors
/// What is wrong, for the client.
pub(crate) fn of<'a>(parts: &'a Parts, peer: &'a Peer) -> Result<Cow<'a, str>, &'static str> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let header = hosts.next();
    if hosts.next().is_some() {
        return Err("there is more than one Host header");
    }
    let header = header
        .map(|host| host.to_str().map_err(|_| "the Host header is not ASCII"))
        .transpose()?;
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    // RFC 9112 §3.2.2: the authority of an absolute-form target replaces Host; RFC 9113 §8.3.1: `:authority` does. Two that differ are two
    // clients' words.
    let host = match (authority, header) {
        (Some(authority), Some(header)) if !authority.eq_ignore_ascii_case(header) => {
            return Err("the Host header and the request target name different hosts");
        }
        (Some(host), _) | (None, Some(host)) => host,
        (None, None) => return Err("there is no Host header"),
    };
    let known = peer.known_host(host);
    let known = known.map(|known| Cow::Borrowed(&*known.host));
    known
        .or_else(|| parse(host))
        .ok_or("the Host header is malformed")
}

/// Reads `uri-host [":" port]` (RFC 9110 §7.2), a name as the operator spells it too. `None` if it is anything else.
pub(crate) fn parse(host: &str) -> Option<Cow<'_, str>> {
    if let Some(literal) = host.strip_prefix('[') {
        let (address, port) = literal.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return is_port.then(|| Cow::Owned(address.to_string()));
    }
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    is_port(port).then(|| normal(name)).flatten()
}

/// RFC 3986 §3.2.3 allows an empty port.
fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit())
        && (port.is_empty() || port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_without_port_case_and_trailing_dot() {
        for host in [
            "shop.test",
            "Shop.TEST:8080",
            "shop.test.",
            "shop.test.:80",
            "shop.test:",
        ] {
            assert_eq!(parse(host).as_deref(), Some("shop.test"), "{host}");
        }
        for host in ["[::1]", "[::1]:80", "[0:0:0:0:0:0:0:1]:"] {
            assert_eq!(parse(host).as_deref(), Some("::1"), "{host}");
        }
        for host in ["10.0.0.1:80", "a_b", "xn--bcher-kva.test", "a--b.c"] {
            assert!(parse(host).is_some(), "{host}");
        }
        assert!(matches!(parse("shop.test:80"), Some(Cow::Borrowed(_))));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for host in [
            "",
            ".",
            "a..b",
            ".a",
            "a..",
            ":80",
            "a:b",
            "a:80:80",
            "a:65536",
            "a:-1",
            "a:+1",
            "u@a",
            "u:p@a",
            "a b",
            "a/b",
            "a,b",
            "a%2eb",
            "a\\b",
            "*.a",
            "a?b",
            "a#b",
            "b\u{fc}cher.test",
            "[::1",
            "[::1]80",
            "[::1%25lo]",
            "[v1.a]",
            "[1.2.3.4]",
            "::1",
            "a;b",
            "a'b",
            "a\tb",
        ] {
            assert_eq!(parse(host), None, "{host:?}");
        }
        assert_eq!(parse(&format!("{}a", "a.".repeat(127))), None);
    }
}
