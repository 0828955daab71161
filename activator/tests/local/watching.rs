//! A change restarts what it belongs to, and nothing else.

use rustix::process::Pid;

use crate::support::{Thaw, manifest, runs, write};

async fn pids(thaw: &Thaw) -> [Pid; 2] {
    [thaw.visit("/a").await.0, thaw.visit("/b").await.0]
}

fn entrypoints(a: &str, b: &str) -> String {
    let (a, b) = (
        format!("{}, {a}", runs("serve, a.txt")),
        format!("{}, {b}", runs("serve, b.txt")),
    );
    manifest(&[("a", "/a", &a), ("b", "/b", &b)])
}

async fn watching() -> Thaw {
    let dir = tempfile::tempdir().unwrap();
    for file in ["a.txt", "b.txt", "both.txt"] {
        write(&dir, file, "");
    }
    write(&dir, "function.yaml", &entrypoints("", ""));
    Thaw::start(dir, &["--watch"]).await
}

#[tokio::test]
async fn a_file_restarts_the_entrypoints_that_it_belongs_to() {
    let thaw = watching().await;
    let before = pids(&thaw).await;
    write(&thaw.dir, "a.txt", "new");
    thaw.says("a.txt changed: a restarts").await;
    let after = pids(&thaw).await;
    assert_ne!(after[0], before[0]);
    assert_eq!(after[1], before[1]);

    write(&thaw.dir, "both.txt", "new");
    thaw.says("both.txt changed: a, b restarts").await;
    let last = pids(&thaw).await;
    assert!(last[0] != after[0] && last[1] != after[1]);
}

#[tokio::test]
async fn a_manifest_is_read_again() {
    let thaw = watching().await;
    let before = pids(&thaw).await;
    write(&thaw.dir, "function.yaml", &entrypoints("scal: {}", ""));
    thaw.says("spec.entrypoints[a].scal: there is no such field")
        .await;
    assert_eq!(pids(&thaw).await, before, "the old one stays");

    let new = entrypoints(
        "env: [{name: NEW, value: yes}]",
        "limits: {requestBytes: 1Ki}",
    );
    write(&thaw.dir, "function.yaml", &new);
    thaw.says("the manifest changed and is read again").await;
    let after = pids(&thaw).await;
    assert_ne!(after[0], before[0], "its template changed");
    assert_eq!(after[1], before[1], "only its limits changed");
    assert_eq!(thaw.get("/a/env?NEW").await.ok(), "yes");
}
