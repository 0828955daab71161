//! Two operators, of which one leads: it is stopped and goes on, dies, or loses its Lease.
//!
//! A process is a runtime of its own here. One that is not driven is one that is stopped: when it goes on, its clock has moved, and all its
//! timers are due at once.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
    time::{advance, sleep},
};
use tokio_util::sync::CancellationToken;

use super::stage::{FUNCTIONS, work};
use crate::{
    client,
    double::{Call, Double, Verb, fixtures, live},
    leader::{DURATION, Leader},
};

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/ns/leases/l";
const STEP: Duration = Duration::from_millis(150);
/// How soon a new leader works.
const SOON: Duration = Duration::from_secs(15);

/// An operator as it runs in a pod.
struct Replica {
    runtime: Runtime,
    running: Option<JoinHandle<()>>,
    name: &'static str,
}

impl Replica {
    fn start(double: &Double, name: &'static str) -> Self {
        let runtime = paused();
        let mut replica = Self {
            runtime,
            running: None,
            name,
        };
        replica.run(double);
        replica
    }

    /// The life of one process: it waits to lead, leads, and ends when it no longer does.
    fn run(&mut self, double: &Double) {
        // A client belongs to the runtime that it is made in.
        let _runtime = self.runtime.enter();
        let process = double.process(self.name);
        let mut leader = Leader::new(process.client(), "ns", "l", self.name);
        let client = client::polite(leader.fence().around(process.client()));
        self.running = Some(self.runtime.spawn(async move {
            leader.acquire().await;
            let working =
                tokio::spawn(work(client, fixtures::platform(), CancellationToken::new()));
            leader.lead().await;
            working.abort();
        }));
    }

    fn is_over(&self) -> bool {
        self.running.as_ref().is_some_and(JoinHandle::is_finished)
    }
}

fn paused() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    builder.build().expect("a runtime")
}

struct Pair {
    double: Double,
    world: Runtime,
    replicas: [Replica; 2],
    /// Which of them does not run.
    stopped: Option<usize>,
    passed: Duration,
    calls: Vec<(String, Call)>,
    edits: usize,
}

impl Pair {
    fn new() -> Self {
        // As the chart makes it.
        Self::of(json!({}))
    }

