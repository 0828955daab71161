//! Paths: RFC 3986 §3.3 and §6.2; the rule is in `proxy/head/path.rs`.

use crate::{
    rig::Rig,
    table::{Case, answered, by_hyper, judge, passes, refused},
};

const CASES: &[Case] = &[
    passes(
        "the longest path",
        b"GET /api/orders/7 HTTP/1.1\n$H\n\n",
        "GET /api/orders/7 HTTP/1.1\nthaw-path-prefix: /api/orders\n\n",
    ),
    passes(
        "whole segments",
        b"GET /api/ordersX HTTP/1.1\n$H\n\n",
        "GET /api/ordersX HTTP/1.1\nthaw-path-prefix: /api\n\n",
    ),
    passes(
        "case counts",
        b"GET /API HTTP/1.1\n$H\n\n",
        "GET /API HTTP/1.1\n\n",
    ),
    passes(
        "a slash at the end",
        b"GET /api/ HTTP/1.1\n$H\n\n",
        "GET /api/ HTTP/1.1\nthaw-path-prefix: /api\n\n",
    ),
    passes(
        "exact",
        b"GET /exact?a HTTP/1.1\n$H\n\n",
        "GET /exact?a HTTP/1.1\nthaw-path-prefix: /exact\n\n",
    ),
    passes(
        "below exact",
        b"GET /exact/a HTTP/1.1\n$H\n\n",
        "GET /exact/a HTTP/1.1\n\n",
    ),
    passes(
        "an encoded slash in a name",
        b"GET /api/@s%2Fname HTTP/1.1\n$H\n\n",
        "GET /api/@s%2Fname HTTP/1.1\nthaw-path-prefix: /api\n\n",
    ),
    passes(
        "an encoded backslash in a name",
        b"GET /api/a%5cb HTTP/1.1\n$H\n\n",
        "GET /api/a%5cb HTTP/1.1\nthaw-path-prefix: /api\n\n",
    ),
    passes(
        "encoded text keeps its spelling",
        b"GET /J%c3%B6rg/%7e%41 HTTP/1.1\n$H\n\n",
        "GET /J%c3%B6rg/%7e%41 HTTP/1.1\n\n",
    ),
    passes(
        "bytes that are no UTF-8",
        b"GET /%ff%fe HTTP/1.1\n$H\n\n",
        "GET /%ff%fe HTTP/1.1\n\n",
    ),
    passes(
        "an encoded percent sign is not decoded twice",
        b"GET /%2561pi HTTP/1.1\n$H\n\n",
        "GET /%2561pi HTTP/1.1\n\n",
    ),
    passes(
        "empty segments",
        b"GET //a///b// HTTP/1.1\n$H\n\n",
        "GET //a///b// HTTP/1.1\n\n",
    ),
    passes(
        "empty segments below",
        b"GET /api//x HTTP/1.1\n$H\n\n",
        "GET /api//x HTTP/1.1\nthaw-path-prefix: /api\n\n",
    ),
    passes(
        "parameters",
        b"GET /api/x;v=1/y;w HTTP/1.1\n$H\n\n",
        "GET /api/x;v=1/y;w HTTP/1.1\nthaw-path-prefix: /api\n\n",
    ),
    passes(
        "dots in names",
        b"GET /.well-known/...a/b.. HTTP/1.1\n$H\n\n",
        "GET /.well-known/...a/b.. HTTP/1.1\n\n",
    ),
    passes(
        "what browsers leave as it is",
        b"GET /a|b[c]'(d)!*,=:@&+$ HTTP/1.1\n$H\n\n",
        "GET /a|b[c]'(d)!*,=:@&+$ HTTP/1.1\n\n",
    ),
    passes(
        "a path that looks like a host",
        b"GET //shop.test/a HTTP/1.1\n$H\n\n",
        "GET //shop.test/a HTTP/1.1\n\n",
    ),
];

