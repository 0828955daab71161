use super::*;

fn written(sent: &[(&'static str, &str)], is_trusted: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in sent {
        headers.append(*name, value.parse().unwrap());
    }
    let peer = Peer::new("10.0.0.9".parse().unwrap(), is_trusted);
    let is_said = super::super::Present::of(&headers).forwarded;
    super::super::hops::strip(&mut headers, |name| is_forged(name, &peer));
    let host = HeaderValue::from_static("shop.test");
    write(&mut headers, &host, &peer, is_said);
    headers
}

const SENT: [(&str, &str); 7] = [
    ("x-forwarded-for", "192.0.2.1"),
    ("x-forwarded-for", "2001:db8::1, nonsense"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "www.shop.test:8443"),
    ("x-forwarded-port", "8443"),
    ("x-real-ip", "192.0.2.1"),
    ("accept", "*/*"),
];

#[test]
fn what_a_trusted_proxy_says_is_kept_and_continued() {
    let headers = written(&SENT, true);
    assert_eq!(
        headers["x-forwarded-for"],
        "192.0.2.1, 2001:db8::1, nonsense, 10.0.0.9"
    );
    assert_eq!(headers["x-forwarded-proto"], "https");
    assert_eq!(headers["x-forwarded-host"], "www.shop.test:8443");
    assert_eq!(headers["x-real-ip"], "192.0.2.1");
    assert_eq!(
        headers["forwarded"],
        "for=192.0.2.1;host=\"www.shop.test:8443\";proto=https, for=\"[2001:db8::1]\", for=unknown, for=10.0.0.9"
    );
    let headers = written(
        &[("forwarded", "for=_a"), ("forwarded", "for=b;proto=https")],
        true,
    );
    assert_eq!(
        headers["forwarded"],
        "for=_a, for=b;proto=https, for=10.0.0.9"
    );
}

#[test]
fn what_anybody_else_says_is_forgotten() {
    let mut sent = SENT.to_vec();
    sent.extend([
        ("forwarded", "for=_x"),
        ("x-original-url", "/admin"),
        ("x-forwarded-anything", "1"),
    ]);
    let headers = written(&sent, false);
    assert_eq!(headers["x-forwarded-for"], "10.0.0.9");
    assert_eq!(
        headers["forwarded"],
        "for=10.0.0.9;host=shop.test;proto=http"
    );
    assert_eq!(headers["x-forwarded-proto"], "http");
    assert_eq!(headers["x-forwarded-host"], "shop.test");
    assert_eq!(headers.len(), 5, "{headers:?}");
}

#[test]
fn a_protocol_is_http_or_https_and_a_host_is_a_host() {
    for (sent, kept) in [
        ("HTTPS", "https"),
        ("https, http", "https"),
        ("ftp", "http"),
        ("", "http"),
    ] {
        assert_eq!(
            written(&[("x-forwarded-proto", sent)], true)["x-forwarded-proto"],
            kept
        );
    }
    for sent in ["a b", "a\"", "u@a", "a, b", ""] {
        assert_eq!(
            written(&[("x-forwarded-host", sent)], true)["x-forwarded-host"],
            "shop.test"
        );
    }
}

#[test]
fn networks_are_read_from_a_list() {
    let trusted = TrustedProxies::private();
    for (peer, is_trusted) in [
        ("10.1.2.3", true),
        ("172.31.0.1", true),
        ("172.32.0.1", false),
        ("100.127.0.1", true),
        ("127.0.0.1", true),
        ("::1", true),
        ("fd00::1", true),
        ("2001:db8::1", false),
        ("192.0.2.1", false),
    ] {
        assert_eq!(trusted.trust(peer.parse().unwrap()), is_trusted, "{peer}");
    }
    assert_eq!("".parse(), Ok(TrustedProxies::default()));
    let one: TrustedProxies = " 192.0.2.1 ".parse().unwrap();
    assert!(one.trust("192.0.2.1".parse().unwrap()) && !one.trust("192.0.2.2".parse().unwrap()));
    assert!(
        "10.0.0.0/33"
            .parse::<TrustedProxies>()
            .unwrap_err()
            .contains("10.0.0.0/8")
    );
}

#[test]
fn each_host_that_a_connection_names_is_said_as_it_is() {
    let peer = Peer::new("10.0.0.9".parse().unwrap(), false);
    for (host, said) in [
        ("shop.test", "shop.test"),
        ("Shop.test:80", "\"Shop.test:80\""),
        ("[::1]", "\"[::1]\""),
        ("shop.test", "shop.test"),
    ] {
        let mut headers = HeaderMap::new();
        write(&mut headers, &HeaderValue::from_static(host), &peer, false);
        assert_eq!(headers["x-forwarded-host"], host);
        let forwarded = format!("for=10.0.0.9;host={said};proto=http");
        assert_eq!(headers["forwarded"], *forwarded);
    }
}

#[test]
fn a_host_that_a_client_made_long_is_read_and_not_kept() {
    let peer = Peer::new("10.0.0.9".parse().unwrap(), false);
    let long = format!("shop.test:{}80", "0".repeat(1000));
    assert!(host::parse(&long).is_some());
    assert!(peer.known_host(&long).is_none());
}