    /// Two replicas that find this Lease.
    fn of(lease: Value) -> Self {
        let double = Double::default();
        let metadata = json!({"name": "l", "namespace": "ns"});
        double.put(LEASE, json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": lease}));
        let world = paused();
        world.spawn(live(double.clone()));
        Self {
            world,
            replicas: ["first", "second"].map(|name| Replica::start(&double, name)),
            double,
            stopped: None,
            passed: Duration::ZERO,
            calls: Vec::new(),
            edits: 0,
        }
    }

    /// Lets time pass for all that run, with an edit every 3 s so that whoever leads has something to write.
    fn pass(&mut self, time: Duration) {
        let end = self.passed + time;
        while self.passed < end {
            self.passed += STEP;
            if self.passed.as_millis().is_multiple_of(3000) {
                self.edit();
            }
            self.world.block_on(async { sleep(STEP).await });
            for index in 0..self.replicas.len() {
                if self.stopped != Some(index) {
                    self.replicas[index]
                        .runtime
                        .block_on(async { sleep(STEP).await });
                    self.note();
                }
                if self.replicas[index].is_over() {
                    // The kubelet starts it again.
                    let double = self.double.clone();
                    self.replicas[index].run(&double);
                }
            }
        }
    }

    fn edit(&mut self) {
        self.edits += 1;
        let spec = format!(
            "{{image: 'v{}', revisionHistoryLimit: 0, entrypoints: [{{name: web, path: /, verify: {{when: Never}}}}]}}",
            self.edits
        );
        let spec = fixtures::stored(&fixtures::function("shop", &spec))["spec"].take();
        let manifest = json!({"apiVersion": "thaw.dev/v1alpha1", "kind": "Function", "metadata": {"name": "shop"}, "spec": spec});
        self.double.write(&format!("{FUNCTIONS}/shop"), manifest);
    }

    /// Whoever wrote must have been the holder.
    fn note(&mut self) {
        let holder = self.holder();
        for call in self.double.take_requests() {
            self.calls.push((holder.clone(), call));
        }
    }

    fn holder(&self) -> String {
        let lease = self.double.get(LEASE).unwrap_or_default();
        lease["spec"]["holderIdentity"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Stops one for so long, and lets it go on.
    fn stop(&mut self, index: usize, time: Duration) {
        self.stopped = Some(index);
        self.pass(time);
        self.stopped = None;
        self.replicas[index].runtime.block_on(advance(time));
        self.note();
    }

    /// How long it took until somebody wrote about a Function again.
    fn writes_since(&self, from: usize) -> Vec<&(String, Call)> {
        let calls = self.calls[from..].iter();
        calls.filter(|(_, call)| is_work(call)).collect()
    }

    /// Nobody wrote anything while another held the Lease.
    fn check(&self) {
        for (holder, call) in &self.calls {
            if is_work(call) {
                assert!(
                    holder.is_empty() || *holder == call.by,
                    "{holder} leads and {call:?}"
                );
            }
        }
    }
}

/// A write that only a leader may do.
fn is_work(call: &Call) -> bool {
    call.is_write() && !call.path.contains("/leases")
}

fn index_of(name: &str) -> usize {
    usize::from(name == "second")
}

#[test]
fn a_leader_that_was_stopped_does_not_write_after_another_took_over() {
    let mut pair = Pair::new();
    pair.pass(Duration::from_secs(20));
    let first = pair.holder();
    let from = pair.calls.len();
    assert!(!pair.writes_since(0).is_empty(), "somebody leads");
    pair.stop(index_of(&first), Duration::from_secs(60));
    let second = pair.holder();
    assert_ne!(first, second);
    let writes = pair.writes_since(from);
    assert!(
        writes.iter().all(|(_, call)| call.by == second),
        "only the new one wrote"
    );
    assert!(!writes.is_empty(), "the new one wrote");
    pair.pass(Duration::from_secs(60));
    assert_eq!(pair.holder(), second, "it did not come back as leader");
    pair.check();
}

#[test]
fn a_leader_is_stopped_again_and_again_for_any_time() {
    let mut pair = Pair::new();
    pair.pass(Duration::from_secs(10));
    for tenths in (60..150).step_by(7) {
        let index = index_of(&pair.holder());
        pair.stop(index, Duration::from_millis(100 * tenths));
        pair.pass(Duration::from_secs(16));
    }
    pair.check();
}

#[test]
fn a_new_leader_works_within_15_seconds_of_the_death_of_the_last() {
    for offset in 0..8 {
        let mut pair = Pair::new();
        pair.pass(Duration::from_secs(20) + offset * Duration::from_millis(450));
        let dead = index_of(&pair.holder());
        pair.stopped = Some(dead);
        let from = pair.calls.len();
        pair.pass(SOON);
        assert!(!pair.writes_since(from).is_empty(), "nobody leads");
        pair.check();
    }
}

#[test]
fn a_lease_that_is_deleted_never_makes_two_leaders() {
    for offset in 0..8 {
        let mut pair = Pair::new();
        pair.pass(Duration::from_secs(20) + offset * Duration::from_millis(450));
        let leader = pair.holder();
        pair.double.remove(LEASE);
        pair.pass(SOON);
        assert_eq!(pair.holder(), leader, "it makes it anew");
        pair.check();
        // And when it does not, because it is stopped.
        pair.double.remove(LEASE);
        let from = pair.calls.len();
        pair.stop(index_of(&leader), SOON);
        let writes = pair.writes_since(from);
        assert!(
            writes.iter().any(|(_, call)| call.by != leader),
            "another leads"
        );
        pair.pass(SOON);
        pair.check();
    }
}

#[test]
fn a_lease_in_the_hands_of_a_dead_one_is_free_soon() {
    let mut pair = Pair::of(
        json!({"holderIdentity": "dead", "leaseDurationSeconds": DURATION.as_secs(), "renewTime": "2030-01-01T00:00:00.000000Z"}),
    );
    pair.pass(SOON);
    assert!(!pair.writes_since(0).is_empty(), "nobody leads");
    pair.check();
}

#[test]
fn a_leader_that_is_cut_off_stops_before_another_begins() {
    let mut pair = Pair::new();
    pair.pass(Duration::from_secs(20));
    // Its renewals fail, and its other writes would not.
    pair.double
        .refuse(http::Method::PUT, "/leases", 500, "InternalError");
    pair.pass(Duration::from_secs(11));
    let last = pair.writes_since(0).last().map(|(_, call)| call.at);
    assert!(last.is_some());
    pair.double.allow_all();
    pair.pass(SOON);
    pair.check();
    let taken: Vec<Value> = pair
        .double
        .changes()
        .iter()
        .filter(|c| c.path == LEASE)
        .filter_map(|c| {
            c.after
                .as_deref()
                .map(|l| l["spec"]["holderIdentity"].clone())
        })
        .collect();
    assert!(!taken.is_empty());
}

#[test]
fn only_a_leader_writes() {
    let mut pair = Pair::new();
    pair.pass(Duration::from_secs(20));
    let writers: std::collections::BTreeSet<_> = pair
        .writes_since(0)
        .iter()
        .map(|(_, call)| call.by.clone())
        .collect();
    assert_eq!(writers.len(), 1, "{writers:?}");
    assert!(
        pair.calls.iter().any(|(_, call)| call.verb == Verb::Update),
        "it renews"
    );
}