const REFUSED: &[Case] = &[
    refused("..", b"GET /api/../x HTTP/1.1\n$H\n\n"),
    refused(".. at the end", b"GET /api/.. HTTP/1.1\n$H\n\n"),
    refused(".. at the start", b"GET /../api HTTP/1.1\n$H\n\n"),
    refused(".", b"GET /./api HTTP/1.1\n$H\n\n"),
    refused(". at the end", b"GET /api/. HTTP/1.1\n$H\n\n"),
    refused(".. encoded", b"GET /api/%2e%2E/x HTTP/1.1\n$H\n\n"),
    refused(".. half encoded", b"GET /api/.%2e/x HTTP/1.1\n$H\n\n"),
    refused(".. with a parameter", b"GET /api/..;a=b/x HTTP/1.1\n$H\n\n"),
    refused(
        ".. with an encoded parameter",
        b"GET /api/..%3b/x HTTP/1.1\n$H\n\n",
    ),
    refused(
        ".. between encoded slashes",
        b"GET /api/a%2f..%2fx HTTP/1.1\n$H\n\n",
    ),
    refused(
        ".. between encoded backslashes",
        b"GET /api/a%5c..%5cx HTTP/1.1\n$H\n\n",
    ),
    refused(
        ".. wholly encoded",
        b"GET /api%2f%2e%2e%2fx HTTP/1.1\n$H\n\n",
    ),
    refused(".. in a parameter", b"GET /api;a%2f..%2fx HTTP/1.1\n$H\n\n"),
    refused(
        "an encoded slash in a parameter",
        b"GET /b;x=%2Fa HTTP/1.1\n$H\n\n",
    ),
    refused(
        "an encoded backslash in an encoded parameter",
        b"GET /b%3bx=%5ca HTTP/1.1\n$H\n\n",
    ),
    refused("a backslash", b"GET /api\\x HTTP/1.1\n$H\n\n"),
    refused(
        "a backslash for a slash",
        b"GET /\\shop.test HTTP/1.1\n$H\n\n",
    ),
    refused("bytes beyond ASCII", b"GET /J\xc3\xb6rg HTTP/1.1\n$H\n\n"),
    refused("a percent sign alone", b"GET /100% HTTP/1.1\n$H\n\n"),
    refused("half an escape", b"GET /a%4 HTTP/1.1\n$H\n\n"),
    refused(
        "an escape that is not hexadecimal",
        b"GET /%g1 HTTP/1.1\n$H\n\n",
    ),
    refused("an escape of another kind", b"GET /%u0061 HTTP/1.1\n$H\n\n"),
    refused("NUL encoded", b"GET /api%00/x HTTP/1.1\n$H\n\n"),
    refused(
        "CR LF encoded",
        b"GET /a%0d%0aset-cookie:x HTTP/1.1\n$H\n\n",
    ),
    refused("DEL encoded", b"GET /%7F HTTP/1.1\n$H\n\n"),
    refused(
        "another entrypoint by an encoded letter",
        b"GET /%61pi/x HTTP/1.1\n$H\n\n",
    ),
    refused(
        "another entrypoint by an encoded slash",
        b"GET /api%2forders HTTP/1.1\n$H\n\n",
    ),
    refused(
        "another entrypoint by an empty segment",
        b"GET //api HTTP/1.1\n$H\n\n",
    ),
    refused(
        "another entrypoint by an empty segment below",
        b"GET /api//orders/7 HTTP/1.1\n$H\n\n",
    ),
    refused(
        "another entrypoint by a parameter",
        b"GET /api/orders;v=1 HTTP/1.1\n$H\n\n",
    ),
    refused(
        "another entrypoint by an encoded parameter",
        b"GET /api/orders%3bv HTTP/1.1\n$H\n\n",
    ),
    refused(
        "another entrypoint by an empty parameter",
        b"GET /;/api HTTP/1.1\n$H\n\n",
    ),
    refused(
        "another entrypoint by an encoded backslash",
        b"GET /api%5corders HTTP/1.1\n$H\n\n",
    ),
    refused(
        "an exact one by a parameter",
        b"GET /exact;a HTTP/1.1\n$H\n\n",
    ),
];

/// Of the headers that choose a target elsewhere, none does here.
const NOBODY: &[Case] = &[
    answered("X-Forwarded-Host", b"GET / HTTP/1.1\nhost: nobody.test\nx-forwarded-host: shop.test\n\n", 404),
    answered("Forwarded", b"GET / HTTP/1.1\nhost: nobody.test\nforwarded: host=shop.test\n\n", 404),
    answered("X-Original-Host", b"GET / HTTP/1.1\nhost: nobody.test\nx-original-host: shop.test\nx-host: shop.test\n\n", 404),
    answered("the names of Knative", b"GET / HTTP/1.1\nhost: nobody.test\nknative-serving-namespace: prod\nknative-serving-revision: shop\n\n", 404),
    answered("Thaw's own names", b"GET / HTTP/1.1\nhost: nobody.test\nthaw-path-prefix: /\nthaw-function: shop\nthaw-host: shop.test\n\n", 404),
    by_hyper("Host under another name", b"GET / HTTP/1.1\nhost: nobody.test\n:authority: shop.test\n\n", 400),
];

#[tokio::test]
async fn paths() {
    judge(&Rig::start().await, CASES).await;
    judge(&Rig::start().await, REFUSED).await;
}

#[tokio::test]
async fn no_header_but_host_chooses_a_target() {
    judge(&Rig::start().await, NOBODY).await;
    // Nor does the word of a trusted proxy.
    judge(&Rig::behind("127.0.0.1".parse().unwrap()).await, NOBODY).await;
    judge(&Rig::start().await, OTHER_PATHS).await;
}

const OTHER_PATHS: &[Case] = &[
    passes("X-Original-URL", b"GET /a HTTP/1.1\n$H\nx-original-url: /api\nx-rewrite-url: /api\n\n", "GET /a HTTP/1.1\n\n"),
    passes("X-Forwarded-Prefix", b"GET /a HTTP/1.1\n$H\nx-forwarded-prefix: /api\nx-forwarded-path: /api\nx-forwarded-uri: /api\n\n", "GET /a HTTP/1.1\n\n"),
    passes("Thaw-Path-Prefix", b"GET /a HTTP/1.1\n$H\nthaw-path-prefix: /api\n\n", "GET /a HTTP/1.1\n\n"),
];
