//! Several paths, one process.

use std::process::Command;

use crate::support::{PROGRAM, Thaw, dead, function, manifest, runs, write};

/// The Function `shop`: three paths in the bundle `web`, and one entrypoint of its own.
fn bundled(members: &str) -> String {
    let entrypoints = manifest(&[
        ("home", "/", "match: Exact"),
        ("about", "/about", "match: Prefix"),
        ("help", "/help", "match: Prefix"),
        ("orders", "/orders", &runs("serve")),
    ]);
    let bundle = format!(
        "  bundles:\n    - {{name: web, entrypoints: [{members}], freeze: {{mode: Never}}, {}}}\n",
        runs("serve")
    );
    entrypoints + &bundle
}

#[tokio::test]
async fn three_paths_of_a_bundle_are_warm_from_any() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, "function.yaml", &bundled("home, about, help"));
    let thaw = Thaw::start(dir, &[]).await;
    let first = thaw.get("/about/us").await;
    assert_eq!(first.header("thaw-boot"), "cold");
    let process = first.ok().split_once(' ').unwrap().0;
    for (count, path) in [(2, "/"), (3, "/help"), (4, "/about")] {
        let next = thaw.get(path).await;
        assert_eq!(next.header("thaw-boot"), "hot", "{path}");
        assert_eq!(next.ok(), format!("{process} {count}"), "{path}");
    }
    for (name, value) in [("K_SERVICE", "shop-web"), ("THAW_ENTRYPOINT", "web")] {
        let path = format!("/help/env?{name}");
        assert_eq!(thaw.get(&path).await.ok(), value);
    }
    let other = thaw.get("/orders").await;
    assert_eq!(other.header("thaw-boot"), "cold", "it is in no bundle");
    thaw.says("web-1 booted in ").await;
    thaw.says("orders-1 booted in ").await;
    thaw.get("/elsewhere").await.is_error(404, "NoRoute", &[]);
}

#[tokio::test]
async fn an_entrypoint_that_leaves_its_bundle_has_a_process_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, "function.yaml", &bundled("home, about, help"));
    let thaw = Thaw::start(dir, &["--watch"]).await;
    let (bundle, _) = thaw.visit("/help").await;
    let apart = bundled("home, about").replace(
        "{name: help, path: /help, match: Prefix}",
        &format!("{{name: help, path: /help, {}}}", runs("serve")),
    );
    write(&thaw.dir, "function.yaml", &apart);
    thaw.says("the manifest changed and is read again").await;
    let (help, count) = thaw.visit("/help").await;
    assert!(help != bundle && count == 1);
    let (home, count) = thaw.visit("/").await;
    assert!(home == bundle && count == 2, "the bundle runs on");

    // The last one leaves, and the bundle's process goes.
    let none = manifest(&[("home", "/", &runs("serve"))]);
    write(&thaw.dir, "function.yaml", &none);
    dead(bundle).await;
    assert!(thaw.visit("/").await.0 != bundle);
}

#[test]
fn what_is_wrong_with_a_bundle_is_said_with_its_field() {
    let command = format!("command: [{:?}]", function());
    for (bundle, problem) in [
        (
            format!("{{name: web, entrypoints: [home], comand: [x], {command}}}"),
            "spec.bundles[web].comand: ",
        ),
        (
            "{name: web, entrypoints: [home]}".to_owned(),
            "spec.bundles[web].command: set it",
        ),
        (
            format!("{{name: Web, entrypoints: [home], {command}}}"),
            "spec.bundles[Web].name: ",
        ),
        (
            format!("{{name: web, entrypoints: [home, x], {command}}}"),
            "spec.bundles[web].entrypoints: x is not in spec.entrypoints",
        ),
        (
            format!("{{name: web, entrypoints: [home], scale: {{max: 0}}, {command}}}"),
            "spec.bundles[web].scale.max: 0",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let entrypoints = manifest(&[("home", "/", "match: Exact")]);
        let yaml = format!("{entrypoints}  bundles:\n    - {bundle}\n");
        write(&dir, "function.yaml", &yaml);
        let output = Command::new(PROGRAM)
            .args(["local", "-f", "function.yaml", "--port", "0"])
            .current_dir(&dir)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(problem), "{said}");
    }
}
