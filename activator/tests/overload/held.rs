//! Thousands of requests from zero.

use std::collections::HashSet;

use crate::load::{LONG, Load, next};

/// How many more there are than may wait.
const SURPLUS: u64 = 50;
/// The most that the activator may have in RAM while ten thousand requests wait, in KiB.
const MEMORY: u64 = 256 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_at_once_are_held_answered_once_or_refused() {
    hold(1_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_at_once_are_held_in_little_memory_answered_once_or_refused() {
    hold(10_000).await;
}

async fn hold(queue: u64) {
    let long = LONG.as_secs();
    let load = Load::start(&format!(
        "scale: {{max: 20}}, limits: {{queue: {queue}}}, timeouts: {{queue: {long}s, boot: {long}s}}"
    ))
    .await;
    let before = load.resident();
    let mut clients = load.send(0..queue + SURPLUS);
    let mut refused = HashSet::new();
    // Once the surplus is refused, all others wait.
    while (refused.len() as u64) < SURPLUS {
        let (id, answer) = next(&mut clients).await;
        answer.is_error(503, "QueueFull", &["limits.queue"]);
        assert_ne!(answer.header("retry-after"), "");
        refused.insert(id);
    }
    let held = load.resident();
    println!(
        "{queue} held: {held} KiB resident, {:.1} KiB for each",
        held.saturating_sub(before) as f64 / queue as f64
    );
    assert!(held < MEMORY, "{held} KiB resident");
    load.let_boot();
    while !clients.is_empty() {
        let (id, answer) = next(&mut clients).await;
        assert_eq!(answer.status, 200, "{id}: {answer:?}");
        assert!(!refused.contains(&id));
    }
    // None of them twice, or the reading of the journals would not have ended well.
    let begun = load.journals().begun;
    assert_eq!(begun.len() as u64, queue);
    assert!(begun.keys().all(|id| !refused.contains(id)));
}
