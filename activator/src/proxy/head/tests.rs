use http::Request;

use super::*;

fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn peer() -> Peer {
    Peer::new("10.0.0.9".parse().unwrap(), false)
}

fn checked<'a>(parts: &'a Parts, peer: &'a Peer) -> Result<Target<'a>, Failure> {
    check(parts, Present::of(&parts.headers), peer)
}

/// As the proxy does it, for a peer that nobody trusts.
fn prepared(parts: &mut Parts, id: &HeaderValue, prefix: &str) {
    let peer = peer();
    let length = checked(parts, &peer).unwrap().length;
    let added = Added {
        id,
        present: Present::of(&parts.headers),
        prefix,
        peer: &peer,
        asked: &Asked::of(parts),
        length,
        waits: false,
    };
    prepare(parts, &added);
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let host = ("host", "a");
    let refused: [(&str, &[(&str, &str)]); 12] = [
        ("/", &[]),
        ("/", &[host, ("host", "b")]),
        ("http://a/", &[("host", "b")]),
        ("/", &[("host", "a@b")]),
        ("/", &[("host", "")]),
        ("/a/../b", &[host]),
        ("/a/%2E%2e/b", &[host]),
        ("/", &[host, ("transfer-encoding", "gzip, chunked")]),
        (
            "/",
            &[
                host,
                ("transfer-encoding", "chunked"),
                ("transfer-encoding", "chunked"),
            ],
        ),
        (
            "/",
            &[
                host,
                ("transfer-encoding", "chunked"),
                ("content-length", "3"),
            ],
        ),
        (
            "/",
            &[host, ("content-length", "3"), ("content-length", "3")],
        ),
        ("/", &[host, ("content-length", "+3")]),
    ];
    for (uri, headers) in refused {
        assert!(
            checked(&parts(uri, headers), &peer()).is_err(),
            "{uri} {headers:?}"
        );
    }
    let mut connect = parts("/", &[host]);
    connect.method = Method::TRACE;
    assert!(checked(&connect, &peer()).is_err());
}

