//! Host and path.

use crds::function::PathMatch;

use crate::support::{HOST, Manifest, Thaw, client};

#[tokio::test(flavor = "multi_thread")]
async fn paths_are_matched_by_whole_segments_and_the_longest_wins() {
    let thaw = Thaw::start(Manifest::default()).await;
    let paths = [
        ("api", "/api", PathMatch::Prefix),
        ("orders", "/api/orders", PathMatch::Prefix),
        ("export", "/api/orders/export", PathMatch::Exact),
    ];
    thaw.publish("shop", &paths, Manifest::default());
    for (path, prefix) in [
        ("/api", "/api"),
        ("/api/", "/api"),
        ("/api/ordersX", "/api"),
        ("/api/orders", "/api/orders"),
        ("/api/orders/7?a=/b", "/api/orders"),
        ("/api/orders/export", "/api/orders/export"),
        ("/api/orders/export/x", "/api/orders"),
    ] {
        let separator = if path.contains('?') { '&' } else { '?' };
        let answer = thaw.get(&format!("{path}{separator}echo")).await;
        answer.instance();
        assert!(
            answer
                .text()
                .contains(&format!("thaw-path-prefix: {prefix}\n")),
            "{path} {answer:?}"
        );
    }
    // Each entrypoint has instances of its own.
    assert_eq!(thaw.cluster.made().len(), 3);
    for path in ["/", "/apis", "/API"] {
        thaw.get(path).await.is_error(404, "NoRoute");
    }
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_the_same_with_port_capitals_and_a_dot() {
    let thaw = Thaw::start(Manifest::default()).await;
    let mut client = thaw.client().await;
    for host in [
        HOST,
        "SHOP--prod.thaw.TEST",
        "shop--prod.thaw.test.",
        "shop--prod.thaw.test:8080",
        "Shop--Prod.Thaw.Test.:80",
    ] {
        let mut request = client::get("/?echo");
        request.headers_mut().insert("host", host.parse().unwrap());
        let answer = client.ask(request).await;
        assert_eq!(answer.instance(), "i1");
        assert!(
            answer.text().contains(&format!("host: {host}\n")),
            "the function sees what was sent: {answer:?}"
        );
    }
    for host in [
        "thaw.test",
        "other--prod.thaw.test",
        "127.0.0.1",
        "[::1]:80",
    ] {
        let mut request = client::get("/");
        request.headers_mut().insert("host", host.parse().unwrap());
        // No header but Host chooses a target.
        request
            .headers_mut()
            .insert("x-forwarded-host", HOST.parse().unwrap());
        client.ask(request).await.is_error(404, "NoRoute");
    }
}
