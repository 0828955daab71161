//! Heads of HTTP/2: RFC 9113 §8.1 to §8.5. Floods of frames are another matter.

mod frames;

use crate::{
    rig::Rig,
    table::{expected, in_order},
};
use frames::{Fields, Outcome, data, exchange, headers, last_data, last_headers};

/// `:method`, `:scheme`, `:authority`, `:path` of a request that is fine, and what else it has.
macro_rules! get {
    ($path:expr $(, $name:literal : $value:expr)*) => {
        &[
            (":method", "GET"), (":scheme", "http"), (":authority", "shop.test"), (":path", $path),
            ("x-request-id", "r") $(, ($name, $value))*
        ]
    };
}

const M: (&str, &str) = (":method", "GET");
const S: (&str, &str) = (":scheme", "http");
const A: (&str, &str) = (":authority", "shop.test");
const P: (&str, &str) = (":path", "/");
const ID: (&str, &str) = ("x-request-id", "r");

/// What reaches the function, as HTTP/1.1.
const PASSES: &[(&str, Fields<'_>, &str)] = &[
    ("a fragment is no path", get!("#a"), "GET / HTTP/1.1\n\n"),
    ("a request", get!("/a?b"), "GET /a?b HTTP/1.1\n\n"),
    (
        "a method nobody knows",
        &[(":method", "BREW"), S, A, P, ID],
        "BREW / HTTP/1.1\n\n",
    ),
    (
        "https",
        &[M, (":scheme", "https"), A, P, ID],
        "GET / HTTP/1.1\n\n",
    ),
    (
        "pseudo-fields in any order",
        &[P, A, S, M, ID],
        "GET / HTTP/1.1\n\n",
    ),
    (
        "Host beside :authority",
        get!("/", "host": "shop.test"),
        "GET / HTTP/1.1\n\n",
    ),
    (
        "Host alone (8.3.1)",
        &[M, S, P, ID, ("host", "shop.test")],
        "GET / HTTP/1.1\n\n",
    ),
    (
        ":authority in capitals with a port",
        &[M, S, (":authority", "SHOP.test:80"), P, ID],
        "GET / HTTP/1.1\nhost: SHOP.test:80\n\n",
    ),
    (
        "te: trailers (8.2.2)",
        get!("/", "te": "trailers"),
        "GET / HTTP/1.1\nconnection: te\nte: trailers\n\n",
    ),
    (
        "cookies are one again (8.2.3)",
        get!("/", "cookie": "a=1", "cookie": "b=2", "cookie": "c=3"),
        "GET / HTTP/1.1\ncookie: a=1; b=2; c=3\n\n",
    ),
    (
        "http2-settings means nothing here",
        get!("/", "http2-settings": "AAM"),
        "GET / HTTP/1.1\nhttp2-settings: AAM\n\n",
    ),
    (
        "obs-text",
        get!("/", "a": "caf\u{e9}"),
        "GET / HTTP/1.1\na: caf\u{e9}\n\n",
    ),
    (
        "an empty value",
        get!("/", "a": ""),
        "GET / HTTP/1.1\na: \n\n",
    ),
    (
        "forwarded fields",
        get!("/", "x-forwarded-for": "6.6.6.6", "forwarded": "for=_a"),
        "GET / HTTP/1.1\n\n",
    ),
    (
        "a length of nothing",
        get!("/", "content-length": "0"),
        "GET / HTTP/1.1\ncontent-length: 0\n\n",
    ),
    (
        "another path",
        get!("/api/orders/7"),
        "GET /api/orders/7 HTTP/1.1\nthaw-path-prefix: /api/orders\n\n",
    ),
];

/// 400, or the stream is reset, or the connection is gone.
const REFUSED: &[(&str, Fields<'_>)] = &[
    ("capitals in a name (8.2.1)", get!("/", "X-A": "1")),
    ("a name with a space", get!("/", "a b": "1")),
    ("a name with a colon", get!("/", "a:b": "1")),
    ("no name", get!("/", "": "1")),
    ("a name beyond ASCII", get!("/", "\u{e9}": "1")),
    ("NUL in a value", get!("/", "a": "b\0c")),
    ("LF in a value", get!("/", "a": "b\nhost: other.test")),
    ("CR in a value", get!("/", "a": "b\rc")),
    ("a space before a value", get!("/", "a": " b")),
    ("a tab after a value", get!("/", "a": "b\t")),
    ("connection (8.2.2)", get!("/", "connection": "x-a")),
    ("keep-alive", get!("/", "keep-alive": "timeout=5")),
    ("proxy-connection", get!("/", "proxy-connection": "close")),
    (
        "transfer-encoding",
        get!("/", "transfer-encoding": "chunked"),
    ),
    ("upgrade", get!("/", "upgrade": "websocket")),
    ("te: gzip", get!("/", "te": "gzip")),
    ("te: trailers and more", get!("/", "te": "trailers, gzip")),
    ("a pseudo-field after a field (8.3)", &[M, S, A, ID, P]),
    (
        "a pseudo-field nobody knows",
        &[M, S, A, P, (":host", "shop.test")],
    ),
    ("one of answers", &[M, S, A, P, (":status", "200")]),
    ("two methods", &[M, M, S, A, P]),
    ("two schemes", &[M, S, S, A, P]),
    ("two authorities", &[M, S, A, A, P]),
    ("two paths", &[M, S, A, P, (":path", "/a")]),
    ("no method (8.3.1)", &[S, A, P]),
    ("no scheme", &[M, A, P]),
    ("no path", &[M, S, A]),
    ("an empty method", &[(":method", ""), S, A, P]),
    ("an empty scheme", &[M, (":scheme", ""), A, P]),
    ("an empty path", get!("")),
    ("a path without a slash", get!("a")),
    ("a path that is a query", get!("?a")),
    (
        "a path that is a fragment, and Host alone",
        &[M, S, (":path", "#a"), ID, ("host", "shop.test")],
    ),
    ("* with another method", get!("*")),
    ("an absolute path", get!("http://shop.test/")),
    ("a space in a path", get!("/a b")),
    ("LF in a path", get!("/a HTTP/1.1\nhost: other.test\n")),
    (".. in a path", get!("/a/../b")),
    ("another entrypoint by an encoded letter", get!("/%61pi")),
    (
        "a method that is no token",
        &[(":method", "GET /x"), S, A, P],
    ),
    ("another scheme", &[M, (":scheme", "ftp"), A, P]),
    ("no host at all", &[M, S, P]),
    ("an empty authority", &[M, S, (":authority", ""), P]),
    (
        "Host of another name than :authority",
        get!("/", "host": "other.test"),
    ),
    (
        "two Hosts",
        get!("/", "host": "shop.test", "host": "shop.test"),
    ),
    ("userinfo", &[M, S, (":authority", "u@shop.test"), P]),
    (
        "a path in :authority",
        &[M, S, (":authority", "shop.test/a"), P],
    ),
    (
        "LF in :authority",
        &[M, S, (":authority", "shop.test\na: b"), P],
    ),
    ("CONNECT (8.5)", &[(":method", "CONNECT"), A]),
    ("CONNECT with a path", &[(":method", "CONNECT"), S, A, P]),
    (
        "CONNECT that nobody offered (RFC 8441)",
        &[(":method", "CONNECT"), (":protocol", "websocket"), S, A, P],
    ),
    (
        ":protocol of another method",
        &[M, (":protocol", "websocket"), S, A, P],
    ),
    ("TRACE", &[(":method", "TRACE"), S, A, P]),
    (
        "a length and no body (8.1.1)",
        get!("/", "content-length": "3"),
    ),
    ("a length with a sign", get!("/", "content-length": "+0")),
    (
        "two lengths",
        get!("/", "content-length": "0", "content-length": "0"),
    ),
    (
        "a length that is a list",
        get!("/", "content-length": "0, 0"),
    ),
    (
        "two Authorizations",
        get!("/", "authorization": "a", "authorization": "b"),
    ),
];

/// What the function heard, but for `/next`.
fn heard(rig: &Rig) -> Vec<String> {
    let next = expected("GET /next HTTP/1.1\n\n");
    let all = rig.heard().into_iter().map(|request| in_order(&request));
    all.filter(|request| *request != next).collect()
}

#[tokio::test]
async fn what_http2_forbids_reaches_nobody_and_boots_nothing() {
    let rig = Rig::start().await;
    for (why, fields) in REFUSED {
        let [outcome] = exchange(rig.address, &last_headers(1, fields)).await;
        let is_refused = [Outcome::Status(400), Outcome::Reset, Outcome::Gone].contains(&outcome);
        assert!(is_refused, "{why}: {outcome:?}");
        assert_eq!((rig.boots(), heard(&rig)), (0, vec![]), "{why}");
    }
    for (why, fields) in REFUSED {
        let frames = [last_headers(1, fields), last_headers(3, get!("/next"))].concat();
        let [first, next] = exchange(rig.address, &frames).await;
        // A malformed request costs nothing but itself (8.1.1), unless the state of the whole connection is in doubt.
        let is_alone = matches!(
            (first, next),
            (Outcome::Gone, Outcome::Gone) | (_, Outcome::Status(200))
        );
        assert!(is_alone, "{why}: {first:?} {next:?}");
        assert_eq!(heard(&rig), [""; 0], "{why}");
    }
}

#[tokio::test]
async fn what_http2_allows_reaches_the_function_as_http1() {
    let rig = Rig::start().await;
    for (why, fields, text) in PASSES {
        let [outcome] = exchange(rig.address, &last_headers(1, fields)).await;
        assert_eq!(outcome, Outcome::Status(200), "{why}");
        assert_eq!(heard(&rig), [expected(text)], "{why}");
    }
    let about_server = [(":method", "OPTIONS"), S, A, (":path", "*")];
    let [outcome] = exchange(rig.address, &last_headers(1, &about_server)).await;
    assert_eq!((outcome, heard(&rig)), (Outcome::Status(204), vec![]));
}

#[tokio::test]
async fn bodies_of_http2() {
    let rig = Rig::start().await;
    let post = |length: Fields<'_>| {
        let head = [&[(":method", "POST"), S, A, P, ID], length].concat();
        headers(1, &head, 0)
    };
    let three = &[("content-length", "3")];
    let whole = "POST / HTTP/1.1\ncontent-length: 3\n\nabc";
    let chunked = "POST / HTTP/1.1\ntransfer-encoding: chunked\n\n3\nabc\n0\n\n";
    for (frames, text) in [
        ([post(three), last_data(1, b"abc")].concat(), whole),
        ([post(&[]), last_data(1, b"abc")].concat(), chunked),
        (
            [post(&[]), data(1, b"abc"), last_headers(1, &[("a", "b")])].concat(),
            chunked,
        ),
        // h2 drops pseudo-fields in trailers (8.1), and Thaw drops trailers.
        (
            [post(&[]), data(1, b"abc"), last_headers(1, &[P])].concat(),
            chunked,
        ),
    ] {
        let [outcome] = exchange(rig.address, &frames).await;
        assert_eq!(
            (outcome, heard(&rig)),
            (Outcome::Status(200), vec![expected(text)])
        );
    }
    for (why, frames) in [
        (
            "more than its length (8.1.1)",
            [post(three), last_data(1, b"abcd")].concat(),
        ),
        (
            "less than its length",
            [post(three), last_data(1, b"ab")].concat(),
        ),
        (
            "a length and nothing",
            [post(three), last_data(1, b"")].concat(),
        ),
    ] {
        let [outcome] = exchange(rig.address, &frames).await;
        assert_ne!(outcome, Outcome::Status(200), "{why}");
        let half = |request: &String| request.starts_with("half a request");
        assert!(heard(&rig).iter().all(half), "{why}");
    }
}
