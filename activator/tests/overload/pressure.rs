//! More requests than can be run, for longer than anybody waits.
//!
//! `THAW_OVERLOAD_MINUTES=30 cargo test -p activator --test overload pressure -- --nocapture` presses that long and shows the figures.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    task::JoinSet,
    time::{Instant, interval, timeout},
};

use crate::{
    load::Load,
    support::{Answer, ask},
};

/// Unless `THAW_OVERLOAD_MINUTES` says otherwise.
const SECONDS: u64 = 20;
/// Requests a second.
const RATE: u64 = 200;
/// Clients give up after this.
const PATIENCE: Duration = Duration::from_secs(1);
/// Instances, and how long each works on a request: capacity for 60 a second.
const INSTANCES: u64 = 6;
const WORK: Duration = Duration::from_millis(100);
/// Until the activator must have seen that a client left, however busy the machine is.
const NOTICED: Duration = Duration::from_secs(2);
/// By how much the activator may grow after the first quarter, in KiB. An allocator gives back less or more after the same work.
const GROWTH: u64 = 16 << 10;

/// What the clients came to.
#[derive(Default)]
struct Outcomes {
    answered: HashSet<u64>,
    refused: HashSet<u64>,
    /// And when, since the epoch.
    left: HashMap<u64, Duration>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_give_up_leave_nothing_behind() {
    let (load, outcomes) = press("limits: {queue: 1000}").await;
    let Outcomes {
        answered,
        refused,
        left,
    } = outcomes;
    assert!(
        refused.is_empty(),
        "the queue never gets that long, nor anybody waits that long"
    );
    let begun = load.journals().begun;
    println!(
        "{} answered, {} left, {} begun",
        answered.len(),
        left.len(),
        begun.len()
    );
    assert!(answered.iter().all(|id| begun.contains_key(id)));
    // Nobody works for those who left the queue.
    for (id, at) in left {
        let is_late = begun.get(&id).is_some_and(|begun| begun.at > at + NOTICED);
        assert!(!is_late, "{id} left at {at:?} and is {:?}", begun[&id]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_no_longer_than_clients_wait_keeps_instances_at_work_for_clients_that_are_there() {
    is_worthwhile("limits: {queue: 20}").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_shorter_than_that_of_clients_does_so_too_however_long_the_queue_may_be() {
    is_worthwhile("limits: {queue: 1000}, timeouts: {queue: 500ms}").await;
}

/// Checks that under pressure instances work for clients that are still there.
async fn is_worthwhile(bounds: &str) {
    let (load, outcomes) = press(bounds).await;
    let Outcomes {
        answered,
        refused,
        left,
    } = outcomes;
    let begun = load.journals().begun;
    println!(
        "{} answered, {} refused, {} left, {} begun",
        answered.len(),
        refused.len(),
        left.len(),
        begun.len()
    );
    assert!(answered.iter().all(|id| begun.contains_key(id)));
    assert!(!refused.iter().any(|id| begun.contains_key(id)));
    // Generous, since the machine may do other things: without the bound it would be next to none.
    assert!(answered.len() * 2 > begun.len(), "they worked for nobody");
}

/// Presses on a queue with these bounds, and checks that memory stays flat.
async fn press(bounds: &str) -> (Load, Outcomes) {
    let load = Load::start(&format!("scale: {{max: {INSTANCES}}}, {bounds}")).await;
    load.let_boot();
    let (begin, time) = (Instant::now(), time());
    let (mut clients, mut outcomes) = (JoinSet::new(), Outcomes::default());
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(RATE).unwrap());
    let (mut id, mut warm) = (0, None);
    while begin.elapsed() < time {
        ticks.tick().await;
        clients.spawn(visit(load.thaw.port, id));
        id += 1;
        while let Some(visited) = clients.try_join_next() {
            outcomes.note(visited.unwrap());
        }
        if warm.is_none() && begin.elapsed() > time / 4 {
            warm = Some(load.resident());
        }
    }
    let (warm, end) = (warm.unwrap(), load.resident());
    for visited in clients.join_all().await {
        outcomes.note(visited);
    }
    println!("{id} requests in {time:?}, resident {warm} KiB, then {end} KiB");
    assert!(end.saturating_sub(warm) < GROWTH, "memory is not flat");
    (load, outcomes)
}

/// Its answer, or when it left.
async fn visit(port: u16, id: u64) -> (u64, Result<Answer, Duration>) {
    let path = format!("/?id={id}&sleep={}", WORK.as_millis());
    let answer = timeout(PATIENCE, ask(port, "localhost", &path)).await;
    (id, answer.map_err(|_| now()))
}

impl Outcomes {
    fn note(&mut self, (id, answer): (u64, Result<Answer, Duration>)) {
        let is_new = match answer {
            Err(at) => self.left.insert(id, at).is_none(),
            Ok(answer) if answer.status == 200 => self.answered.insert(id),
            Ok(answer) => {
                let code = answer.header("thaw-error").to_owned();
                assert!(
                    ["QueueFull", "QueueTimeout"].contains(&&*code),
                    "{answer:?}"
                );
                answer.is_error(503, &code, &[]);
                self.refused.insert(id)
            }
        };
        assert!(is_new, "{id} is there twice");
    }
}

#[allow(clippy::disallowed_methods, reason = "a time that two processes know")]
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn time() -> Duration {
    let minutes = std::env::var("THAW_OVERLOAD_MINUTES");
    let seconds = minutes.map_or(SECONDS, |minutes| 60 * minutes.parse::<u64>().unwrap());
    Duration::from_secs(seconds)
}
