//! What Thaw's components asked the API server for, from the audit log of `e2e/cluster`.

use std::{collections::BTreeSet, env, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp};
use serde::Deserialize;

use crate::platform;

/// The API server hears of a role that is given back no later.
const HEARD: Duration = Duration::from_secs(5);
/// In this time an API server that has started has read all roles, and whoever it refused has asked again.
const READ: Duration = Duration::from_secs(60);

/// A right: API group, resource with its subresource, and verb.
pub type Right = (String, String, String);

/// One request.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    user: User,
    verb: String,
    object_ref: Option<Object>,
    #[serde(default)]
    annotations: Annotations,
    request_received_timestamp: MicroTime,
    stage_timestamp: MicroTime,
    response_status: Option<Status>,
}

#[derive(Clone, Debug, Deserialize)]
struct User {
    username: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Object {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Annotations {
    #[serde(default, rename = "authorization.k8s.io/decision")]
    decision: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Status {
    code: u16,
}

impl Call {
    /// When it came in.
    pub fn received(&self) -> Timestamp {
        self.request_received_timestamp.0
    }

    /// When its answer was there.
    pub fn answered(&self) -> Timestamp {
        self.stage_timestamp.0
    }

    /// `operator` or `activator`, if one of them made it.
    pub fn component(&self) -> Option<&str> {
        let account = format!("system:serviceaccount:{}:thaw-", platform::NAMESPACE);
        self.user.username.strip_prefix(&account)
    }

    /// What was asked for; discovery and the like ask for no object.
    pub fn right(&self) -> Option<Right> {
        let object = self.object_ref.as_ref()?;
        let resource = match object.subresource.as_str() {
            "" => object.resource.clone(),
            subresource => format!("{}/{subresource}", object.resource),
        };
        Some((object.api_group.clone(), resource, self.verb.clone()))
    }

    /// Whether it is of this namespace, resource and verb.
    pub fn is(&self, namespace: &str, resource: &str, verb: &str) -> bool {
        let object = self.object_ref.as_ref();
        self.verb == verb
            && object.is_some_and(|object| {
                object.namespace == namespace
                    && object.resource == resource
                    && object.subresource.is_empty()
            })
    }

    /// Namespace of the object.
    pub fn namespace(&self) -> &str {
        self.object_ref.as_ref().map_or("", |o| &o.namespace)
    }

    /// Whether its sender had no right to it.
    pub fn is_forbidden(&self) -> bool {
        self.annotations.decision == "forbid"
    }

    /// Whether it did what it asked for.
    pub fn has_succeeded(&self) -> bool {
        let status = self.response_status.as_ref();
        status.is_some_and(|status| (200..300).contains(&status.code))
    }

    /// Whether it made or deleted a role or binding that Thaw has by default.
    fn touches_rights(&self) -> bool {
        let object = self.object_ref.as_ref();
        let is_rights = object.is_some_and(|object| {
            object.api_group == "rbac.authorization.k8s.io"
                && ["thaw-operator", "thaw-activator"].contains(&object.name.as_str())
        });
        is_rights && (self.verb == "delete" || self.has_created())
    }

    /// Helm creates by a patch.
    fn has_created(&self) -> bool {
        let status = self.response_status.as_ref();
        status.is_some_and(|status| status.code == 201)
    }
}

/// From when to when somebody had taken rights of Thaw away; an end that is not there is still to come.
pub fn without_rights(calls: &[Call]) -> Vec<(Timestamp, Option<Timestamp>)> {
    let mut times: Vec<(Timestamp, Option<Timestamp>)> = Vec::new();
    for call in calls.iter().filter(|call| call.touches_rights()) {
        match (call.verb.as_str(), times.last_mut()) {
            ("delete", Some((_, None))) => {}
            ("delete", _) => times.push((call.received(), None)),
            // The last of several roles and bindings ends it.
            (_, Some((_, end))) => *end = Some(call.answered() + HEARD),
            (_, None) => {}
        }
    }
    times
}

/// Whether the same was granted soon after: an API server that has just started refuses what it has not read the roles for.
pub fn is_granted_later(refused: &Call, calls: &[Call]) -> bool {
    let asked = |call: &Call| {
        let component = call.component().map(str::to_owned);
        (component, call.right(), call.namespace().to_owned())
    };
    let at = refused.received();
    let mut later = calls
        .iter()
        .filter(|call| at <= call.received() && call.received() <= at + READ);
    later.any(|call| call.has_succeeded() && asked(call) == asked(refused))
}

/// Every request of Thaw's components, and of those who changed their rights, since this run of the stories began.
///
/// # Errors
/// When the log cannot be read.
pub async fn calls() -> Result<Vec<Call>> {
    let data = env::var("KB_DATA").unwrap_or_else(|_| "/var/lib/kubebox".to_owned());
    let log = PathBuf::from(data).join("log/audit.log");
    let text = tokio::fs::read_to_string(&log)
        .await
        .with_context(|| format!("read {}", log.display()))?;
    let begun: Option<Timestamp> = match env::var("THAW_E2E_BEGUN") {
        Ok(begun) => Some(begun.parse().context("THAW_E2E_BEGUN")?),
        Err(_) => None,
    };
    // The last line may be in the middle of being written.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let calls = whole.lines().map(serde_json::from_str::<Call>);
    let calls: Vec<_> = calls.collect::<Result<_, _>>().context("the audit log")?;
    let is_of_this_run = |call: &Call| begun.is_none_or(|begun| call.received() >= begun);
    Ok(calls.into_iter().filter(is_of_this_run).collect())
}

/// The rights that a component used in a namespace, or in all.
pub fn used(calls: &[Call], component: &str, namespace: Option<&str>) -> BTreeSet<Right> {
    calls
        .iter()
        .filter(|call| call.component() == Some(component) && !call.is_forbidden())
        .filter(|call| namespace.is_none_or(|namespace| call.namespace() == namespace))
        .filter_map(Call::right)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(user: &str, verb: &str, resource: &str, second: u32) -> Call {
        let (group, name) = match resource {
            "clusterroles" => ("rbac.authorization.k8s.io", "thaw-operator"),
            _ => ("apps", ""),
        };
        serde_json::from_value(json!({
            "user": {"username": user},
            "verb": verb,
            "objectRef": {"apiGroup": group, "resource": resource, "subresource": "scale", "namespace": "a", "name": name},
            "annotations": {"authorization.k8s.io/decision": "allow", "other": "x"},
            "requestReceivedTimestamp": format!("2030-01-01T00:00:{second:02}.000000Z"),
            "stageTimestamp": format!("2030-01-01T00:00:{second:02}.500000Z"),
            "responseStatus": {"metadata": {}, "code": if verb == "create" { 201 } else { 200 }},
        }))
        .unwrap()
    }

    #[test]
    fn a_call_tells_who_used_which_right_where() {
        let own = call(
            "system:serviceaccount:thaw-system:thaw-activator",
            "patch",
            "deployments",
            1,
        );
        let calls = [own, call("system:admin", "get", "deployments", 2)];
        let right = ("apps".into(), "deployments/scale".into(), "patch".into());
        assert_eq!(used(&calls, "activator", None), BTreeSet::from([right]));
        assert!(used(&calls, "activator", Some("b")).is_empty());
        assert!(used(&calls, "operator", None).is_empty());
    }

    #[test]
    fn rights_are_away_from_the_first_deletion_to_the_last_creation() {
        let verbs = [
            "create", "delete", "delete", "create", "create", "patch", "delete",
        ];
        let calls: Vec<_> = (1..)
            .zip(verbs)
            .map(|(second, verb)| call("a", verb, "clusterroles", second))
            .collect();
        let away = without_rights(&calls);
        assert_eq!(away.len(), 2);
        let begun: Timestamp = "2030-01-01T00:00:02Z".parse().unwrap();
        let heard = begun + Duration::from_millis(3500) + HEARD;
        assert_eq!(away[0], (begun, Some(heard)));
        assert_eq!(away[1].1, None);
    }

    #[test]
    fn a_refusal_is_none_if_the_same_is_granted_soon_after() {
        let who = "system:serviceaccount:thaw-system:thaw-activator";
        let [refused, granted] = [1, 3].map(|second| call(who, "patch", "deployments", second));
        let others = [
            call(who, "get", "deployments", 3),
            call("system:admin", "patch", "deployments", 3),
            call(who, "patch", "deployments", 0),
        ];
        assert!(!is_granted_later(&refused, &others));
        assert!(is_granted_later(&refused, &[granted]));
    }
}
