//! What Thaw's components may do: everything they did was allowed, everything allowed was done, and the rest is denied. The last of the
//! stories, since it judges what all of them led to.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use e2e::{
    audit::{self, Right},
    namespace::SOON,
    platform::{self, NAMESPACE},
    story, until,
};
use k8s_openapi::api::{
    authorization::v1::SubjectAccessReview,
    coordination::v1::Lease,
    rbac::v1::{ClusterRole, PolicyRule, Role},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

const COMPONENTS: [&str; 2] = ["operator", "activator"];

/// Rights that no run of the stories can show in use, and why Thaw has them.
const UNUSED: [(&str, [&str; 3], &str); 1] = [(
    "operator",
    ["thaw.dev", "functions", "get"],
    "reads the status of a Function that has lost the shape of one, which the schema of this CRD lets nobody write",
)];

/// What neither may do anywhere: verb, API group, resource, namespace.
const DENIED: [[&str; 4]; 31] = [
    ["create", "", "configmaps", "default"],
    ["create", "", "pods", "default"],
    ["delete", "", "pods", "default"],
    ["create", "", "pods/exec", "default"],
    ["create", "", "pods/attach", "default"],
    ["create", "", "pods/portforward", "default"],
    ["create", "", "pods/ephemeralcontainers", "default"],
    ["patch", "", "pods/ephemeralcontainers", "default"],
    ["create", "", "pods/eviction", "default"],
    ["get", "", "pods/log", "default"],
    ["watch", "", "nodes", ""],
    ["delete", "", "nodes", ""],
    ["patch", "", "nodes", ""],
    ["create", "", "nodes/proxy", ""],
    ["create", "", "namespaces", ""],
    ["delete", "", "namespaces", ""],
    ["create", "", "serviceaccounts/token", NAMESPACE],
    ["impersonate", "", "users", ""],
    ["impersonate", "", "serviceaccounts", "kube-system"],
    ["create", "apps", "daemonsets", "default"],
    ["create", "apps", "statefulsets", "default"],
    ["delete", "apps", "replicasets", "default"],
    ["deletecollection", "apps", "deployments", "default"],
    ["create", "thaw.dev", "functions", "default"],
    ["update", "thaw.dev", "functions", "default"],
    ["patch", "thaw.dev", "functions", "default"],
    ["delete", "thaw.dev", "functions", "default"],
    ["update", "coordination.k8s.io", "leases", "kube-system"],
    [
        "create",
        "rbac.authorization.k8s.io",
        "clusterrolebindings",
        "",
    ],
    [
        "create",
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
        "",
    ],
    [
        "patch",
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        "",
    ],
];

/// What only switches of the chart give, which the stories have on: `imageSize` and `configRolls`.
const SWITCHED: [[&str; 4]; 6] = [
    ["get", "", "secrets", NAMESPACE],
    ["get", "", "secrets", "default"],
    ["list", "", "secrets", ""],
    ["watch", "", "secrets", ""],
    ["get", "", "configmaps", "kube-system"],
    ["list", "", "nodes", ""],
];

/// What one of them may do and the other may not.
const DENIED_TO: [(&str, [&str; 4]); 12] = [
    (
        "operator",
        ["patch", "apps", "deployments/scale", "default"],
    ),
    ("operator", ["list", "", "pods", "default"]),
    ("operator", ["patch", "", "pods", "default"]),
    ("operator", ["update", "apps", "deployments", "default"]),
    ("operator", ["delete", "", "services", "default"]),
    (
        "operator",
        ["list", "networking.k8s.io", "ingresses", "default"],
    ),
    ("activator", ["list", "", "services", "default"]),
    ("activator", ["create", "apps", "deployments", "default"]),
    ("activator", ["patch", "apps", "deployments", "default"]),
    ("activator", ["delete", "apps", "deployments", "default"]),
    (
        "activator",
        ["list", "networking.k8s.io", "networkpolicies", "default"],
    ),
    ("activator", ["get", "thaw.dev", "functions", "default"]),
];

/// Every single right that rules give.
fn rights(rules: Option<Vec<PolicyRule>>) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for rule in rules.unwrap_or_default() {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    rights.insert((group.clone(), resource.clone(), verb.clone()));
                }
            }
        }
    }
    rights
}

