//! The API server fails for five minutes, in any way: meanwhile it is not asked too often, and half a minute after it works again
//! everything is as if it had never failed.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    moments::check,
    stage::{ACTIVATOR, DEPLOYMENTS, FUNCTIONS, Stage, differences},
};
use crate::double::{Call, Trouble, Verb};

const LASTS: Duration = Duration::from_secs(300);
/// How soon everything is well again.
const HEALS: Duration = Duration::from_secs(30);
/// Requests about one Function of two entrypoints in a minute.
const FOR_ONE: usize = 90;
/// Requests in a minute that are about no Function: lists and watches of five kinds.
const FOR_ALL: usize = 5 * 24;

/// With a bundle and an entrypoint in none, and a host, so that every kind of object is written.
const FUNCTION: &str =
    "{image: a, hosts: [HOST], bundles: [{name: web, entrypoints: [home, about]}],
    entrypoints: [{name: home, path: /}, {name: about, path: /about}, {name: api, path: /api}]}";
/// It is refused by the operator, and must not be in the way of the others.
const BAD: &str =
    "{image: a, entrypoints: [{name: web, path: /, env: [{name: PORT, value: '1'}]}]}";

/// Creates or changes a Function of this name.
fn write(stage: &Stage, name: &str, image: &str) {
    let spec = FUNCTION.replace("HOST", &format!("{name}.example.org"));
    stage.write(name, &spec.replace("image: a", &format!("image: {image}")));
}

/// What users do while the API server fails.
fn edit(stage: &Stage) {
    for name in ["one", "two"] {
        write(stage, name, "b");
    }
    write(stage, "new", "a");
    stage.double.remove(&format!("{FUNCTIONS}/gone"));
}

async fn begin() -> Stage {
    let stage = Stage::new();
    for name in ["one", "two", "gone"] {
        write(&stage, name, "a");
    }
    stage.write("bad", BAD);
    stage.comes_to_rest().await;
    stage
}

async fn undisturbed() -> BTreeMap<String, Value> {
    let stage = begin().await;
    edit(&stage);
    stage.comes_to_rest().await;
    stage.end_state()
}

