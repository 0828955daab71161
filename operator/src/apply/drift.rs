//! Whether an object still says what it should, so that one at rest costs no write.

use crds::{names, values::quantity};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{ResourceExt, api::DynamicObject};
use serde::Serialize;
use serde_json::Value;

use crate::attachment::{Attachment, Extra};

/// Whether an apply of `wanted` would change nothing about `found`.
pub(super) fn is_none(found: &Deployment, wanted: &Deployment) -> bool {
    is_applied(found) && holds(&json(found), &json(wanted), Extra::FieldsAndItems)
}

/// Whether an apply of an attachment would change nothing about `found`. An annotation tells whether something is wanted no longer.
pub(super) fn is_none_from(found: &DynamicObject, wanted: &Attachment) -> bool {
    let metadata = json(&wanted.object.metadata);
    is_applied(found)
        && holds(&json(&found.metadata), &metadata, Extra::FieldsAndItems)
        && holds(
            &found.data["spec"],
            &wanted.object.data["spec"],
            wanted.kind.extra,
        )
}

/// Whether the operator's apply has ever been here, after which only what it applied is compared.
fn is_applied(object: &impl ResourceExt) -> bool {
    let managers = object.managed_fields().iter();
    managers
        .filter(|entry| entry.operation.as_deref() == Some("Apply"))
        .any(|entry| entry.manager.as_deref() == Some(names::OPERATOR))
}

fn json(object: &impl Serialize) -> Value {
    serde_json::to_value(object).expect("an object is plain data with string keys")
}

/// Whether `found` says everything that `wanted` says, and what it may say more.
fn holds(found: &Value, wanted: &Value, extra: Extra) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            let is_held = |(key, value): (&String, &Value)| match found.get(key) {
                Some(found) => holds(found, value, extra),
                None => is_empty(value),
            };
            // Even an empty one: a selector that is empty selects everything.
            let is_extra = |key| extra == Extra::Nothing && !wanted.contains_key(key);
            wanted.iter().all(is_held) && !found.keys().any(is_extra)
        }
        (Value::Array(found), Value::Array(wanted)) => are_held(found, wanted, extra),
        (Value::String(found), Value::String(wanted)) => {
            found == wanted || is_same_quantity(found, wanted)
        }
        _ => found == wanted,
    }
}

/// Items of lists. Of objects there may be more and in another order where lists are merged by key; other lists must be equal.
fn are_held(found: &[Value], wanted: &[Value], extra: Extra) -> bool {
    if extra == Extra::FieldsAndItems && wanted.iter().all(Value::is_object) {
        let is_found = |value| found.iter().any(|found| holds(found, value, extra));
        return wanted.iter().all(is_found);
    }
    let pairs = || found.iter().zip(wanted);
    found.len() == wanted.len() && pairs().all(|(found, wanted)| holds(found, wanted, extra))
}

/// The API server answers `0.5` with `500m` and `1024Mi` with `1Gi`. Two texts that are not quantities are never the same.
fn is_same_quantity(found: &str, wanted: &str) -> bool {
    let (found, wanted) = (quantity(found), quantity(wanted));
    found.is_some() && found == wanted
}

/// What the API server leaves out when it answers.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_quantity_in_other_words_is_no_drift() {
        assert!(holds(&json!("500m"), &json!("0.5"), Extra::Nothing));
        for (found, wanted) in [("500m", "0.6"), ("a", "b"), ("", "0")] {
            assert!(
                !holds(&json!(found), &json!(wanted), Extra::Nothing),
                "{found} is not {wanted}"
            );
        }
    }

    #[test]
    fn what_may_be_there_besides_is_the_kinds_to_say() {
        let wanted = json!({"rules": [{"from": []}, {"ports": [{"port": 1}]}]});
        let defaulted = json!({"rules": [{}, {"ports": [{"port": 1, "protocol": "TCP"}]}], "a": 1});
        let added = json!({"rules": [{}, {"ports": [{"port": 1}]}, {}]});
        let turned = json!({"rules": [{"ports": [{"port": 1}]}, {}]});
        for (found, items, fields, nothing) in [
            (&wanted, true, true, true),
            (&defaulted, true, true, false),
            (&added, true, false, false),
            (&turned, true, false, false),
        ] {
            assert_eq!(
                holds(found, &wanted, Extra::FieldsAndItems),
                items,
                "{found}"
            );
            assert_eq!(holds(found, &wanted, Extra::Fields), fields, "{found}");
            assert_eq!(holds(found, &wanted, Extra::Nothing), nothing, "{found}");
        }
        let none = json!({"rules": []});
        assert!(!holds(&wanted, &none, Extra::Fields), "a rule too many");
    }

    #[test]
    fn defaults_of_the_api_server_are_no_drift() {
        let wanted = json!({"spec": {"containers": [{"name": "a", "args": ["x", "y"]}]}});
        let same = json!({"spec": {"containers": [{"name": "s"}, {"name": "a", "args": ["x", "y"], "tty": false}]}, "status": {}});
        assert!(holds(&same, &wanted, Extra::FieldsAndItems));
        for changed in [
            json!({"spec": {"containers": [{"name": "a", "args": ["y", "x"]}]}}),
            json!({"spec": {"containers": [{"name": "a"}]}}),
            json!({"spec": {"containers": []}}),
            json!({}),
        ] {
            let holds = holds(&changed, &wanted, Extra::FieldsAndItems);
            assert!(!holds, "{changed} is drift");
        }
    }
}
