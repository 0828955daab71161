//! Cold, hot, many at once, and back to none.

use std::collections::BTreeSet;

use futures::future::join_all;

use crate::support::{Thaw, dead, runs, write};

#[tokio::test]
async fn a_cold_answer_then_hot_ones_from_the_same_process() {
    let fields = format!("freeze: {{after: 60s}}, {}", runs("serve"));
    let thaw = Thaw::with(&fields).await;
    let first = thaw.get("/").await;
    assert_eq!(first.header("thaw-boot"), "cold");
    let (pid, count) = thaw.visit("/").await;
    assert_eq!(count, 2, "it kept its count");
    let third = thaw.get("/").await;
    assert_eq!(third.header("thaw-boot"), "hot");
    assert_eq!(third.ok(), format!("{} 3", pid.as_raw_pid()));
    thaw.says("web-1 | listening on ").await;
    thaw.says("web-1 booted in ").await;
}

#[tokio::test]
async fn requests_at_once_get_an_instance_each() {
    let thaw = Thaw::with(&runs("serve")).await;
    let place = thaw.dir.path().join("place");
    std::fs::create_dir(&place).unwrap();
    // None of them answers before all five are there.
    let path = format!("/together?5={}", place.display());
    let answers = join_all((0..5).map(|_| thaw.get(&path))).await;
    let pids: BTreeSet<_> = answers
        .iter()
        .map(|answer| answer.pid().as_raw_pid())
        .collect();
    assert_eq!(pids.len(), 5);
}

#[tokio::test]
async fn unused_instances_go() {
    let fields = format!("scale: {{idleAfter: 100ms}}, {}", runs("serve"));
    let thaw = Thaw::with(&fields).await;
    let (pid, _) = thaw.visit("/").await;
    dead(pid).await;
    thaw.says("web-1 goes").await;
    let next = thaw.get("/").await;
    assert_eq!(next.header("thaw-boot"), "cold");
    next.ok();
}

#[tokio::test]
async fn a_function_is_told_who_it_is() {
    let fields = format!(
        "env: [{{name: GREETING, value: hello}}, {{name: WHOLE, value: $(GREETING) you}}], {}",
        runs("serve")
    );
    let thaw = Thaw::with(&fields).await;
    for (name, value) in [
        ("WHOLE", "hello you"),
        ("K_SERVICE", "shop-web"),
        ("THAW_FUNCTION", "shop"),
        ("THAW_ENTRYPOINT", "web"),
        ("THAW_NAMESPACE", "prod"),
        ("PATH", &*std::env::var("PATH").unwrap()),
    ] {
        assert_eq!(
            thaw.get(&format!("/env?{name}")).await.ok(),
            value,
            "{name}"
        );
    }
}

#[tokio::test]
async fn one_function_answers_under_any_host_and_several_under_their_own() {
    let thaw = Thaw::with(&runs("serve")).await;
    for host in ["localhost", "127.0.0.1", "shop--prod.localhost"] {
        thaw.get_from(host, "/").await.ok();
    }

    let dir = tempfile::tempdir().unwrap();
    let function = |name: &str| {
        format!(
            "apiVersion: thaw.dev/v1alpha1\nkind: Function\nmetadata: {{name: {name}}}\nspec: {{image: a, hosts: [{name}.Example.com.], entrypoints: [{{name: web, path: /, {}}}]}}\n---\n",
            runs("serve")
        )
    };
    write(
        &dir,
        "function.yaml",
        &format!("{}{}", function("one"), function("two")),
    );
    let thaw = Thaw::start(dir, &[]).await;
    for name in ["one", "two"] {
        for host in [
            format!("{name}--default.localhost"),
            format!("{name}.example.COM"),
        ] {
            assert_eq!(thaw.get_from(&host, "/env?THAW_FUNCTION").await.ok(), name);
        }
        thaw.says(&format!("{name}/web-1 | listening on ")).await;
    }
    thaw.get("/").await.is_error(404, "NoRoute", &[]);
}
