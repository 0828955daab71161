//! What else lives in a cluster, as far as the operator waits for it: the garbage collector, the Deployment controller, and an activator
//! that boots what it is asked to verify and lets everything else go to zero.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use super::{
    Double,
    state::{State, Writer},
};

/// How long they take to see a change.
const REACTION: Duration = Duration::from_millis(20);
/// An image that holds this word never answers.
const BROKEN: &str = "broken";

/// Reacts to every change, for ever.
pub(crate) async fn live(double: Double) {
    let mut versions = double.versions.subscribe();
    loop {
        versions.borrow_and_update();
        tokio::time::sleep(REACTION).await;
        double.react();
        versions
            .changed()
            .await
            .expect("the API server is held here");
    }
}

impl Double {
    /// Lets everybody do what there is to do.
    pub(crate) fn react(&self) {
        let mut state = self.state();
        let before = state.version;
        collect_garbage(&mut state);
        run_deployments(&mut state);
        activate(&mut state);
        run_deployments(&mut state);
        let has_changed = state.version != before;
        drop(state);
        if has_changed {
            self.wake();
        }
    }
}

fn collect_garbage(state: &mut State) {
    loop {
        let uid = |object: &Value| object["metadata"]["uid"].as_str().map(str::to_owned);
        let there: BTreeSet<String> = state
            .objects
            .values()
            .filter_map(|s| uid(&s.object))
            .collect();
        let is_garbage = |object: &Value| {
            let owners = object["metadata"]["ownerReferences"].as_array();
            owners.is_some_and(|owners| {
                let mut uids = owners.iter().filter_map(|owner| owner["uid"].as_str());
                !owners.is_empty() && !uids.any(|uid| there.contains(uid))
            })
        };
        let all = state.objects.iter();
        let garbage: Vec<String> = all
            .filter(|(_, stored)| is_garbage(&stored.object))
            .map(|(path, _)| path.clone())
            .collect();
        if garbage.is_empty() {
            return;
        }
        for path in garbage {
            state.remove(&path);
        }
    }
}

/// The paths of everything of a kind.
fn paths(state: &State, kind: &str) -> Vec<String> {
    let all = state.objects.iter();
    all.filter(|(_, stored)| stored.object["kind"] == kind)
        .map(|(path, _)| path.clone())
        .collect()
}

fn run_deployments(state: &mut State) {
    for path in paths(state, "Deployment") {
        let deployment = &state.objects[&path].object;
        let replicas = deployment["spec"]["replicas"].as_i64().unwrap_or(0);
        let status = json!({"observedGeneration": deployment["metadata"]["generation"], "replicas": replicas, "readyReplicas": replicas});
        if deployment["status"] != status {
            let mut now = deployment.clone();
            now["status"] = status;
            let by = writer("deployment-controller", Some("status"));
            state.update(&path, now, &by);
        }
    }
}

/// The entrypoints of a Function that want a revision verified, each with that revision.
fn asked(function: &Value) -> Vec<(Value, Value)> {
    let entrypoints = function["status"]["entrypoints"].as_array();
    let all = entrypoints.into_iter().flatten();
    all.filter(|entrypoint| entrypoint["verifying"].is_string())
        .map(|entrypoint| (entrypoint["name"].clone(), entrypoint["verifying"].clone()))
        .collect()
}

fn activate(state: &mut State) {
    let functions = paths(state, "Function");
    let mut verified = BTreeSet::new();
    for path in &functions {
        let revisions = asked(&state.objects[path].object).into_iter();
        verified.extend(revisions.map(|(_, revision)| revision.to_string()));
    }
    scale(state, &verified);
    for path in functions {
        tell(state, &path);
    }
}

/// What is verified has an instance, and what is not has none: nobody invokes anything here.
fn scale(state: &mut State, verified: &BTreeSet<String>) {
    for path in paths(state, "Deployment") {
        let deployment = &state.objects[&path].object;
        let revision = &deployment["metadata"]["labels"]["thaw.dev/revision"];
        let replicas = json!(i32::from(verified.contains(&revision.to_string())));
        if deployment["spec"]["replicas"] != replicas {
            let mut now = deployment.clone();
            now["spec"]["replicas"] = replicas;
            state.update(&path, now, &writer("thaw-activator", None));
        }
    }
}

/// Says what became of each revision that is verified. An answer stands as long as its question.
fn tell(state: &mut State, path: &str) {
    let stored = &state.objects[path];
    let by = writer("thaw-activator", Some("status"));
    let mut owners = stored.owners.iter();
    let said = owners.find(|owner| owner.manager == by.manager && owner.subresource.is_some());
    let asked = asked(&stored.object);
    if asked.is_empty() && said.is_none() {
        return;
    }
    let deployments = paths(state, "Deployment");
    let answers: Vec<Value> = asked
        .iter()
        .filter_map(|(name, revision)| {
            let mut all = deployments.iter().map(|path| &state.objects[path].object);
            let is_it = |deployment: &&Value| {
                deployment["metadata"]["labels"]["thaw.dev/revision"] == *revision
            };
            let verified = answer(all.find(is_it)?, revision);
            Some(json!({"name": name, "verified": verified}))
        })
        .collect();
    let wanted = json!({"status": {"entrypoints": answers}});
    state.apply(path, &wanted, &by, true);
}

fn answer(deployment: &Value, revision: &Value) -> Value {
    let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
    let is_broken = image.as_str().is_some_and(|image| image.contains(BROKEN));
    let (outcome, reason) = if is_broken {
        ("Failed", "ErrImagePull")
    } else {
        ("Succeeded", "")
    };
    json!({"at": "2030-01-01T00:00:00Z", "revision": revision, "outcome": outcome, "reason": reason, "message": ""})
}

fn writer<'a>(name: &'a str, subresource: Option<&'a str>) -> Writer<'a> {
    Writer {
        manager: name,
        subresource,
    }
}
