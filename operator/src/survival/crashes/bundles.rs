//! Bundles come and go, and paths move into them and out of them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::survival::stage::DEPLOYMENTS;

const ALONE: &str = "{image: a, revisionHistoryLimit: 0, entrypoints: [{name: home, path: /}, {name: about, path: /about}]}";

/// Both entrypoints in one bundle.
fn bundled(stage: &Stage) {
    write(stage, "[home, about]");
}

/// One of them in a bundle, and the other in none.
fn one_bundled(stage: &Stage) {
    write(stage, "[about]");
}

fn alone(stage: &Stage) {
    stage.write("shop", ALONE);
}

fn write(stage: &Stage, entrypoints: &str) {
    let bundle = format!("image: a, bundles: [{{name: site, entrypoints: {entrypoints}}}]");
    stage.write("shop", &ALONE.replace("image: a", &bundle));
}

impl Survival {
    /// These entrypoints and bundles have a Deployment each, which takes their traffic and answers for nothing else.
    fn is_served_by(&self, names: &[&str]) {
        let status = &self.end[&format!("{FUNCTIONS}/shop")]["status"];
        let entrypoints = status["entrypoints"].as_array();
        let mut served = BTreeSet::new();
        for entrypoint in entrypoints.into_iter().flatten() {
            assert_eq!(entrypoint["revision"], entrypoint["readyRevision"]);
            assert_eq!(entrypoint["predecessors"], Value::Null);
            served.insert(entrypoint["name"].as_str().unwrap_or_default());
        }
        let names: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(served, names);
        let deployments = self.end.keys().filter(|path| path.starts_with(DEPLOYMENTS));
        assert_eq!(deployments.count(), names.len());
    }
}

#[tokio::test(start_paused = true)]
async fn while_a_bundle_is_created() {
    let survival = survives(nothing, bundled).await;
    survival.is_of(5);
    survival.is_served_by(&["site"]);
}

#[tokio::test(start_paused = true)]
async fn while_entrypoints_come_into_a_bundle() {
    let survival = survives(alone, bundled).await;
    // A Deployment is created and applied, the question is put, the traffic moves, and two Deployments go.
    survival.is_of(6);
    survival.is_served_by(&["site"]);
}

#[tokio::test(start_paused = true)]
async fn while_entrypoints_come_into_a_bundle_that_does_not_work() {
    let broken = |stage: &Stage| {
        let bundle = "image: a, bundles: [{name: site, image: broken, entrypoints: [home, about]}]";
        stage.write("shop", &ALONE.replace("image: a", bundle));
    };
    let survival = survives(alone, broken).await;
    survival.is_of(3);
    let site = &survival.end[&format!("{FUNCTIONS}/shop")]["status"]["entrypoints"][0];
    assert_eq!(site["readyRevision"], Value::Null);
    assert_eq!(site["predecessors"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(start_paused = true)]
async fn while_a_path_comes_into_a_bundle_that_is_there() {
    let survival = survives(one_bundled, bundled).await;
    survival.is_of(2);
    survival.is_served_by(&["site"]);
}

#[tokio::test(start_paused = true)]
async fn while_a_path_leaves_a_bundle() {
    let survival = survives(bundled, one_bundled).await;
    survival.is_of(4);
    survival.is_served_by(&["home", "site"]);
}

#[tokio::test(start_paused = true)]
async fn while_a_bundle_is_dissolved() {
    let survival = survives(bundled, alone).await;
    survival.is_of(7);
    survival.is_served_by(&["about", "home"]);
}

#[tokio::test(start_paused = true)]
async fn while_a_function_with_hosts_and_a_bundle_is_deleted() {
    let everything = |stage: &Stage| {
        let all = "image: a, hosts: [shop.example.org], bundles: [{name: site, entrypoints: [home, about]}]";
        stage.write("shop", &ALONE.replace("image: a", all));
    };
    let delete = |stage: &Stage| stage.double.remove(&format!("{FUNCTIONS}/shop"));
    let survival = survives(everything, delete).await;
    // Nothing owns what stands beside the activator: the operator removes it.
    survival.is_of(1);
    survival.is_of_nothing();
}
