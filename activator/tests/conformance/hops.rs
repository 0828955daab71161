//! Fields of one connection: RFC 9110 §7.6.1 and §7.8, RFC 8586.

use crate::{
    rig::Rig,
    table::{Case, coded, judge, passes},
};

const CASES: &[Case] = &[
    passes("what Connection names", b"GET / HTTP/1.1\n$H\nconnection: x-a, X-B\nx-a: 1\nx-b: 2\nx-c: 3\n\n", "GET / HTTP/1.1\nx-c: 3\n\n"),
    passes("Connection in two lines", b"GET / HTTP/1.1\n$H\nconnection: x-a\nx-a: 1\nconnection: , x-b ,,\nx-b: 2\n\n", "GET / HTTP/1.1\n\n"),
    passes("a name that is not there", b"GET / HTTP/1.1\n$H\nconnection: x-a, not a name\n\n", "GET / HTTP/1.1\n\n"),
    passes("Connection that is no text", b"GET / HTTP/1.1\n$H\nconnection: \xff\nx-a: 1\n\n", "GET / HTTP/1.1\nx-a: 1\n\n"),
    passes("Keep-Alive", b"GET / HTTP/1.1\n$H\nconnection: keep-alive\nkeep-alive: timeout=5\n\n", "GET / HTTP/1.1\n\n"),
    passes("Proxy-Connection", b"GET / HTTP/1.1\n$H\nproxy-connection: keep-alive\n\n", "GET / HTTP/1.1\n\n"),
    passes("Proxy-Authorization is for the next proxy", b"GET / HTTP/1.1\n$H\nproxy-authorization: Basic YTpi\nproxy-authenticate: x\n\n", "GET / HTTP/1.1\n\n"),
    passes("TE of a connection", b"GET / HTTP/1.1\n$H\nconnection: te\nte: gzip, deflate;q=0.5\n\n", "GET / HTTP/1.1\n\n"),
    passes("trailers are asked for again", b"GET / HTTP/1.1\n$H\nconnection: te\nte: trailers, gzip\n\n", "GET / HTTP/1.1\nconnection: te\nte: trailers\n\n"),
    passes("Upgrade: h2c is ignored (RFC 9113 3.1)", b"GET / HTTP/1.1\n$H\nconnection: upgrade, http2-settings\nupgrade: h2c\nhttp2-settings: AAMAAABkAAQAAP__\n\n", "GET / HTTP/1.1\n\n"),
    passes("Upgrade that Connection does not name", b"GET / HTTP/1.1\n$H\nupgrade: websocket\n\n", "GET / HTTP/1.1\n\n"),
    passes("Upgrade in HTTP/1.0", b"GET / HTTP/1.0\n$H\nconnection: keep-alive, upgrade\nupgrade: websocket\n\n", "GET / HTTP/1.1\n\n"),
    passes("Connection cannot take Host", b"GET / HTTP/1.1\n$H\nconnection: host\n\n", "GET / HTTP/1.1\n\n"),
    passes("Connection cannot take the length", b"POST / HTTP/1.1\n$H\nconnection: content-length\ncontent-length: 3\n\nabc", "POST / HTTP/1.1\ncontent-length: 3\n\nabc"),
    passes("Connection cannot take the coding", b"POST / HTTP/1.1\n$H\nconnection: transfer-encoding\ntransfer-encoding: chunked\n\n1\na\n0\n\n", "POST / HTTP/1.1\ntransfer-encoding: chunked\n\n1\na\n0\n\n"),
    passes("Connection cannot take who asks", b"GET / HTTP/1.1\n$H\nconnection: authorization, cookie\nauthorization: a\ncookie: b\n\n", "GET / HTTP/1.1\nauthorization: a\ncookie: b\n\n"),
    passes("Connection cannot take forwarded fields", b"GET / HTTP/1.1\n$H\nconnection: x-forwarded-for, forwarded, x-forwarded-proto, x-forwarded-host\n\n", "GET / HTTP/1.1\n\n"),
    passes("Connection cannot take Thaw's own", b"GET / HTTP/1.1\n$H\nconnection: x-request-id, thaw-path-prefix, cdn-loop\ncdn-loop: a\n\n", "GET / HTTP/1.1\ncdn-loop: a, thaw\n\n"),
    passes("Connection cannot take the trace", b"GET / HTTP/1.1\n$H\nconnection: traceparent\ntraceparent: 00-1-2-01\n\n", "GET / HTTP/1.1\ntraceparent: 00-1-2-01\n\n"),
    passes("CDN-Loop is continued (RFC 8586)", b"GET / HTTP/1.1\n$H\ncdn-loop: a.test; v=1, b\n\n", "GET / HTTP/1.1\ncdn-loop: a.test; v=1, b, thaw\n\n"),
    passes("CDN-Loop of two lines", b"GET / HTTP/1.1\n$H\ncdn-loop: a\ncdn-loop: thaw\n\n", "GET / HTTP/1.1\ncdn-loop: a, thaw, thaw\n\n"),
    passes("15 passages", b"GET / HTTP/1.1\n$H\ncdn-loop: thaw,thaw,thaw,thaw,thaw,thaw,thaw,thaw,thaw,thaw,thaw,thaw,thaw,thaw,thaw\n\n", "GET / HTTP/1.1\ncdn-loop: thaw,thaw,thaw,thaw,thaw,thaw,thaw,thaw,thaw,thaw,thaw,thaw,thaw,thaw,thaw, thaw\n\n"),
    coded("16 passages", b"GET / HTTP/1.1\n$H\ncdn-loop: thaw,thaw,thaw,thaw,thaw,thaw,thaw,thaw\ncdn-loop: THAW, thaw;a ,thaw ,thaw,thaw,thaw,thaw,thaw\n\n", 508, "LoopDetected"),
];

#[tokio::test]
async fn fields_of_one_connection() {
    judge(&Rig::start().await, CASES).await;
}
