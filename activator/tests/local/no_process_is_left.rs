//! However the activator ends, every process of every instance ends: children, and those that left the process group.

use rustix::process::{Pid, Signal};

use crate::support::{Thaw, dead, is_alive, runs, ticked};

/// An activator with one instance of three processes, all at work.
async fn with_three_processes() -> (Thaw, [Pid; 3]) {
    let thaw = Thaw::with(&runs("serve")).await;
    let (pid, _) = thaw.visit("/").await;
    let spawn = async |word: &str| {
        let file = thaw.dir.path().join(word);
        let path = format!("/spawn?{word}={}", file.display());
        let pid = thaw.get(&path).await.pid();
        ticked(&file, 1).await;
        pid
    };
    let (child, apart) = (spawn("tick").await, spawn("tick-apart").await);
    (thaw, [pid, child, apart])
}

#[tokio::test]
async fn killed() {
    let (mut thaw, pids) = with_three_processes().await;
    thaw.signal(Signal::KILL);
    thaw.ended().await;
    for pid in pids {
        dead(pid).await;
    }
}

#[tokio::test]
async fn interrupted() {
    let (mut thaw, pids) = with_three_processes().await;
    thaw.signal(Signal::INT);
    thaw.ended().await;
    assert_eq!(pids.map(is_alive), [false; 3]);
    assert_eq!(thaw.child.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_crashed_function_leaves_nothing_either() {
    let (thaw, pids) = with_three_processes().await;
    thaw.get("/crash")
        .await
        .is_error(502, "InstanceFailed", &["cannot go on"]);
    thaw.says("web-1 ended: exit status 7").await;
    assert_eq!(pids.map(is_alive), [false; 3]);
}
