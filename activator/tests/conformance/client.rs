//! Who the client is: RFC 7239 and X-Forwarded-*, from a peer that nobody trusts and from a trusted one.

use crate::{
    rig::Rig,
    table::{Case, judge, passes},
};

const ANYBODY: &[Case] = &[
    passes("X-Forwarded-For", b"GET / HTTP/1.1\n$H\nx-forwarded-for: 6.6.6.6\n\n", "GET / HTTP/1.1\n\n"),
    passes("X-Forwarded-For in two lines", b"GET / HTTP/1.1\n$H\nx-forwarded-for: 6.6.6.6\nX-Forwarded-For: 7.7.7.7\n\n", "GET / HTTP/1.1\n\n"),
    passes("X-Forwarded-Proto", b"GET / HTTP/1.1\n$H\nx-forwarded-proto: https\n\n", "GET / HTTP/1.1\n\n"),
    passes("X-Forwarded-Host", b"GET / HTTP/1.1\n$H\nx-forwarded-host: evil.test\n\n", "GET / HTTP/1.1\n\n"),
    passes("Forwarded", b"GET / HTTP/1.1\n$H\nforwarded: for=6.6.6.6;proto=https\nforwarded: for=_a\n\n", "GET / HTTP/1.1\n\n"),
    passes("every X-Forwarded-", b"GET / HTTP/1.1\n$H\nx-forwarded-port: 443\nx-forwarded-ssl: on\nx-forwarded-prefix: /a\nx-forwarded-user: root\n\n", "GET / HTTP/1.1\n\n"),
    passes("what else names a client", b"GET / HTTP/1.1\n$H\nx-real-ip: 6.6.6.6\ntrue-client-ip: 6.6.6.6\nx-client-ip: 6.6.6.6\ncf-connecting-ip: 6.6.6.6\n\n", "GET / HTTP/1.1\n\n"),
    passes("the first id counts", b"GET / HTTP/1.1\n$H\nx-request-id: second\n\n", "GET / HTTP/1.1\n\n"),
];

const TRUSTED: &[Case] = &[
    passes("nothing said", b"GET / HTTP/1.1\n$H\n\n", "GET / HTTP/1.1\n\n"),
    passes(
        "what most ingress controllers say",
        b"GET / HTTP/1.1\n$H\nx-forwarded-for: 192.0.2.1\nx-forwarded-proto: https\nx-forwarded-host: www.test\nx-forwarded-port: 443\nx-real-ip: 192.0.2.1\n\n",
        "GET / HTTP/1.1\nx-forwarded-for: 192.0.2.1, 127.0.0.1\nx-forwarded-proto: https\nx-forwarded-host: www.test\nx-forwarded-port: 443\nx-real-ip: 192.0.2.1\nforwarded: for=192.0.2.1;host=www.test;proto=https, for=127.0.0.1\n\n",
    ),
    passes(
        "a chain in two lines, with what is no address",
        b"GET / HTTP/1.1\n$H\nx-forwarded-for: 2001:db8::1, \"x\nx-forwarded-for: 192.0.2.1:80\n\n",
        "GET / HTTP/1.1\nx-forwarded-for: 2001:db8::1, \"x, 192.0.2.1:80, 127.0.0.1\nforwarded: for=\"[2001:db8::1]\";host=shop.test;proto=http, for=unknown, for=unknown, for=127.0.0.1\n\n",
    ),
    passes("Forwarded is continued", b"GET / HTTP/1.1\n$H\nforwarded: for=192.0.2.1;proto=https\n\n", "GET / HTTP/1.1\nforwarded: for=192.0.2.1;proto=https, for=127.0.0.1\n\n"),
    passes("a protocol that is none", b"GET / HTTP/1.1\n$H\nx-forwarded-proto: javascript\n\n", "GET / HTTP/1.1\n\n"),
    passes("a host that is none", b"GET / HTTP/1.1\n$H\nx-forwarded-host: a/b\n\n", "GET / HTTP/1.1\n\n"),
    passes("Connection cannot take it", b"GET / HTTP/1.1\n$H\nconnection: x-forwarded-for\nx-forwarded-for: 192.0.2.1\n\n", "GET / HTTP/1.1\nx-forwarded-for: 192.0.2.1, 127.0.0.1\nforwarded: for=192.0.2.1;host=shop.test;proto=http, for=127.0.0.1\n\n"),
    passes("look-alikes are nobody's word", b"GET / HTTP/1.1\n$H\nx_forwarded_for: 6.6.6.6\n\n", "GET / HTTP/1.1\n\n"),
];

#[tokio::test]
async fn what_anybody_says_of_the_client_is_forgotten() {
    judge(&Rig::start().await, ANYBODY).await;
}

#[tokio::test]
async fn what_a_trusted_proxy_says_of_the_client_is_kept() {
    judge(&Rig::behind("127.0.0.0/8".parse().unwrap()).await, TRUSTED).await;
}
