//! A frozen instance does not run, its sub-processes included.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::support::{PROGRAM, Thaw, function, runs, ticked, ticks};

/// A keeper and the test's end of its socket.
struct Kept {
    child: Child,
    to: UnixStream,
    from: Lines<BufReader<UnixStream>>,
}

impl Kept {
    fn start(words: &[&Path]) -> Self {
        let (to, theirs) = UnixStream::pair().unwrap();
        let child = Command::new(PROGRAM)
            .arg("keep")
            .arg(function())
            .args(words)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap();
        let from = BufReader::new(to.try_clone().unwrap()).lines();
        let mut kept = Self { child, to, from };
        assert_eq!(kept.hears(), "started");
        kept
    }

    fn tell(&mut self, line: &str) {
        self.to.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn hears(&mut self) -> String {
        self.from.next().unwrap().unwrap()
    }

    fn end(mut self) {
        self.tell("end 60000");
        assert_eq!(self.hears(), "exited killed by signal 15 (SIGTERM)");
        assert!(self.child.wait().unwrap().success());
    }
}

fn file(dir: &TempDir, name: &str) -> PathBuf {
    dir.path().join(name)
}

#[tokio::test]
async fn nothing_of_it_runs_until_it_is_thawed() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs, clock) = (
        file(&dir, "ours"),
        file(&dir, "theirs"),
        file(&dir, "clock"),
    );
    let mut frozen = Kept::start(&[Path::new("tick-both"), &ours, &theirs]);
    let reference = Kept::start(&[Path::new("tick"), &clock]);
    for file in [&ours, &theirs, &clock] {
        ticked(file, 3).await;
    }
    frozen.tell("freeze");
    assert_eq!(frozen.hears(), "frozen");
    // The processes of a group stop one after the other: the reference gives the last one time.
    ticked(&clock, ticks(&clock) + 5).await;
    let at = [ticks(&ours), ticks(&theirs)];
    ticked(&clock, ticks(&clock) + 50).await;
    assert_eq!([ticks(&ours), ticks(&theirs)], at);

    frozen.tell("thaw");
    assert_eq!(frozen.hears(), "thawed");
    ticked(&ours, at[0] + 1).await;
    ticked(&theirs, at[1] + 1).await;
    frozen.end();
    reference.end();
}

#[tokio::test]
async fn one_that_is_frozen_ends_when_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let ours = file(&dir, "ours");
    let mut kept = Kept::start(&[Path::new("tick"), &ours]);
    ticked(&ours, 1).await;
    for _ in 0..3 {
        kept.tell("freeze");
        kept.tell("thaw");
    }
    // A freeze that is overtaken by its thaw may go unanswered; a thaw does not.
    for _ in 0..3 {
        while kept.hears() != "thawed" {}
    }
    kept.tell("freeze");
    assert_eq!(kept.hears(), "frozen");
    kept.end();
}

#[tokio::test]
async fn between_invocations_nothing_of_an_instance_runs() {
    let fields = format!("freeze: {{after: 50ms}}, {}", runs("serve"));
    let thaw = Thaw::with(&fields).await;
    let (ticker, clock) = (file(&thaw.dir, "ticker"), file(&thaw.dir, "clock"));
    let (pid, _) = thaw.visit("/").await;
    let reference = Kept::start(&[Path::new("tick"), &clock]);
    let spawn = format!("/spawn?tick={}", ticker.display());
    thaw.get(&spawn).await.ok();
    ticked(&ticker, 1).await;
    // Until its sub-process stands still for as long as the reference counts to fifty.
    let mut before = 0;
    while before != ticks(&ticker) {
        before = ticks(&ticker);
        ticked(&clock, ticks(&clock) + 50).await;
    }
    let answer = thaw.get("/").await;
    assert_eq!(answer.header("thaw-boot"), "thawed");
    assert!(!answer.header("server-timing").contains("thaw;dur=0.0"));
    assert_eq!(answer.ok(), format!("{} 3", pid.as_raw_pid()));
    ticked(&ticker, before + 1).await;
    reference.end();
}

#[tokio::test]
async fn one_that_must_go_on_running_does() {
    let fields = format!("freeze: {{mode: Never, after: 1ms}}, {}", runs("serve"));
    let thaw = Thaw::with(&fields).await;
    let (ticker, clock) = (file(&thaw.dir, "ticker"), file(&thaw.dir, "clock"));
    let spawn = format!("/spawn?tick={}", ticker.display());
    thaw.get(&spawn).await.ok();
    let reference = Kept::start(&[Path::new("tick"), &clock]);
    ticked(&clock, 50).await;
    ticked(&ticker, ticks(&ticker) + 50).await;
    reference.end();
}
