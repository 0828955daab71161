//! The operator dies at any of its writes, and the next one ends where an undisturbed one would have.

mod bundles;
mod hosts;

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use super::{
    moments::check,
    stage::{ACTIVATOR, FUNCTIONS, Stage, differences},
};
use crate::{
    double::{Death, fixtures},
    platform::Platform,
};

const TWO: &str = "{image: a, entrypoints: [{name: web, path: /}, {name: api, path: /api}]}";

/// What a user does.
type Act = fn(&Stage);

/// What came of an act.
struct Survival {
    /// How often the operator died before a write.
    before: usize,
    /// How often after one.
    after: usize,
    /// How everything ended, each time.
    end: BTreeMap<String, Value>,
}

impl Survival {
    /// It died at each of as many writes as the act takes at least.
    fn is_of(&self, least: usize) {
        let Self { before, after, .. } = self;
        assert!(
            *before >= least && before == after,
            "it died before {before} writes and after {after}"
        );
    }

    /// Nothing of any Function is left.
    fn is_of_nothing(&self) {
        let mut left = self.end.keys().filter(|path| *path != ACTIVATOR);
        assert_eq!(left.next(), None);
    }
}

/// Lets the operator die at each write that it makes because of `act`, and compares what comes of it.
async fn survives(before: Act, act: Act) -> Survival {
    survives_on(&fixtures::with_ingress(), before, act).await
}

async fn survives_on(platform: &Platform, before: Act, act: Act) -> Survival {
    let undisturbed = Stage::on(platform.clone());
    before(&undisturbed);
    undisturbed.comes_to_rest().await;
    act(&undisturbed);
    undisturbed.comes_to_rest().await;
    let end = undisturbed.end_state();
    check(&undisturbed.double.changes());
    drop(undisturbed);

    let deaths = async |death: fn(usize) -> Death| {
        for count in 0..200 {
            let stage = Stage::on(platform.clone());
            if !dies(stage, before, act, death(count + 1), &end).await {
                return count;
            }
        }
        panic!("it writes without end");
    };
    Survival {
        before: deaths(Death::Before).await,
        after: deaths(Death::After).await,
        end,
    }
}

/// Whether the operator lived long enough to die like that.
async fn dies(
    mut stage: Stage,
    before: Act,
    act: Act,
    death: Death,
    wanted: &BTreeMap<String, Value>,
) -> bool {
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

fn nothing(_: &Stage) {}

fn two(stage: &Stage) {
    stage.write("shop", TWO);
}

#[tokio::test(start_paused = true)]
async fn while_it_creates() {
    survives(nothing, two).await.is_of(5);
}

#[tokio::test(start_paused = true)]
async fn while_an_image_changes() {
    let edit = |stage: &Stage| stage.write("shop", &TWO.replace("image: a", "image: b"));
    survives(two, edit).await.is_of(5);
}

#[tokio::test(start_paused = true)]
async fn while_an_image_changes_and_no_older_revision_is_kept() {
    let edit = |stage: &Stage| {
        let spec = TWO.replace("image: a", "revisionHistoryLimit: 0, image: b");
        stage.write("shop", &spec);
    };
    survives(two, edit).await.is_of(7);
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
    survives(two, edit).await.is_of(4);
}

#[tokio::test(start_paused = true)]
async fn while_a_path_is_renamed() {
    let edit = |stage: &Stage| stage.write("shop", &TWO.replace("/api}", "/renamed}"));
    survives(two, edit).await.is_of(1);
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
    survives(two, delete).await.is_of_nothing();
}

#[tokio::test(start_paused = true)]
async fn while_a_function_is_deleted_and_made_anew() {
    let anew = |stage: &Stage| {
        stage.double.remove(&format!("{FUNCTIONS}/shop"));
        stage.write("shop", &TWO.replace("image: a", "image: b"));
    };
    survives(two, anew).await;
}
