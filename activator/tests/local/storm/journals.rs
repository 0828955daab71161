//! What the processes of the function wrote down, and what the kernel says of them and of the activator.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    path::Path,
    time::Duration,
};

use rustix::process::Pid;

/// The journals of all processes there ever were.
#[derive(Debug, Default)]
pub(super) struct Journals {
    pub(super) begun: HashMap<u64, Begun>,
    /// How many processes had at least one.
    pub(super) used: usize,
    /// Those that crashed.
    pub(super) crashed: HashSet<String>,
}

/// An invocation's begin.
#[derive(Debug)]
pub(super) struct Begun {
    /// The process that runs it.
    pub(super) by: String,
    /// Since the epoch.
    #[allow(dead_code, reason = "the storm does not ask")]
    pub(super) at: Duration,
}

impl Journals {
    /// Reads them. Each is checked by itself: one invocation after the other, no overlap; over all of them none twice.
    pub(super) fn read(place: &Path) -> Self {
        let mut journals = Self::default();
        for entry in fs::read_dir(place).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            journals.add(&name, &fs::read_to_string(entry.path()).unwrap());
        }
        journals
    }

    fn add(&mut self, process: &str, text: &str) {
        let (mut running, before) = (None, self.begun.len());
        for line in text.lines() {
            match *line.split(' ').collect::<Vec<_>>() {
                ["begin", id, at] => {
                    assert_eq!(running.replace(id), None, "{id} overlaps in {process}");
                    let begun = Begun {
                        by: process.to_owned(),
                        at: Duration::from_micros(at.parse().unwrap()),
                    };
                    let twin = self.begun.insert(id.parse().unwrap(), begun);
                    assert!(
                        twin.is_none(),
                        "{id} ran twice, the second time in {process}"
                    );
                }
                ["end", id] => assert_eq!(running.take(), Some(id), "in {process}"),
                ["crash"] => {
                    self.crashed.insert(process.to_owned());
                }
                _ => panic!("{line} in {process}"),
            }
        }
        self.used += usize::from(self.begun.len() > before);
    }
}

/// How many instances there were at once, by the activator's words.
pub(super) fn most_at_once(said: &[String]) -> usize {
    let (mut up, mut gone, mut most) = (HashSet::new(), HashSet::new(), 0);
    for line in said {
        let news = line.strip_prefix("thaw | ").unwrap_or(line);
        let Some((instance, what)) = news.split_once(' ') else {
            continue;
        };
        // Of one that crashes at once the end may be said first.
        if what.starts_with("booted in ") && !gone.contains(instance) {
            up.insert(instance);
        } else if what == "goes" || what.starts_with("ended: ") {
            up.remove(instance);
            gone.insert(instance);
        }
        most = most.max(up.len());
    }
    most
}

/// Processes of the activator's instances: its children, and whatever runs in its directory.
pub(super) fn processes(activator: Pid, dir: &Path) -> BTreeMap<i32, String> {
    let dir = dir.canonicalize().unwrap();
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        let pid = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        // Others may end while this looks at them.
        let (Some(pid), Ok(stat)) = (pid, fs::read_to_string(path.join("stat"))) else {
            continue;
        };
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let parent = fields.split_whitespace().nth(1).unwrap();
        let is_child = parent == activator.as_raw_pid().to_string();
        let is_there = fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd == dir);
        if pid != activator.as_raw_pid() && (is_child || is_there) {
            found.insert(pid, stat);
        }
    }
    found
}

/// The memory of the process that is in RAM, in KiB.
pub(super) fn resident(process: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_pid()));
    let status = status.unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let figure = line.unwrap().split_whitespace().nth(1);
    figure.unwrap().parse().unwrap()
}
