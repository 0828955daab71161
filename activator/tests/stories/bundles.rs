//! Several paths, one queue and its instances.

use crds::function::PathMatch;

use crate::support::{Manifest, Thaw, client};

const PATHS: [(&str, &str, PathMatch); 3] = [
    ("home", "/", PathMatch::Exact),
    ("about", "/about", PathMatch::Prefix),
    ("help", "/help", PathMatch::Prefix),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_one_path_booted_answers_for_all() {
    let thaw = Thaw::start(Manifest::default()).await;
    thaw.publish_bundle("web", &PATHS, Manifest::default());
    let first = thaw.get("/about/us?echo").await;
    assert_eq!(first.header("thaw-boot"), "cold");
    for (path, prefix) in [
        ("/help?echo", "/help"),
        ("/?echo", "/"),
        ("/about?echo", "/about"),
    ] {
        let answer = thaw.get(path).await;
        assert_eq!(
            (answer.instance(), answer.header("thaw-boot")),
            (first.instance(), "hot")
        );
        let told = format!("thaw-path-prefix: {prefix}\n");
        assert!(answer.text().contains(&told), "{answer:?}");
    }
    assert_eq!(thaw.cluster.made().len(), 1);
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_paths_wait_in_one_queue_for_one_invocation_at_a_time() {
    let one = Manifest {
        max: 1,
        ..Manifest::LONG
    };
    let thaw = Thaw::start(one).await;
    thaw.publish_bundle("web", &PATHS, one);
    let first = thaw.getting("/?gate=first");
    thaw.inside(1).await;
    let others = ["/about", "/help"].map(|path| thaw.getting(path));
    thaw.queued(2).await;
    thaw.cluster.journal.open("first");
    first.await.unwrap().instance();
    for other in others {
        assert_eq!(other.await.unwrap().instance(), "i1");
    }
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_names_the_entrypoint_whose_path_was_hit_and_the_metrics_the_bundle() {
    let small = Manifest {
        request_bytes: 1,
        ..Manifest::LONG
    };
    let thaw = Thaw::start(small).await;
    thaw.publish_bundle("web", &PATHS, small);
    let request = client::request("POST", "/help", client::whole("too much"));
    let answer = thaw.client().await.ask(request).await;
    answer.is_error(413, "RequestTooLarge");
    let problem: serde_json::Value = serde_json::from_str(answer.text()).unwrap();
    assert_eq!(problem["entrypoint"], "help");
    assert_eq!(thaw.rejected_by("web", "RequestTooLarge"), 1);
}
