//! Host: RFC 9110 §7.2, RFC 9112 §3.2, RFC 3986 §3.2.

use crate::{
    rig::Rig,
    table::{Case, answered, by_hyper, judge, passes, refused},
};

const CASES: &[Case] = &[
    passes(
        "capitals",
        b"GET / HTTP/1.1\nhost: SHOP.Test\nx-request-id: r\n\n",
        "GET / HTTP/1.1\nhost: SHOP.Test\n\n",
    ),
    passes(
        "a port",
        b"GET / HTTP/1.1\nhost: shop.test:8080\nx-request-id: r\n\n",
        "GET / HTTP/1.1\nhost: shop.test:8080\n\n",
    ),
    passes(
        "an empty port",
        b"GET / HTTP/1.1\nhost: shop.test:\nx-request-id: r\n\n",
        "GET / HTTP/1.1\nhost: shop.test:\n\n",
    ),
    passes(
        "a dot at the end",
        b"GET / HTTP/1.1\nhost: shop.test.\nx-request-id: r\n\n",
        "GET / HTTP/1.1\nhost: shop.test.\n\n",
    ),
    passes(
        "a dot and a port",
        b"GET / HTTP/1.1\nhost: shop.test.:80\nx-request-id: r\n\n",
        "GET / HTTP/1.1\nhost: shop.test.:80\n\n",
    ),
    passes(
        "spaces around",
        b"GET / HTTP/1.1\nhost:  \t shop.test \t\nx-request-id: r\n\n",
        "GET / HTTP/1.1\n\n",
    ),
    passes(
        "no space",
        b"GET / HTTP/1.1\nHOST:shop.test\nx-request-id: r\n\n",
        "GET / HTTP/1.1\n\n",
    ),
    passes(
        "capitals in both",
        b"GET http://SHOP.test/ HTTP/1.1\n$H\n\n",
        "GET / HTTP/1.1\nhost: SHOP.test\n\n",
    ),
    passes(
        "a port in both",
        b"GET http://shop.test:80/ HTTP/1.1\nhost: shop.test:80\nx-request-id: r\n\n",
        "GET / HTTP/1.1\nhost: shop.test:80\n\n",
    ),
    passes(
        "Host after other fields",
        b"GET / HTTP/1.1\na: b\n$H\n\n",
        "GET / HTTP/1.1\na: b\n\n",
    ),
    answered(
        "a host nobody has",
        b"GET / HTTP/1.1\nhost: shop.tes\n\n",
        404,
    ),
    answered(
        "a host below",
        b"GET / HTTP/1.1\nhost: a.shop.test\n\n",
        404,
    ),
    answered("a host above", b"GET / HTTP/1.1\nhost: test\n\n", 404),
    answered("an address", b"GET / HTTP/1.1\nhost: 127.0.0.1:80\n\n", 404),
    answered("an IPv6 address", b"GET / HTTP/1.1\nhost: [::1]\n\n", 404),
    answered(
        "an IPv6 address with a port",
        b"GET / HTTP/1.1\nhost: [::1]:80\n\n",
        404,
    ),
];

const REFUSED: &[Case] = &[
    refused("none", b"GET / HTTP/1.1\n\n"),
    refused("none in HTTP/1.0", b"GET / HTTP/1.0\n\n"),
    refused(
        "none beside absolute-form's other name",
        b"GET / HTTP/1.1\nx-host: shop.test\n\n",
    ),
    refused("empty", b"GET / HTTP/1.1\nhost:\n\n"),
    refused(
        "empty beside absolute-form",
        b"GET http://shop.test/ HTTP/1.1\nhost:\n\n",
    ),
    refused("twice", b"GET / HTTP/1.1\n$H\nhost: other.test\n\n"),
    refused("twice the same", b"GET / HTTP/1.1\n$H\nhost: shop.test\n\n"),
    refused(
        "twice in two spellings",
        b"GET / HTTP/1.1\n$H\nHOST: shop.test\n\n",
    ),
    refused(
        "two in one line",
        b"GET / HTTP/1.1\nhost: shop.test, other.test\n\n",
    ),
    refused(
        "two with a space",
        b"GET / HTTP/1.1\nhost: shop.test other.test\n\n",
    ),
    refused("userinfo", b"GET / HTTP/1.1\nhost: u@shop.test\n\n"),
    refused(
        "userinfo with a password",
        b"GET / HTTP/1.1\nhost: u:p@shop.test\n\n",
    ),
    refused("a scheme", b"GET / HTTP/1.1\nhost: http://shop.test\n\n"),
    refused("a path", b"GET / HTTP/1.1\nhost: shop.test/a\n\n"),
    refused("a query", b"GET / HTTP/1.1\nhost: shop.test?a\n\n"),
    refused("a fragment", b"GET / HTTP/1.1\nhost: shop.test#a\n\n"),
    refused("a backslash", b"GET / HTTP/1.1\nhost: shop.test\\a\n\n"),
    refused("percent-encoded", b"GET / HTTP/1.1\nhost: shop%2etest\n\n"),
    refused(
        "beyond ASCII",
        b"GET / HTTP/1.1\nhost: sh\xc3\xb6p.test\n\n",
    ),
    refused("a wildcard", b"GET / HTTP/1.1\nhost: *.test\n\n"),
    refused("an empty label", b"GET / HTTP/1.1\nhost: shop..test\n\n"),
    refused(
        "two dots at the end",
        b"GET / HTTP/1.1\nhost: shop.test..\n\n",
    ),
    refused("a dot alone", b"GET / HTTP/1.1\nhost: .\n\n"),
    refused("a port alone", b"GET / HTTP/1.1\nhost: :80\n\n"),
    refused(
        "a port that is a word",
        b"GET / HTTP/1.1\nhost: shop.test:http\n\n",
    ),
    refused(
        "a port with a sign",
        b"GET / HTTP/1.1\nhost: shop.test:+80\n\n",
    ),
    refused(
        "a port too high",
        b"GET / HTTP/1.1\nhost: shop.test:65536\n\n",
    ),
    refused("two ports", b"GET / HTTP/1.1\nhost: shop.test:80:80\n\n"),
    refused("an open bracket", b"GET / HTTP/1.1\nhost: [::1\n\n"),
    refused(
        "a bracket and a name",
        b"GET / HTTP/1.1\nhost: [::1]shop.test\n\n",
    ),
    refused(
        "a name in brackets",
        b"GET / HTTP/1.1\nhost: [shop.test]\n\n",
    ),
    refused("a zone", b"GET / HTTP/1.1\nhost: [fe80::1%25eth0]\n\n"),
    refused(
        "an IPv6 address without brackets",
        b"GET / HTTP/1.1\nhost: ::1\n\n",
    ),
    refused("a tab inside", b"GET / HTTP/1.1\nhost: shop\t.test\n\n"),
    by_hyper(
        "NUL inside",
        b"GET / HTTP/1.1\nhost: shop.test\0.other\n\n",
        400,
    ),
    by_hyper(
        "a space before the colon",
        b"GET / HTTP/1.1\nhost : shop.test\n\n",
        400,
    ),
];

#[tokio::test]
async fn hosts() {
    judge(&Rig::start().await, CASES).await;
    judge(&Rig::start().await, REFUSED).await;
}
