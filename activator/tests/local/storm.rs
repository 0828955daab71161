//! Everything at once, for long: clients that leave at any moment, processes that crash, restarts, freezing and thawing.
//!
//! `THAW_INVOCATIONS=1000000 cargo test -p activator --test local storm -- --nocapture` runs a long one and shows its figures.

mod client;
mod journals;

use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::support::{Thaw, eventually, example, manifest, write};
use client::{Client, End, Outcome};
use journals::{Journals, most_at_once, processes, resident};

/// Unless `THAW_INVOCATIONS` says otherwise.
const INVOCATIONS: u64 = 50_000;
/// After each of them all instances idle out.
const ROUNDS: u64 = 5;
/// More than there are instances, so that some wait.
const CLIENTS: u64 = 32;
/// The most of each of the two entrypoints.
const INSTANCES: usize = 12;
/// Invocations from one restart of both entrypoints to the next.
const RESTART: usize = 6_000;
/// By how much the activator may grow from the end of the first round to the end of the last, in KiB. An allocator gives back less or more
/// after the same work; 210 bytes for each invocation, if something kept them, would be too much, and 11 of a million.
const GROWTH: u64 = 8 << 10;

/// A storm and its activator.
struct Storm {
    thaw: Thaw,
    /// Outside the activator's directory, where a new file restarts things.
    journals: TempDir,
    outcomes: Vec<Outcome>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_invocation_is_lost_or_run_twice_nothing_overlaps_and_memory_stays_flat() {
    let invocations = std::env::var("THAW_INVOCATIONS");
    let invocations = invocations.map_or(INVOCATIONS, |number| number.parse().unwrap());
    let began = Instant::now();
    let mut storm = Storm::start().await;
    let mut memory = Vec::new();
    for round in 0..ROUNDS {
        let (first, end) = (round * invocations, (round + 1) * invocations);
        storm.blow(first / ROUNDS..end / ROUNDS).await;
        eventually("every instance goes", || storm.is_at_zero().then_some(())).await;
        memory.push(resident(storm.pid()));
    }
    let took = began.elapsed();
    let figures = storm.check(invocations);
    println!("{figures}; took {took:?}; resident after each round, in KiB: {memory:?}");
    let growth = memory[memory.len() - 1].saturating_sub(memory[0]);
    assert!(growth < GROWTH, "memory is not flat: {memory:?}");
    storm.thaw.signal(Signal::INT);
    storm.thaw.ended().await;
    assert!(storm.is_at_zero());
}

impl Storm {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let journals = tempfile::tempdir().unwrap();
        write(&dir, "restart.txt", "");
        let fields = |freeze: &str, idle: &str| {
            format!(
                "command: [{:?}, restart.txt], env: [{{name: JOURNAL, value: {:?}}}], freeze: {{{freeze}}}, scale: {{max: {INSTANCES}, idleAfter: {idle}}}",
                example("journal"),
                journals.path()
            )
        };
        let entrypoints = [
            ("freezes", "/freezes", &*fields("after: 1ms", "300ms")),
            ("never", "/never", &*fields("mode: Never", "100ms")),
        ];
        write(&dir, "function.yaml", &manifest(&entrypoints));
        Self {
            thaw: Thaw::start(dir, &["--watch"]).await,
            journals,
            outcomes: vec![],
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.thaw.child)
    }

    fn is_at_zero(&self) -> bool {
        processes(self.pid(), self.thaw.dir.path()).is_empty()
    }

    /// Invocations with these ids.
    async fn blow(&mut self, ids: Range<u64>) {
        let next = Arc::new(AtomicU64::new(ids.start));
        let client = |number| {
            let client = Client::new(self.thaw.port, ids.start + number);
            tokio::spawn(send_all(client, next.clone(), ids.end))
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        for due in ids.clone().skip(RESTART / 2).step_by(RESTART) {
            let is_due = || (next.load(Ordering::Relaxed) >= due).then_some(());
            eventually("the storm goes on", is_due).await;
            write(&self.thaw.dir, "restart.txt", &due.to_string());
        }
        for client in clients {
            self.outcomes.extend(client.await.unwrap());
        }
    }

    /// Checks what came of each invocation; what came of all of them, in figures.
    fn check(&self, invocations: u64) -> String {
        let journals = Journals::read(self.journals.path());
        let (mut ids, mut ends) = (HashSet::new(), BTreeMap::<String, u64>::new());
        for outcome in &self.outcomes {
            assert!(ids.insert(outcome.id), "{outcome:?} is there twice");
            check(outcome, &journals);
            *ends.entry(outcome.end.to_string()).or_default() += 1;
        }
        let (crashes, at_once) = (
            journals.crashed.len() as u64,
            most_at_once(&self.thaw.said()),
        );
        assert_eq!(ids.len() as u64, invocations);
        assert!(journals.begun.keys().all(|id| ids.contains(id)));
        let count = |end: &str| ends.get(end).copied().unwrap_or_default();
        // An instance runs one invocation at a time, so it takes at most one with it.
        let failures = count("InstanceFailed") + count("cut");
        assert!(failures <= crashes, "{failures} failures");
        assert!(at_once >= 8, "{at_once} instances at once");
        for rare in ["InstanceFailed", "cut", "left", "thawed"] {
            assert!(
                count(rare) > invocations / 1_000,
                "too few are {rare}: {ends:?}"
            );
        }
        assert!(journals.used as u64 > invocations / 100, "it hardly scaled");
        format!(
            "{ends:?}; {} instances used, {at_once} at once, {crashes} crashed",
            journals.used
        )
    }
}

async fn send_all(mut client: Client, next: Arc<AtomicU64>, end: u64) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    loop {
        let id = next.fetch_add(1, Ordering::Relaxed);
        if id >= end {
            return outcomes;
        }
        outcomes.push(client.request(id).await);
    }
}

/// Checks that it agrees with what the function saw.
fn check(outcome: &Outcome, journals: &Journals) {
    let ran = journals.begun.get(&outcome.id).map(|begun| &begun.by);
    match &outcome.end {
        End::Answered { instance, .. } => {
            assert_eq!(ran, Some(instance), "{outcome:?}");
            assert!(!outcome.kills, "{outcome:?} by a dead process");
        }
        End::Failed(code) => {
            assert!(["InstanceFailed", "cut"].contains(&&**code), "{outcome:?}");
            let crashed = |process| journals.crashed.contains(process);
            assert!(
                ran.is_none_or(crashed),
                "{outcome:?}, though {ran:?} did not crash"
            );
        }
        End::Left => {}
    }
}
