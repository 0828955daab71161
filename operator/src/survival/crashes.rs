//! The operator dies at any of its writes, and the next one ends where an undisturbed one would have.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use super::stage::{DEPLOYMENTS, FUNCTIONS, Stage, differences};
use crate::double::{Change, Death};

const TWO: &str = "{image: a, entrypoints: [{name: web, path: /}, {name: api, path: /api}]}";

/// What a user does.
type Act = fn(&Stage);

/// How often the operator died in the course of one act.
#[derive(Debug, Default, PartialEq, Eq)]
struct Deaths {
    before: usize,
    after: usize,
}

/// Lets the operator die at each write that it makes because of `act`, and compares what comes of it.
async fn survives(before: Act, act: Act) -> Deaths {
    let undisturbed = Stage::new();
    before(&undisturbed);
    undisturbed.comes_to_rest().await;
    act(&undisturbed);
    undisturbed.comes_to_rest().await;
    let wanted = undisturbed.end_state();
    check(&undisturbed.double.changes());
    drop(undisturbed);

    let mut deaths = Deaths::default();
    for death in [Death::Before as fn(usize) -> Death, Death::After] {
        let mut count = 0;
        while dies(before, act, death(count + 1), &wanted).await {
            count += 1;
            assert!(count < 200, "it writes without end");
        }
        match death(0) {
            Death::Before(_) => deaths.before = count,
            Death::After(_) => deaths.after = count,
        }
    }
    deaths
}

/// Whether the operator lived long enough to die like that.
async fn dies(before: Act, act: Act, death: Death, wanted: &BTreeMap<String, Value>) -> bool {
    let mut stage = Stage::new();
    before(&stage);
    stage.comes_to_rest().await;
    stage.operator.process.dies(death);
    act(&stage);
    let has_died = tokio::select! {
        () = stage.operator.process.died() => true,
        () = stage.comes_to_rest() => false,
    };
    if has_died {
        // The next one is not there at once.
        tokio::time::sleep(Duration::from_secs(3)).await;
        stage.restart();
        stage.comes_to_rest().await;
    }
    let differences = differences(wanted, &stage.end_state());
    assert!(
        differences.is_empty(),
        "{death:?}: {}",
        differences.join("\n")
    );
    check(&stage.double.changes());
    has_died
}

/// What holds at every moment: what takes the traffic exists, no entrypoint loses it, and the operator's word about a new revision
/// follows the activator's.
fn check(changes: &[Change]) {
    let mut now: BTreeMap<&str, &Value> = BTreeMap::new();
    for change in changes {
        match &change.after {
            Some(object) => now.insert(&change.path, object),
            None => now.remove(change.path.as_str()),
        };
        let functions = now.iter().filter(|(path, _)| path.starts_with(FUNCTIONS));
        for (_, function) in functions {
            serves(function, &now);
        }
        if change.path.starts_with(FUNCTIONS) {
            moves(change);
        }
    }
}

fn serves(function: &Value, now: &BTreeMap<&str, &Value>) {
    let entrypoints = function["status"]["entrypoints"].as_array();
    for entrypoint in entrypoints.into_iter().flatten() {
        let ready = &entrypoint["readyRevision"];
        let mut deployments = now.iter().filter(|(path, _)| path.starts_with(DEPLOYMENTS));
        let is_it =
            |deployment: &Value| deployment["metadata"]["labels"]["thaw.dev/revision"] == *ready;
        let exists = deployments.any(|(_, deployment)| is_it(deployment));
        assert!(ready.is_null() || exists, "nothing serves {entrypoint}");
    }
}

