use http::Request;

use super::*;

fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

#[test]
fn hosts_are_compared_without_port_case_and_trailing_dot() {
    for host in ["shop.test", "Shop.TEST:8080", "shop.test.", "shop.test.:80"] {
        let target = check(&parts("/", &[("host", host)])).unwrap();
        assert_eq!(target.host, "shop.test", "{host}");
    }
    assert_eq!(
        check(&parts("/", &[("host", "[::1]:80")])).unwrap().host,
        "::1"
    );
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
        assert!(check(&parts(uri, headers)).is_err(), "{uri} {headers:?}");
    }
    let mut connect = parts("/", &[host]);
    connect.method = Method::TRACE;
    assert!(check(&connect).is_err());
}

#[test]
fn dots_inside_segments_are_fine() {
    for path in ["/a.b", "/...", "/.well-known/x", "/a%2Fb", "/v1..2"] {
        assert!(check(&parts(path, &[("host", "a")])).is_ok(), "{path}");
    }
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
            ("te", "trailers"),
            ("thaw-error", "Fake"),
            ("thaw-path-prefix", "/fake"),
        ],
    );
    let target = check(&parts).unwrap();
    let id = request_id(&parts.headers);
    prepare(
        &mut parts,
        &target,
        &id,
        "/api",
        "10.0.0.9".parse().unwrap(),
    );
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!(header("x-forwarded-for"), Some("10.0.0.9"));
    assert_eq!(header("forwarded"), Some("for=10.0.0.9"));
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
    let mut parts = parts("http://a?x=1", &[("host", "a")]);
    let target = check(&parts).unwrap();
    prepare(
        &mut parts,
        &target,
        &HeaderValue::from_static("r"),
        "/",
        "10.0.0.9".parse().unwrap(),
    );
    assert_eq!(parts.uri, "/?x=1");
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
    let target = check(&parts).unwrap();
    prepare(
        &mut parts,
        &target,
        &HeaderValue::from_static("r"),
        "/",
        "10.0.0.9".parse().unwrap(),
    );
    assert_eq!(parts.headers["cookie"], "a=1; b=2");
    assert!(
        !parts.headers.contains_key("x_forwarded_for") && parts.headers.contains_key("api_key")
    );
}

#[test]
fn trailers_that_would_stand_for_ours_are_not_announced() {
    let announced = |trailer: &str| {
        let mut parts = parts("/", &[("host", "a"), ("trailer", trailer)]);
        let target = check(&parts).unwrap();
        let (id, peer) = (request_id(&parts.headers), "10.0.0.9".parse().unwrap());
        prepare(&mut parts, &target, &id, "/", peer);
        let left = parts.headers.get("trailer");
        left.map(|left| left.to_str().unwrap().to_owned())
    };
    let left = announced("x-sum, X-Forwarded-For, thaw_path_prefix, Forwarded, x-more");
    assert_eq!(left.as_deref(), Some("x-sum, x-more"));
    assert_eq!(announced("x-request-id"), None);
}