/// Lets requests fail, and says what was asked meanwhile.
async fn endures(faults: &[(&'static [Verb], Trouble)]) -> Vec<Call> {
    let wanted = undisturbed().await;
    let mut stage = begin().await;
    stage.double.take_requests();
    for (verbs, trouble) in faults {
        stage.double.break_down(verbs, "", *trouble);
    }
    edit(&stage);
    let mut calls = Vec::new();
    for minute in 0..LASTS.as_secs() / 60 {
        sleep(Duration::from_secs(60)).await;
        let asked = stage.double.take_requests();
        is_bounded(&asked, minute);
        calls.extend(asked);
    }
    assert!(stage.operator.is_running(), "it gave up");
    stage.double.allow_all();
    heals(&stage, &wanted).await;
    check(&stage.double.changes());
    calls
}

fn is_bounded(asked: &[Call], minute: u64) {
    let mut by_function: BTreeMap<&str, usize> = BTreeMap::new();
    for call in asked {
        let name = call.path.rsplit('/').next().unwrap_or_default();
        let body = call.body["metadata"]["name"].as_str().unwrap_or_default();
        let is_about =
            |function: &&&str| name.starts_with(**function) || body.starts_with(**function);
        let status = call.path.trim_end_matches("/status");
        let names = ["one", "two", "new", "gone", "bad"];
        let function = names
            .iter()
            .find(is_about)
            .or_else(|| names.iter().find(|name| status.ends_with(**name)));
        *by_function.entry(function.unwrap_or(&"")).or_default() += 1;
    }
    for (function, count) in &by_function {
        let most = if function.is_empty() {
            FOR_ALL
        } else {
            FOR_ONE
        };
        assert!(
            *count <= most,
            "{count} requests about {function:?} in minute {minute}: {by_function:?}"
        );
    }
}

async fn heals(stage: &Stage, wanted: &BTreeMap<String, Value>) {
    let healed = Instant::now();
    loop {
        let differences = differences(wanted, &stage.end_state());
        if differences.is_empty() {
            break;
        }
        assert!(
            healed.elapsed() < HEALS,
            "not well again: {}",
            differences.join("\n")
        );
        sleep(Duration::from_millis(100)).await;
    }
    stage.comes_to_rest().await;
    let differences = differences(wanted, &stage.end_state());
    assert!(
        differences.is_empty(),
        "well for a moment: {}",
        differences.join("\n")
    );
}

/// One verb after the other, and then all.
async fn endures_for_each(trouble: Trouble) {
    const EACH: [&[Verb]; 6] = [
        &[Verb::Get, Verb::Delete],
        &[Verb::List],
        &[Verb::Watch],
        &[Verb::Create],
        &[Verb::Patch],
        &Verb::ALL,
    ];
    for verbs in EACH {
        endures(&[(verbs, trouble)]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_write_conflicts() {
    endures_for_each(Trouble::Refusal(409, "Conflict", None)).await;
}

#[tokio::test(start_paused = true)]
async fn too_many_requests() {
    endures_for_each(Trouble::Refusal(429, "TooManyRequests", None)).await;
}

#[tokio::test(start_paused = true)]
async fn too_many_requests_come_again_later() {
    const LATER: Duration = Duration::from_secs(10);
    let trouble = Trouble::Refusal(429, "TooManyRequests", Some(LATER.as_secs()));
    let calls = endures(&[(&Verb::ALL, trouble)]).await;
    assert!(calls.len() >= 10, "it comes again: {calls:?}");
    for pair in calls.windows(2) {
        let between = pair[1].at - pair[0].at;
        assert!(between.is_zero() || between >= LATER, "{pair:?}");
    }
    endures_for_each(trouble).await;
}

#[tokio::test(start_paused = true)]
async fn it_fails_inside() {
    endures_for_each(Trouble::Refusal(500, "InternalError", None)).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_too_slow() {
    endures_for_each(Trouble::Refusal(504, "Timeout", None)).await;
}

#[tokio::test(start_paused = true)]
async fn it_never_answers() {
    endures_for_each(Trouble::Lost).await;
}

#[tokio::test(start_paused = true)]
async fn it_does_what_it_is_asked_and_never_answers() {
    endures_for_each(Trouble::Unanswered).await;
}

#[tokio::test(start_paused = true)]
async fn connections_break_as_soon_as_they_are_used() {
    endures_for_each(Trouble::Cut).await;
}

#[tokio::test(start_paused = true)]
async fn every_version_is_too_old() {
    endures(&[(&[Verb::Watch], Trouble::Gone)]).await;
    // And no list brings a newer one.
    let expired = Trouble::Refusal(410, "Expired", None);
    endures(&[(&[Verb::Watch], Trouble::Gone), (&[Verb::List], expired)]).await;
}

#[tokio::test(start_paused = true)]
async fn its_rights_are_taken_away() {
    endures_for_each(Trouble::Refusal(403, "Forbidden", None)).await;
}

#[tokio::test(start_paused = true)]
async fn watches_that_were_cut_or_forgotten_miss_nothing() {
    let wanted = undisturbed().await;
    let stage = begin().await;
    for _ in 0..3 {
        stage.double.cut_watches();
        edit(&stage);
        stage.double.compact();
        sleep(Duration::from_secs(1)).await;
        stage.double.cut_watches();
    }
    heals(&stage, &wanted).await;
}

#[tokio::test(start_paused = true)]
async fn the_death_of_a_watch_is_noticed_within_65_seconds() {
    let wanted = undisturbed().await;
    let stage = begin().await;
    // Their connections die unnoticed, and new ones work.
    stage.double.break_down(&[Verb::Watch], "", Trouble::Lost);
    sleep(Duration::from_millis(1)).await;
    stage.double.allow_all();
    let died = Instant::now();
    edit(&stage);
    while !differences(&wanted, &stage.end_state()).is_empty() {
        assert!(died.elapsed() < Duration::from_secs(70), "unnoticed");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn those_that_cannot_be_written_do_not_keep_others_waiting() {
    let stage = Stage::new();
    // As behind a webhook of their namespace that does not answer.
    stage
        .double
        .break_down(&[Verb::Create, Verb::Patch], "/stuck", Trouble::Lost);
    for number in 0..20 {
        write(&stage, &format!("stuck{number}"), "a");
    }
    sleep(LASTS).await;
    let begun = Instant::now();
    write(&stage, "one", "a");
    while stage.function("one")["status"]["conditions"][0]["status"] != "True" {
        assert!(begun.elapsed() < HEALS, "it waits for the others");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn three_hundred_that_fail_are_not_tried_all_at_once() {
    let stage = Stage::new();
    let quota = Trouble::Refusal(403, "Forbidden", None);
    stage
        .double
        .break_down(&[Verb::Create], "/deployments", quota);
    for number in 0..300 {
        write(&stage, &format!("f{number}"), "a");
    }
    sleep(Duration::from_secs(120)).await;
    stage.double.take_requests();
    sleep(Duration::from_secs(60)).await;
    let count = stage.double.take_requests().len();
    assert!(
        count <= 60 * 10 * 2 + FOR_ALL,
        "{count} requests in a minute"
    );
    assert!(count > 60, "they are tried again: {count}");
}

#[tokio::test(start_paused = true)]
async fn in_a_namespace_that_is_being_deleted_it_waits_for_the_end() {
    let stage = begin().await;
    stage
        .double
        .break_down(&[Verb::Create], "/namespaces/prod/", Trouble::Ending);
    for (path, _) in stage.double.all() {
        if path.starts_with(DEPLOYMENTS) {
            stage.double.remove(&path);
        }
    }
    stage.double.take_requests();
    sleep(LASTS).await;
    let mut asked = stage.double.take_requests();
    asked.retain(|call| call.verb == Verb::Create);
    assert!(asked.len() <= 30, "tried {} times", asked.len());
    for name in ["one", "two", "gone", "bad"] {
        stage.double.remove(&format!("{FUNCTIONS}/{name}"));
    }
    stage.comes_to_rest().await;
    let end = stage.end_state();
    assert!(end.keys().all(|path| path == ACTIVATOR), "{end:?}");
}
