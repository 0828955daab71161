//! What goes wrong is said with the process's own last words.

use crate::support::{Thaw, runs};

#[tokio::test]
async fn a_crash_at_boot() {
    let thaw = Thaw::with(&runs("crash")).await;
    let detail = [
        "Exited: exit status 3",
        "reading the settings\nthere are no settings",
    ];
    thaw.get("/").await.is_error(502, "BootFailed", &detail);
    thaw.says("web-1 did not boot: Exited: exit status 3").await;
}

#[tokio::test]
async fn a_crash_in_an_invocation() {
    let thaw = Thaw::with(&runs("serve")).await;
    let (before, _) = thaw.visit("/").await;
    let detail = ["now it happens\ncannot go on"];
    thaw.get("/crash")
        .await
        .is_error(502, "InstanceFailed", &detail);
    thaw.says("web-1 ended: exit status 7").await;
    let (after, count) = thaw.visit("/").await;
    assert_ne!(before, after);
    assert_eq!(count, 1, "another process answers");
}

#[tokio::test]
async fn a_command_that_is_not_there() {
    let thaw = Thaw::with("command: [no-such-program-anywhere]").await;
    let detail = [
        "CommandNotFound",
        "\"no-such-program-anywhere\"",
        "correct command",
    ];
    thaw.get("/").await.is_error(502, "BootFailed", &detail);
}

#[tokio::test]
async fn a_command_that_may_not_be_run() {
    let thaw = Thaw::with("command: [./function.yaml]").await;
    thaw.get("/")
        .await
        .is_error(502, "BootFailed", &["CannotRun"]);
}

#[tokio::test]
async fn a_port_that_is_never_opened() {
    let fields = format!("timeouts: {{boot: 300ms}}, {}", runs("deaf"));
    let thaw = Thaw::with(&fields).await;
    let detail = ["NotListening", "$PORT", "still loading"];
    thaw.get("/").await.is_error(504, "BootTimeout", &detail);
}
