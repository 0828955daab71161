//! Field lines: RFC 9112 §5, RFC 9110 §5.

use crate::{
    rig::Rig,
    table::{Case, by_hyper, coded, judge, passes, refused},
};

const CASES: &[Case] = &[
    passes("names in small letters, values as they are", b"GET / HTTP/1.1\n$H\nX-Api-KEY: AbC\n\n", "GET / HTTP/1.1\nx-api-key: AbC\n\n"),
    passes("an empty value", b"GET / HTTP/1.1\n$H\na:\n\n", "GET / HTTP/1.1\na: \n\n"),
    passes("spaces around a value are no part of it", b"GET / HTTP/1.1\n$H\na: \t b  c \t\n\n", "GET / HTTP/1.1\na: b  c\n\n"),
    passes("two lines of a name stay two (5.2)", b"GET / HTTP/1.1\n$H\na: 1\nA: 2\n\n", "GET / HTTP/1.1\na: 1\na: 2\n\n"),
    passes("obs-text in a value (5.5)", b"GET / HTTP/1.1\n$H\na: caf\xe9\n\n", "GET / HTTP/1.1\na: caf\u{e9}\n\n"),
    passes("every character of a token in a name", b"GET / HTTP/1.1\n$H\n!#$%&'*+-.^`|~09az: 1\n\n", "GET / HTTP/1.1\n!#$%&'*+-.^`|~09az: 1\n\n"),
    passes("a name with _ that looks like nothing of ours", b"GET / HTTP/1.1\n$H\napi_key: k\n\n", "GET / HTTP/1.1\napi_key: k\n\n"),
    passes("look-alikes of forwarded fields", b"GET / HTTP/1.1\n$H\nx_forwarded_for: 6.6.6.6\nX_Forwarded-Proto: https\nx_real_ip: 6.6.6.6\n\n", "GET / HTTP/1.1\n\n"),
    passes("look-alikes of framing", b"GET / HTTP/1.1\n$H\ncontent_length: 9\ntransfer_encoding: chunked\ncontent_type: x\n\n", "GET / HTTP/1.1\n\n"),
    passes("look-alikes of Thaw's own", b"GET / HTTP/1.1\n$H\nthaw_path_prefix: /x\nx_request_id: x\ncdn_loop: x\n\n", "GET / HTTP/1.1\n\n"),
    passes("Proxy, which CGI takes for HTTP_PROXY", b"GET / HTTP/1.1\n$H\nproxy: http://evil.test\n\n", "GET / HTTP/1.1\n\n"),
    passes("one cookie of two lines", b"GET / HTTP/1.1\n$H\ncookie: a=1\ncookie: b=2\n\n", "GET / HTTP/1.1\ncookie: a=1; b=2\n\n"),
    passes("nobody but Thaw has errors", b"GET / HTTP/1.1\n$H\nthaw-error: NoRoute\n\n", "GET / HTTP/1.1\n\n"),
    passes("trace context", b"GET / HTTP/1.1\n$H\ntraceparent: 00-1-2-01\ntracestate: a=b\nbaggage: c=d\n\n", "GET / HTTP/1.1\ntraceparent: 00-1-2-01\ntracestate: a=b\nbaggage: c=d\n\n"),
    passes("Authorization", b"GET / HTTP/1.1\n$H\nauthorization: Basic YTpi\n\n", "GET / HTTP/1.1\nauthorization: Basic YTpi\n\n"),
    passes("HTTP/2's names are no names of HTTP/1", b"GET / HTTP/1.1\n$H\nauthority: other.test\npath: /x\n\n", "GET / HTTP/1.1\nauthority: other.test\npath: /x\n\n"),
];

const REFUSED: &[Case] = &[
    refused(
        "two Authorization lines",
        b"GET / HTTP/1.1\n$H\nauthorization: a\nauthorization: a\n\n",
    ),
    refused(
        "two Content-Type lines",
        b"POST / HTTP/1.1\n$H\ncontent-type: a/b\ncontent-type: c/d\ncontent-length: 0\n\n",
    ),
    coded(
        "an expectation that nobody meets (RFC 9110 10.1.1)",
        b"POST / HTTP/1.1\n$H\nexpect: 200-ok\ncontent-length: 0\n\n",
        417,
        "ExpectationFailed",
    ),
    coded(
        "two expectations",
        b"POST / HTTP/1.1\n$H\nexpect: 100-continue\nexpect: 100-continue\ncontent-length: 0\n\n",
        417,
        "ExpectationFailed",
    ),
    coded(
        "a list of expectations",
        b"POST / HTTP/1.1\n$H\nexpect: 100-continue, b\ncontent-length: 0\n\n",
        417,
        "ExpectationFailed",
    ),
    by_hyper(
        "a space before the colon (5.1)",
        b"GET / HTTP/1.1\n$H\na : b\n\n",
        400,
    ),
    by_hyper(
        "a tab before the colon",
        b"GET / HTTP/1.1\n$H\na\t: b\n\n",
        400,
    ),
    by_hyper("no colon", b"GET / HTTP/1.1\n$H\nabc\n\n", 400),
    by_hyper("no name", b"GET / HTTP/1.1\n$H\n: b\n\n", 400),
    by_hyper("a space in a name", b"GET / HTTP/1.1\n$H\na b: c\n\n", 400),
    by_hyper(
        "a bracket in a name",
        b"GET / HTTP/1.1\n$H\na[b]: c\n\n",
        400,
    ),
    by_hyper(
        "a name beyond ASCII",
        b"GET / HTTP/1.1\n$H\n\xe9: c\n\n",
        400,
    ),
    by_hyper("NUL in a name", b"GET / HTTP/1.1\n$H\na\0: c\n\n", 400),
    by_hyper("NUL in a value", b"GET / HTTP/1.1\n$H\na: b\0c\n\n", 400),
    by_hyper("DEL in a value", b"GET / HTTP/1.1\n$H\na: b\x7fc\n\n", 400),
    by_hyper(
        "a vertical tab in a value",
        b"GET / HTTP/1.1\n$H\na: b\x0bc\n\n",
        400,
    ),
    by_hyper(
        "a bare CR in a value (2.2)",
        b"GET / HTTP/1.1\n$H\na: b{CR}c\n\n",
        400,
    ),
    by_hyper(
        "a bare CR for a line end",
        b"GET / HTTP/1.1\n$H{CR}a: b\n\n",
        400,
    ),
    by_hyper(
        "a bare CR before the last line",
        b"GET / HTTP/1.1\n$H\n{CR}a: b\n\n",
        400,
    ),
    by_hyper(
        "a folded line (5.2)",
        b"GET / HTTP/1.1\n$H\na: b\n c\n\n",
        400,
    ),
    by_hyper(
        "a folded line with a tab",
        b"GET / HTTP/1.1\n$H\na: b\n\tc\n\n",
        400,
    ),
    by_hyper(
        "a folded first line (2.2)",
        b"GET / HTTP/1.1\n a: b\n$H\n\n",
        400,
    ),
    by_hyper(
        "an empty folded line",
        b"GET / HTTP/1.1\n$H\na: b\n \n\n",
        400,
    ),
];

#[tokio::test]
async fn field_lines() {
    judge(&Rig::start().await, CASES).await;
    judge(&Rig::start().await, REFUSED).await;
}
