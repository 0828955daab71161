//! The request line: RFC 9112 §2.2, §3; methods: RFC 9110 §9.

use crate::{
    rig::Rig,
    table::{Case, answered, by_hyper, judge, once, passes, refused},
};

const CASES: &[Case] = &[
    passes(
        "origin-form",
        b"GET /a?b=c HTTP/1.1\n$H\n\n",
        "GET /a?b=c HTTP/1.1\n\n",
    ),
    passes(
        "a method nobody knows",
        b"BREW /pot HTTP/1.1\n$H\n\n",
        "BREW /pot HTTP/1.1\n\n",
    ),
    passes(
        "methods have case",
        b"get / HTTP/1.1\n$H\n\n",
        "get / HTTP/1.1\n\n",
    ),
    passes("HEAD", b"HEAD / HTTP/1.1\n$H\n\n", "HEAD / HTTP/1.1\n\n"),
    passes(
        "OPTIONS of a path is the function's",
        b"OPTIONS /a HTTP/1.1\n$H\n\n",
        "OPTIONS /a HTTP/1.1\n\n",
    ),
    passes(
        "empty lines before the request (2.2)",
        b"\n\nGET / HTTP/1.1\n$H\n\n",
        "GET / HTTP/1.1\n\n",
    ),
    passes(
        "bare LF ends lines (2.2)",
        b"GET / HTTP/1.1{LF}host: shop.test{LF}x-request-id: r{LF}{LF}",
        "GET / HTTP/1.1\n\n",
    ),
    passes(
        "query with what a path may not have",
        b"GET /?a=/../%zz;\\ HTTP/1.1\n$H\n\n",
        "GET /?a=/../%zz;\\ HTTP/1.1\n\n",
    ),
    passes(
        "two question marks",
        b"GET /??a? HTTP/1.1\n$H\n\n",
        "GET /??a? HTTP/1.1\n\n",
    ),
    passes(
        "an empty query",
        b"GET /? HTTP/1.1\n$H\n\n",
        "GET /? HTTP/1.1\n\n",
    ),
    passes(
        "a fragment is no part of a request",
        b"GET /a#/../b HTTP/1.1\n$H\n\n",
        "GET /a HTTP/1.1\n\n",
    ),
    passes(
        "absolute-form (3.2.2)",
        b"GET http://shop.test/a?b HTTP/1.1\n$H\n\n",
        "GET /a?b HTTP/1.1\n\n",
    ),
    passes(
        "absolute-form of https",
        b"GET https://shop.test/a HTTP/1.1\n$H\n\n",
        "GET /a HTTP/1.1\n\n",
    ),
    passes(
        "absolute-form in capitals",
        b"GET HTTP://SHOP.test/A HTTP/1.1\n$H\n\n",
        "GET /A HTTP/1.1\nhost: SHOP.test\n\n",
    ),
    passes(
        "absolute-form without a path",
        b"GET http://shop.test HTTP/1.1\n$H\n\n",
        "GET / HTTP/1.1\n\n",
    ),
    passes(
        "absolute-form with a query alone",
        b"GET http://shop.test?a HTTP/1.1\n$H\n\n",
        "GET /?a HTTP/1.1\n\n",
    ),
    passes(
        "absolute-form with a fragment alone",
        b"GET http://shop.test#a HTTP/1.1\n$H\n\n",
        "GET / HTTP/1.1\n\n",
    ),
    once("HTTP/1.0", b"GET / HTTP/1.0\n$H\n\n", "GET / HTTP/1.1\n\n"),
    passes(
        "HTTP/1.0 that stays",
        b"GET / HTTP/1.0\n$H\nconnection: keep-alive\n\n",
        "GET / HTTP/1.1\n\n",
    ),
    once(
        "close",
        b"GET / HTTP/1.1\n$H\nconnection: close\n\n",
        "GET / HTTP/1.1\n\n",
    ),
    answered(
        "OPTIONS * is about the server (RFC 9110 9.3.7)",
        b"OPTIONS * HTTP/1.1\n$H\n\n",
        204,
    ),
    answered(
        "OPTIONS * for a host nobody has",
        b"OPTIONS * HTTP/1.1\nhost: nobody.test\n\n",
        204,
    ),
];

