//! What holds at every moment, whatever the operator meets.

use std::collections::{BTreeMap, BTreeSet};

use crds::{
    conditions::ROUTES_READY,
    entrypoint,
    function::Function,
    hosts::granted,
    status::{BootOutcome, EntrypointStatus, FunctionStatus},
};
use serde_json::{Value, json};

use super::stage::{DEPLOYMENTS, FUNCTIONS};
use crate::double::Change;

/// Everything that there is at one moment, by path.
type Moment<'a> = BTreeMap<&'a str, &'a Value>;

/// What answers requests exists, and goes on answering until another may take over; and a host leads to one Function.
pub(super) fn check(changes: &[Change]) {
    let mut now = Moment::new();
    let mut functions: BTreeMap<&str, Function> = BTreeMap::new();
    for change in changes {
        let path = change.path.as_str();
        match &change.after {
            Some(object) => now.insert(path, object),
            None => now.remove(path),
        };
        if path.starts_with(FUNCTIONS) {
            let before = functions.remove(path);
            if let Some(object) = &change.after {
                let after = read(object);
                moves(before.as_ref().unwrap_or(&after), &after);
                functions.insert(path, after);
            }
        }
        for function in functions.values() {
            serves(function, &now);
            is_led_to(function, &now);
        }
        have_their_own(functions.values());
    }
}

fn read(function: &Value) -> Function {
    serde_json::from_value(function.clone()).expect("it has the shape of a Function")
}

/// Every revision that takes the traffic of an entrypoint or of a path exists.
fn serves(function: &Function, now: &Moment) {
    for status in function.status.iter().flat_map(|s| &s.entrypoints) {
        let own = status.ready_revision.iter().map(|r| (&status.name, r));
        let others = status.predecessors.iter();
        for (entrypoint, revision) in own.chain(others.map(|p| (&p.entrypoint, &p.revision))) {
            let mut deployments = now.iter().filter(|(path, _)| path.starts_with(DEPLOYMENTS));
            let exists = deployments.any(|(_, deployment)| {
                let labels = &deployment["metadata"]["labels"];
                labels["thaw.dev/function"] == json!(function.metadata.name)
                    && labels["thaw.dev/entrypoint"] == json!(entrypoint)
                    && labels["thaw.dev/revision"] == json!(revision)
            });
            assert!(exists, "{entrypoint}@{revision} does not serve {status:?}");
        }
    }
}

/// Every host that is said to lead to a Function does.
fn is_led_to(function: &Function, now: &Moment) {
    let mut conditions = function.status.iter().flat_map(|s| &s.conditions);
    if !conditions.any(|c| c.type_ == ROUTES_READY && c.status == "True") {
        return;
    }
    let all = now.values().flat_map(|object| hosts(object));
    let led: BTreeSet<&str> = all.filter_map(Value::as_str).collect();
    for host in granted(function) {
        assert!(led.contains(host.as_str()), "{host} leads nowhere");
    }
}

/// The hosts of an Ingress or HTTPRoute.
fn hosts(object: &Value) -> Vec<&Value> {
    let spec = &object["spec"];
    let (list, field) = match object["kind"].as_str() {
        Some("Ingress") => (&spec["rules"], Some("host")),
        Some("HTTPRoute") => (&spec["hostnames"], None),
        _ => return Vec::new(),
    };
    let items = list.as_array().into_iter().flatten();
    items
        .map(|item| field.map_or(item, |field| &item[field]))
        .collect()
}

/// No two have the same host.
fn have_their_own<'a>(functions: impl Iterator<Item = &'a Function>) {
    let mut all = BTreeSet::new();
    for host in functions.flat_map(granted) {
        assert!(all.insert(host.clone()), "{host} belongs to two");
    }
}

/// A path that is answered stays so, by what answered it or by a revision that has answered the activator.
fn moves(before: &Function, after: &Function) {
    let (then, now) = (answers(before), answers(after));
    let nothing = FunctionStatus::default();
    let known = &before.status.as_ref().unwrap_or(&nothing).entrypoints;
    for (path, from) in then {
        let Some(to) = now.get(&path).filter(|to| **to != from) else {
            continue;
        };
        let (Some(_), Some((entrypoint, revision))) = (&from, to) else {
            assert_eq!(from, None, "nothing answers {path} any more");
            continue;
        };
        let status = known.iter().find(|status| status.name == *entrypoint);
        let may = status.is_some_and(|status| may_take(status, revision));
        assert!(may, "{path} went from {from:?} to {to:?}");
    }
}

/// What answers each path of a manifest.
fn answers(function: &Function) -> BTreeMap<String, Option<(String, String)>> {
    let mut answers = BTreeMap::new();
    for entrypoint in entrypoint::read(&function.spec) {
        for route in entrypoint.routes {
            let status = function.status.as_ref();
            let answer = status.and_then(|status| status.answering(&entrypoint.name, &route.path));
            let answer = answer.map(|(name, revision)| (name.to_owned(), revision.to_owned()));
            answers.insert(route.path, answer);
        }
    }
    answers
}

/// Whether a revision has taken traffic before, or has answered the activator.
fn may_take(status: &EntrypointStatus, revision: &str) -> bool {
    let is_known = status.ready_revision.as_deref() == Some(revision)
        || status.kept_revisions.iter().any(|kept| kept == revision);
    let verified = status.verified.as_ref();
    is_known
        || verified.is_some_and(|verified| {
            verified.revision == revision && verified.outcome == BootOutcome::Succeeded
        })
}
