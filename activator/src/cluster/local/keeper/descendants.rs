//! What a command started, and abandoned or left behind.

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};

/// From now on, processes that lose their parent become children of this one. Elsewhere than on Linux they cannot be found.
pub(super) fn inherit() -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// Waits for abandoned processes that have ended.
pub(super) fn bury(command: Pid) {
    for child in children().filter(|child| *child != command) {
        wait(child, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

/// Kills everything that is left when the command has ended, and waits for it; the command comes last.
pub(super) fn end(command: Pid) {
    kill_process_group(command, Signal::KILL).ok();
    // Those that are killed may leave children, which are ours then.
    loop {
        let left: Vec<_> = children().filter(|child| *child != command).collect();
        if left.is_empty() {
            break;
        }
        // They are our children and not waited for: the number is theirs.
        for child in &left {
            kill_process(*child, Signal::KILL).ok();
        }
        for child in left {
            wait(child, WaitIdOptions::EXITED);
        }
    }
    wait(command, WaitIdOptions::EXITED);
}

fn wait(child: Pid, options: WaitIdOptions) {
    // It fails only for what is no child any more.
    waitid(WaitId::Pid(child), options).ok();
}

/// Found by their parent, since not every kernel lists the children of a process.
#[cfg(target_os = "linux")]
fn children() -> impl Iterator<Item = Pid> {
    let us = rustix::process::getpid().as_raw_pid().to_string();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(move |process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read(process.path().join("stat")).ok()?;
        (parent(&String::from_utf8_lossy(&stat))? == us)
            .then(|| Pid::from_raw(pid))
            .flatten()
    })
}

/// The fourth field, counted from the end of the second, which may hold anything (proc_pid_stat(5)).
#[cfg(target_os = "linux")]
fn parent(stat: &str) -> Option<&str> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)
}

#[cfg(not(target_os = "linux"))]
fn children() -> impl Iterator<Item = Pid> {
    std::iter::empty()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn a_process_may_be_called_anything() {
        assert_eq!(super::parent("7 (a) S 1 (b)) S 42 7 7 0"), Some("42"));
    }
}
