//! Whether a Deployment still says what it should, so that one at rest costs no write.

use crds::{names, values::quantity};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use serde_json::Value;

/// Whether an apply of `wanted` would change nothing about `found`.
pub(super) fn is_none(found: &Deployment, wanted: &Deployment) -> bool {
    is_applied(found) && holds(&json(found), &json(wanted))
}

/// Whether the operator's apply has ever been here, after which only what it applied is compared.
fn is_applied(deployment: &Deployment) -> bool {
    let managers = deployment.managed_fields().iter();
    managers
        .filter(|entry| entry.operation.as_deref() == Some("Apply"))
        .any(|entry| entry.manager.as_deref() == Some(names::OPERATOR))
}

fn json(deployment: &Deployment) -> Value {
    serde_json::to_value(deployment).expect("a Deployment is plain data with string keys")
}

/// Whether `found` says everything that `wanted` says. The API server adds defaults, so it may say more; of objects in a list (they
/// are merged by key) there may be more and in another order, other lists must be equal.
fn holds(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| match found.get(key) {
                Some(found) => holds(found, value),
                None => is_empty(value),
            })
        }
        (Value::Array(found), Value::Array(wanted)) if wanted.iter().all(Value::is_object) => {
            let is_found = |value| found.iter().any(|found| holds(found, value));
            wanted.iter().all(is_found)
        }
        (Value::String(found), Value::String(wanted)) => {
            found == wanted || is_same_quantity(found, wanted)
        }
        _ => found == wanted,
    }
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
        assert!(holds(&json!("500m"), &json!("0.5")));
        for (found, wanted) in [("500m", "0.6"), ("a", "b"), ("", "0")] {
            assert!(
                !holds(&json!(found), &json!(wanted)),
                "{found} is not {wanted}"
            );
        }
    }

    #[test]
    fn defaults_of_the_api_server_are_no_drift() {
        let wanted = json!({"spec": {"containers": [{"name": "a", "args": ["x", "y"]}]}});
        let same = json!({"spec": {"containers": [{"name": "s"}, {"name": "a", "args": ["x", "y"], "tty": false}]}, "status": {}});
        assert!(holds(&same, &wanted));
        for changed in [
            json!({"spec": {"containers": [{"name": "a", "args": ["y", "x"]}]}}),
            json!({"spec": {"containers": [{"name": "a"}]}}),
            json!({"spec": {"containers": []}}),
            json!({}),
        ] {
            assert!(!holds(&changed, &wanted), "{changed} is drift");
        }
    }
}