const REFUSED: &[Case] = &[
    refused("OPTIONS * without a host", b"OPTIONS * HTTP/1.1\n\n"),
    refused("* with another method", b"GET * HTTP/1.1\n$H\n\n"),
    refused("CONNECT", b"CONNECT shop.test:80 HTTP/1.1\n$H\n\n$S"),
    refused("CONNECT with a path", b"CONNECT / HTTP/1.1\n$H\n\n$S"),
    refused("TRACE", b"TRACE / HTTP/1.1\n$H\n\n"),
    refused(
        "TRACE with Max-Forwards",
        b"TRACE / HTTP/1.1\n$H\nmax-forwards: 0\n\n",
    ),
    refused("authority-form", b"GET shop.test:80 HTTP/1.1\n$H\n\n"),
    refused(
        "authority-form without a port",
        b"GET shop.test HTTP/1.1\n$H\n\n",
    ),
    refused(
        "absolute-form of another host",
        b"GET http://other.test/ HTTP/1.1\n$H\n\n",
    ),
    refused(
        "absolute-form with another port",
        b"GET http://shop.test:81/ HTTP/1.1\n$H\n\n",
    ),
    refused(
        "absolute-form with userinfo",
        b"GET http://u@shop.test/ HTTP/1.1\nhost: u@shop.test\n\n",
    ),
    refused(
        "absolute-form of another scheme",
        b"GET ftp://shop.test/ HTTP/1.1\n$H\n\n",
    ),
    refused(
        "absolute-form with dot segments",
        b"GET http://shop.test/a/../b HTTP/1.1\n$H\n\n",
    ),
    by_hyper(
        "absolute-form without a host",
        b"GET http:///a HTTP/1.1\n$H\n\n",
        400,
    ),
    by_hyper("a target that is not one", b"GET a/b HTTP/1.1\n$H\n\n", 400),
    by_hyper("no target", b"GET HTTP/1.1\n$H\n\n", 400),
    by_hyper("two spaces", b"GET  / HTTP/1.1\n$H\n\n", 400),
    by_hyper("a tab for a space", b"GET\t/ HTTP/1.1\n$H\n\n", 400),
    by_hyper("a space in the target", b"GET /a b HTTP/1.1\n$H\n\n", 400),
    by_hyper("a tab in the target", b"GET /a\tb HTTP/1.1\n$H\n\n", 400),
    by_hyper("NUL in the target", b"GET /a\0b HTTP/1.1\n$H\n\n", 400),
    by_hyper("DEL in the target", b"GET /a\x7fb HTTP/1.1\n$H\n\n", 400),
    by_hyper(
        "a bare CR in the target",
        b"GET /a{CR}b HTTP/1.1\n$H\n\n",
        400,
    ),
    by_hyper("a bare CR ends the line", b"GET / HTTP/1.1{CR}$H\n\n", 400),
    by_hyper(
        "bytes that are no UTF-8",
        b"GET /\xff HTTP/1.1\n$H\n\n",
        400,
    ),
    by_hyper("a space before the method", b" GET / HTTP/1.1\n$H\n\n", 400),
    by_hyper("no method", b"/ HTTP/1.1\n$H\n\n", 400),
    by_hyper("a method that is no token", b"G@T / HTTP/1.1\n$H\n\n", 400),
    by_hyper("a method with a colon", b"GET: / HTTP/1.1\n$H\n\n", 400),
    by_hyper("HTTP/0.9", b"GET /\n$H\n\n", 400),
    by_hyper("HTTP/1.2", b"GET / HTTP/1.2\n$H\n\n", 400),
    by_hyper("HTTP/2.0 over HTTP/1", b"GET / HTTP/2.0\n$H\n\n", 400),
    by_hyper("a version in small letters", b"GET / http/1.1\n$H\n\n", 400),
    by_hyper("a version with a zero", b"GET / HTTP/01.1\n$H\n\n", 400),
    by_hyper("no version", b"GET / \n$H\n\n", 400),
    by_hyper(
        "something after the version",
        b"GET / HTTP/1.1 x\n$H\n\n",
        400,
    ),
];

#[tokio::test]
async fn request_lines() {
    judge(&Rig::start().await, CASES).await;
    judge(&Rig::start().await, REFUSED).await;
}