#[test]
fn connection_fields_are_stripped_before_forwarding_fields_are_set() {
    let mut parts = parts(
        "/api/orders?x=1",
        &[
            ("host", "shop.test"),
            ("connection", "close, x-forwarded-for, X-Secret"),
            ("x-secret", "1"),
            ("x-forwarded-for", "6.6.6.6"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
            ("thaw-error", "Fake"),
            ("thaw-path-prefix", "/fake"),
        ],
    );
    let id = request_id(&parts.headers);
    prepared(&mut parts, &id, "/api");
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!(header("x-forwarded-for"), Some("10.0.0.9"));
    assert_eq!(
        header("forwarded"),
        Some("for=10.0.0.9;host=shop.test;proto=http")
    );
    assert_eq!(header("x-forwarded-host"), Some("shop.test"));
    assert_eq!(header("thaw-path-prefix"), Some("/api"));
    assert_eq!(header("x-request-id"), id.to_str().ok());
    for gone in ["connection", "x-secret", "upgrade", "te", "thaw-error"] {
        assert_eq!(header(gone), None, "{gone}");
    }
    assert_eq!(parts.uri, "/api/orders?x=1");
}

#[test]
fn a_clients_request_id_is_kept_if_it_can_stand_in_a_log_line() {
    let id = |sent: &str| request_id(&parts("/", &[("x-request-id", sent)]).headers);
    assert_eq!(id("abc-123"), "abc-123");
    assert_ne!(id("a b"), "a b");
    assert_ne!(id(&"x".repeat(129)), "x".repeat(129).as_str());
}

#[test]
fn a_target_without_a_path_gets_one() {
    for (sent, passed_on) in [
        ("http://a?x=1", "/?x=1"),
        ("http://a#f", "/"),
        ("http://a", "/"),
        ("http://a/?", "/?"),
    ] {
        let mut parts = parts(sent, &[("host", "a")]);
        prepared(&mut parts, &HeaderValue::from_static("r"), "/");
        assert_eq!(parts.uri.to_string(), passed_on, "{sent}");
    }
}

#[test]
fn cookies_are_joined_and_look_alikes_of_our_fields_are_stripped() {
    let headers = [
        ("host", "a"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("x_forwarded_for", "6.6.6.6"),
        ("api_key", "k"),
    ];
    let mut parts = parts("/", &headers);
    prepared(&mut parts, &HeaderValue::from_static("r"), "/");
    assert_eq!(parts.headers["cookie"], "a=1; b=2");
    assert!(
        !parts.headers.contains_key("x_forwarded_for") && parts.headers.contains_key("api_key")
    );
}

#[test]
fn an_upgrade_is_asked_for_by_connection_and_is_not_h2c() {
    let asked = |headers: &[(&str, &str)]| Asked::of(&parts("/", headers)).upgrade;
    let connection = ("connection", "keep-alive, Upgrade");
    let protocol = |text: &str| HeaderValue::from_str(text).ok();
    assert_eq!(
        asked(&[connection, ("upgrade", "WebSocket")]),
        protocol("WebSocket")
    );
    assert_eq!(
        asked(&[connection, ("upgrade", "h2c, foo/2")]),
        protocol("foo/2")
    );
    assert_eq!(asked(&[connection, ("upgrade", "h2c")]), None);
    assert_eq!(asked(&[connection]), None);
    assert_eq!(asked(&[("upgrade", "websocket")]), None);
    let mut old = parts("/", &[connection, ("upgrade", "websocket")]);
    old.version = http::Version::HTTP_10;
    assert_eq!(Asked::of(&old).upgrade, None);
}

#[test]
fn what_a_request_asks_of_a_connection_is_asked_of_the_next() {
    let headers = [
        ("host", "a"),
        ("connection", "Upgrade, TE, HTTP2-Settings"),
        ("upgrade", "h2c, websocket"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
        ("te", "gzip;q=0.5, Trailers"),
    ];
    let mut parts = parts("/", &headers);
    prepared(&mut parts, &HeaderValue::from_static("r"), "/");
    assert_eq!(parts.headers["connection"], "upgrade, te");
    assert_eq!(parts.headers["upgrade"], "websocket");
    assert_eq!(parts.headers["te"], "trailers");
    assert!(!parts.headers.contains_key("http2-settings"));
}

#[test]
fn connection_takes_nothing_away_that_makes_another_request() {
    let headers = [
        ("host", "a"),
        (
            "connection",
            "host, authorization, cdn-loop, cookie, expect",
        ),
        ("authorization", "Bearer x"),
        ("cdn-loop", "other"),
        ("cookie", "a=1"),
        ("expect", "100-continue"),
    ];
    let mut parts = parts("/", &headers);
    prepared(&mut parts, &HeaderValue::from_static("r"), "/");
    for (name, value) in [
        ("host", "a"),
        ("authorization", "Bearer x"),
        ("cdn-loop", "other, thaw"),
        ("cookie", "a=1"),
        ("expect", "100-continue"),
    ] {
        assert_eq!(parts.headers[name], value);
    }
}

#[test]
fn what_is_asked_of_the_server_is_not_for_a_function() {
    let mut request = parts("*", &[("host", "a")]);
    assert!(checked(&request, &peer()).is_err());
    request.method = Method::OPTIONS;
    assert!(checked(&request, &peer()).unwrap().is_server);
}

#[test]
fn an_expectation_is_100_continue_or_refused() {
    let expects =
        |value| checked(&parts("/", &[("host", "a"), ("expect", value)]), &peer()).map(|_| ());
    assert_eq!(expects("100-Continue"), Ok(()));
    for other in ["200-ok", "100-continue, x", ""] {
        assert_eq!(expects(other), Err(Failure::ExpectationFailed), "{other}");
    }
}

#[test]
fn trailers_that_would_stand_for_ours_are_not_announced() {
    let announced = |trailer: &str| {
        let mut parts = parts("/", &[("host", "a"), ("trailer", trailer)]);
        prepared(&mut parts, &HeaderValue::from_static("r"), "/");
        let left = parts.headers.get("trailer");
        left.map(|left| left.to_str().unwrap().to_owned())
    };
    let left = announced("x-sum, X-Forwarded-For, thaw_path_prefix, Forwarded, x-more");
    assert_eq!(left.as_deref(), Some("x-sum, x-more"));
    assert_eq!(announced("x-request-id"), None);
}
