//! A neighbour that takes all it can.
//!
//! `cargo test -p activator --test overload neighbour -- --nocapture` shows how long answers take alone and beside it.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    load::{Load, next, send},
    support::{Answer, ask},
};

const HOST: &str = "shop--prod.localhost";
const NEIGHBOUR: &str = "noisy--other.localhost";
/// Clients of the neighbour whose requests wait for instances that never listen.
const WAITING: u64 = 9_900;
/// Clients of the neighbour whose instances crash, and who come back after [`AGAIN`]: with the others ten thousand.
const RETURNING: u64 = 100;
const AGAIN: Duration = Duration::from_secs(1);
/// Requests of the other in each round.
const REQUESTS: u64 = 300;
const ROUNDS: u64 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_shares_the_activator_with_it_is_always_answered() {
    let load = Load::beside(&neighbour(), "scale: {max: 1}").await;
    load.let_boot();
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let port = load.thaw.port;
    // Its instance boots once and stays.
    ask(port, HOST, &format!("/?id={}", 2 * ROUNDS * REQUESTS))
        .await
        .ok();
    for round in 0..ROUNDS {
        let first = round * 2 * REQUESTS;
        alone.extend(visit(port, first).await);
        let (_waiting, mut returning) = noise(port).await;
        beside.extend(visit(port, first + REQUESTS).await);
        assert!(returning.try_join_next().is_none(), "they come back");
    }
    show("alone", alone);
    show("beside", beside);
    assert_eq!(
        load.journals().begun.len() as u64,
        2 * ROUNDS * REQUESTS + 1
    );
}

/// A Function in another namespace: instances of one entrypoint never listen, those of the other crash.
fn neighbour() -> String {
    let entrypoint = |name: &str, script: &str| {
        format!(
            "    - {{name: {name}, path: /{name}, command: [/bin/sh, -c, {script:?}], scale: {{max: 3}}, limits: {{queue: {WAITING}}}, timeouts: {{boot: 300s}}}}\n"
        )
    };
    let entrypoints = entrypoint("deaf", "exec sleep 600") + &entrypoint("crashes", "exit 1");
    format!(
        "apiVersion: thaw.dev/v1alpha1\nkind: Function\nmetadata: {{name: noisy, namespace: other}}\nspec:\n  image: none:1\n  entrypoints:\n{entrypoints}---\n"
    )
}

/// The neighbour's clients, until this is dropped. Those that wait do so already.
async fn noise(port: u16) -> (JoinSet<(u64, Answer)>, JoinSet<()>) {
    let deaf = (0..=WAITING).map(|id| (id, "/deaf".to_owned()));
    let mut waiting = send(port, NEIGHBOUR, deaf);
    let (_, one_too_many) = next(&mut waiting).await;
    one_too_many.is_error(503, "QueueFull", &["limits.queue"]);
    let come_back = |_| async move {
        loop {
            let answer = ask(port, NEIGHBOUR, "/crashes").await;
            answer.is_error(502, "BootFailed", &[]);
            sleep(AGAIN).await;
        }
    };
    (waiting, (0..RETURNING).map(come_back).collect())
}

/// One request after the other, each answered by the function; how long each took.
async fn visit(port: u16, first: u64) -> Vec<Duration> {
    let mut took = Vec::new();
    for id in first..first + REQUESTS {
        let sent = Instant::now();
        let answer = ask(port, HOST, &format!("/?id={id}")).await;
        took.push(sent.elapsed());
        answer.ok();
    }
    took
}

fn show(how: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100];
    println!(
        "{how}: p50 {:?}, p99 {:?}, most {:?}",
        at(50),
        at(99),
        at(100)
    );
}
