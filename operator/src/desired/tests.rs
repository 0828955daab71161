use k8s_openapi::api::apps::v1::DeploymentStatus;

use super::*;
use crate::double::fixtures;

const ONE: &str = "{image: a, entrypoints: [{name: web, path: /}]}";

/// The Deployment of entrypoint `web` at another revision, with so many instances asked for and there.
fn old(asked: i32, there: i32) -> Arc<Deployment> {
    let function = fixtures::function("shop", "{image: old, entrypoints: [{name: web, path: /}]}");
    let mut deployment = children(&function, &Observed::default())
        .unwrap()
        .remove(0)
        .deployment;
    deployment.metadata.generation = Some(2);
    deployment.spec.as_mut().unwrap().replicas = Some(asked);
    deployment.status = Some(DeploymentStatus {
        replicas: Some(there),
        observed_generation: Some(2),
        ..DeploymentStatus::default()
    });
    Arc::new(deployment)
}

fn orphans_among(child: &Arc<Deployment>, ready: Option<&str>) -> usize {
    let mut observed = Observed {
        children: vec![child.clone()],
        ..Observed::default()
    };
    observed
        .previous
        .entrypoints
        .push(crds::status::EntrypointStatus {
            name: "web".to_owned(),
            ready_revision: ready.map(str::to_owned),
            ..Default::default()
        });
    let plan = decide(
        &fixtures::function("shop", ONE),
        &observed,
        &fixtures::platform(),
    );
    plan.orphans.len()
}

#[test]
fn an_old_revision_goes_when_it_has_no_instance_left() {
    assert_eq!(orphans_among(&old(0, 0), Some("new")), 1);
    assert_eq!(orphans_among(&old(1, 1), Some("new")), 0);
    assert_eq!(orphans_among(&old(0, 1), Some("new")), 0, "it is draining");
    assert_eq!(orphans_among(&old(1, 0), Some("new")), 0, "it is booting");
}

#[test]
fn an_old_revision_stays_while_the_controller_of_deployments_lags_behind() {
    let mut child = Deployment::clone(&old(0, 0));
    child.metadata.generation = Some(3);
    assert_eq!(orphans_among(&Arc::new(child), Some("new")), 0);
}

#[test]
fn the_revision_that_takes_the_traffic_stays() {
    let child = old(0, 0);
    assert_eq!(orphans_among(&child, Some(observe::revision(&child))), 0);
}

#[test]
fn the_deployment_of_a_removed_entrypoint_goes() {
    let child = old(0, 0);
    let mut observed = Observed {
        children: vec![child.clone()],
        ..Observed::default()
    };
    observed
        .previous
        .entrypoints
        .push(crds::status::EntrypointStatus {
            name: "web".to_owned(),
            ready_revision: Some(observe::revision(&child).to_owned()),
            ..Default::default()
        });
    let function = fixtures::function("shop", "{image: a, entrypoints: [{name: other, path: /}]}");
    assert_eq!(
        decide(&function, &observed, &fixtures::platform())
            .orphans
            .len(),
        1
    );
}

#[test]
fn a_manifest_that_breaks_a_rule_changes_nothing() {
    let observed = Observed {
        children: vec![old(0, 0)],
        ..Observed::default()
    };
    let function = fixtures::function("shop", "{entrypoints: [{name: web, path: /}]}");
    let plan = decide(&function, &observed, &fixtures::platform());
    assert!(plan.wanted.is_err() && plan.orphans.is_empty());
}

#[test]
fn what_can_be_gone_back_to_stays_up_to_the_limit() {
    let child = old(0, 0);
    let mut observed = Observed {
        children: vec![child.clone()],
        ..Observed::default()
    };
    let orphans = |kept: &[&str], limit: u32, observed: &mut Observed| {
        observed.previous.entrypoints = vec![crds::status::EntrypointStatus {
            name: "web".to_owned(),
            kept_revisions: kept.iter().map(|kept| (*kept).to_owned()).collect(),
            ..Default::default()
        }];
        let spec = format!(
            "{{image: a, revisionHistoryLimit: {limit}, entrypoints: [{{name: web, path: /}}]}}"
        );
        decide(
            &fixtures::function("shop", &spec),
            observed,
            &fixtures::platform(),
        )
        .orphans
        .len()
    };
    let revision = observe::revision(&child);
    assert_eq!(orphans(&["x", revision], 2, &mut observed), 0);
    assert_eq!(orphans(&["x", revision], 1, &mut observed), 1);
    assert_eq!(orphans(&["x"], 2, &mut observed), 1);
}