/// Deletes the Leases, as no other story does; both make them anew.
async fn leases_are_made_anew(client: &Client) -> Result<()> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
    for component in COMPONENTS {
        let name = format!("thaw-{component}");
        let old = leases.get(&name).await?.uid();
        leases.delete(&name, &DeleteParams::default()).await?;
        until(&format!("Lease {name} is there again"), SOON, async || {
            let found = leases.get(&name).await?;
            let holder = found.spec.as_ref().and_then(|s| s.holder_identity.as_ref());
            ensure!(found.uid() != old && holder.is_some(), "held by {holder:?}");
            Ok(())
        })
        .await?;
    }
    platform::serving().await
}

#[tokio::test]
async fn every_call_was_allowed_and_every_right_was_used() -> Result<()> {
    if platform::is_external() {
        eprintln!("NOT TOLD: the audit log of somebody else's cluster is theirs");
        return Ok(());
    }
    story("used-rights", async |namespace| {
        let client = &namespace.client;
        leases_are_made_anew(client).await?;
        let calls = audit::calls().await?;
        let away = audit::without_rights(&calls);
        let forbidden = calls
            .iter()
            .filter(|call| call.component().is_some() && call.is_forbidden());
        let forbidden = forbidden.filter(|call| {
            let at = call.received();
            !away
                .iter()
                .any(|(from, to)| *from <= at && to.is_none_or(|to| at <= to))
        });
        let forbidden = forbidden.filter(|call| !audit::is_granted_later(call, &calls));
        let forbidden: Vec<_> = forbidden.collect();
        ensure!(
            forbidden.is_empty(),
            "{} were forbidden: {forbidden:#?}",
            forbidden.len()
        );

        let mut unused = Vec::new();
        for component in COMPONENTS {
            let name = format!("thaw-{component}");
            let everywhere: ClusterRole = Api::all(client.clone()).get(&name).await?;
            let own: Role = Api::namespaced(client.clone(), NAMESPACE)
                .get(&name)
                .await?;
            for (rules, namespace) in [(everywhere.rules, None), (own.rules, Some(NAMESPACE))] {
                let used = audit::used(&calls, component, namespace);
                let rights = rights(rules);
                ensure!(!rights.is_empty(), "{component} has no rights");
                unused.extend(
                    rights
                        .difference(&used)
                        .map(|right| (component, right.clone())),
                );
            }
        }
        let of_components = calls
            .iter()
            .filter(|call| call.component().is_some())
            .count();
        eprintln!("{of_components} calls, none forbidden; rights not used: {unused:?}");
        unused.retain(|(component, (group, resource, verb))| {
            !UNUSED
                .iter()
                .any(|(of, right, _)| of == component && [group.as_str(), resource, verb] == *right)
        });
        ensure!(unused.is_empty(), "nothing used {unused:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_they_have_no_business_with_is_denied() -> Result<()> {
    story("denied", async |namespace| {
        let client = &namespace.client;
        let mut asked = are_denied(client, "operator", &DENIED).await?;
        asked += are_denied(client, "activator", &DENIED).await?;
        asked += are_denied(client, "activator", &SWITCHED).await?;
        for (component, right) in DENIED_TO {
            asked += are_denied(client, component, &[right]).await?;
        }
        let off = r#"{"imageSize": null, "configRolls": false}"#;
        asked += platform::with(off, async || {
            are_denied(client, "operator", &SWITCHED).await
        })
        .await?;
        eprintln!("{asked} rights are denied");
        Ok(())
    })
    .await
}

/// Asks for each right, and says for how many.
async fn are_denied(client: &Client, component: &str, rights: &[[&str; 4]]) -> Result<usize> {
    let works = ["watch", "thaw.dev", "functions", "default"];
    ensure!(
        may(client, component, works).await?,
        "the question is asked wrongly"
    );
    for right in rights {
        ensure!(
            !may(client, component, *right).await?,
            "{component} may {right:?}"
        );
    }
    Ok(rights.len())
}

/// Whether the API server would let a component do this.
async fn may(
    client: &Client,
    component: &str,
    [verb, group, resource, namespace]: [&str; 4],
) -> Result<bool> {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let review: SubjectAccessReview = serde_json::from_value(json!({
        "spec": {
            "user": format!("system:serviceaccount:{NAMESPACE}:thaw-{component}"),
            "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{NAMESPACE}"), "system:authenticated"],
            "resourceAttributes": {
                "verb": verb, "group": group, "resource": resource, "subresource": subresource, "namespace": namespace,
            },
        },
    }))?;
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let review = reviews.create(&PostParams::default(), &review).await?;
    Ok(review.status.context("an answer")?.allowed)
}