fn moves(change: &Change) {
    let (Some(before), Some(after)) = (&change.before, &change.after) else {
        return;
    };
    let find = |function: &Value, name: &Value| {
        let entrypoints = function["status"]["entrypoints"].as_array();
        let mut all = entrypoints.into_iter().flatten();
        all.find(|entrypoint| entrypoint["name"] == *name).cloned()
    };
    let entrypoints = after["status"]["entrypoints"].as_array();
    for now in entrypoints.into_iter().flatten() {
        let then = find(before, &now["name"]).unwrap_or_default();
        let (from, to) = (&then["readyRevision"], &now["readyRevision"]);
        if from.is_null() || from == to {
            continue;
        }
        let kept = then["keptRevisions"].as_array();
        let is_known = kept.is_some_and(|kept| kept.contains(to));
        let has_answered =
            then["verified"]["revision"] == *to && then["verified"]["outcome"] == "Succeeded";
        assert!(is_known || has_answered, "{then} became {now}");
    }
}

fn nothing(_: &Stage) {}

fn two(stage: &Stage) {
    stage.write("shop", TWO);
}

#[tokio::test(start_paused = true)]
async fn while_it_creates() {
    let deaths = survives(nothing, two).await;
    assert!(
        deaths.before >= 5 && deaths.before == deaths.after,
        "{deaths:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn while_an_image_changes() {
    let edit = |stage: &Stage| stage.write("shop", &TWO.replace("image: a", "image: b"));
    let deaths = survives(two, edit).await;
    assert!(
        deaths.before >= 5 && deaths.before == deaths.after,
        "{deaths:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn while_an_image_changes_and_no_older_revision_is_kept() {
    let edit = |stage: &Stage| {
        let spec = TWO.replace("image: a", "revisionHistoryLimit: 0, image: b");
        stage.write("shop", &spec);
    };
    let deaths = survives(two, edit).await;
    assert!(
        deaths.before >= 7 && deaths.before == deaths.after,
        "{deaths:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn while_an_image_that_does_not_work_replaces_one_that_does() {
    let edit = |stage: &Stage| stage.write("shop", &TWO.replace("image: a", "image: broken"));
    survives(two, edit).await;
}

#[tokio::test(start_paused = true)]
async fn while_an_entrypoint_is_added_and_another_removed() {
    let edit = |stage: &Stage| {
        let spec = "{image: a, entrypoints: [{name: new, path: /new}, {name: api, path: /api}]}";
        stage.write("shop", spec);
    };
    let deaths = survives(two, edit).await;
    assert!(
        deaths.before >= 4 && deaths.before == deaths.after,
        "{deaths:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn while_a_path_is_renamed() {
    let edit = |stage: &Stage| stage.write("shop", &TWO.replace("/api}", "/renamed}"));
    let deaths = survives(two, edit).await;
    assert!(
        deaths.before >= 1 && deaths.before == deaths.after,
        "{deaths:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn while_a_bad_manifest_is_refused_and_mended() {
    let edit = |stage: &Stage| {
        let bad = TWO.replace(
            "image: a",
            "image: b, defaults: {env: [{name: PORT, value: '1'}]}",
        );
        stage.write("shop", &bad);
    };
    survives(two, edit).await;
    let mend = |stage: &Stage| stage.write("shop", &TWO.replace("image: a", "image: c"));
    survives(
        |stage| {
            stage.write(
                "shop",
                &TWO.replace("image: a", "defaults: {env: [{name: PORT, value: '1'}]}"),
            );
        },
        mend,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn while_a_function_is_deleted() {
    let delete = |stage: &Stage| stage.double.remove(&format!("{FUNCTIONS}/shop"));
    survives(two, delete).await;
    let end = {
        let stage = Stage::new();
        two(&stage);
        stage.comes_to_rest().await;
        delete(&stage);
        stage.comes_to_rest().await;
        stage.end_state()
    };
    assert!(end.is_empty(), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn while_a_function_is_deleted_and_made_anew() {
    let anew = |stage: &Stage| {
        stage.double.remove(&format!("{FUNCTIONS}/shop"));
        stage.write("shop", &TWO.replace("image: a", "image: b"));
    };
    survives(two, anew).await;
}
