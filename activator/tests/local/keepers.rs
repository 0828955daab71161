//! A keeper may die too.

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Thaw, pid_of, runs};

/// Its parent.
fn keeper_of(pid: Pid) -> Pid {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    pid_of(fields.split_whitespace().nth(1).unwrap())
}

#[tokio::test]
async fn a_keeper_that_somebody_kills() {
    let mut thaw = Thaw::with(&runs("serve")).await;
    let (before, _) = thaw.visit("/").await;
    kill_process(keeper_of(before), Signal::KILL).unwrap();
    thaw.says("web-1 ended: somebody killed the process that watched over")
        .await;
    let (after, _) = thaw.visit("/").await;
    assert_ne!(before, after);
    thaw.signal(Signal::INT);
    // Though the first still has its end of the output.
    thaw.ended().await;
    kill_process(before, Signal::KILL).unwrap();
}
