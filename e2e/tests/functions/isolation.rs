//! Only the activator reaches instances, what Thaw made stays as Thaw made it, and what others made stays theirs.

use anyhow::{Context, Result, ensure};
use crds::names;
use e2e::{
    Namespace, audit,
    drift::is_put_back,
    namespace::{SOON, condition},
    platform, story, until,
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::Service,
        networking::v1::{Ingress, NetworkPolicy},
    },
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

const FUNCTION: &str = "
apiVersion: thaw.dev/v1alpha1
kind: Function
metadata: {name: f}
spec:
  image: dev.local/thaw-fixture:dev
  defaults: {resources: {requests: {cpu: 5m, memory: 8Mi}}}
  entrypoints:
  - {name: one, path: /one}
  - {name: two, path: /two, protocol: H2C}
";

#[tokio::test]
async fn what_somebody_changes_or_deletes_is_put_back_at_once() -> Result<()> {
    story("drift", async |namespace| {
        let hosts = format!("  hosts: [{}.example.test]\n  image:", namespace.name);
        let function = FUNCTION.replacen("  image:", &hosts, 1);
        namespace.apply_ready("f", &function).await?;
        let routes = namespace.becomes("f", "RoutesReady", "True", SOON);
        routes.await?;
        let policies = namespace.api::<NetworkPolicy>();
        let policy = names::network_policy("f");
        let opened = json!({"spec": {"ingress": [{}], "policyTypes": ["Ingress"]}});
        is_put_back(&policies, &policy, opened).await?;
        let unlabelled =
            json!({"metadata": {"labels": {names::MANAGED_BY: null}}, "spec": {"egress": []}});
        is_put_back(&policies, &policy, unlabelled).await?;
        let one = namespace.deployments("one").await?;
        let one = one.first().context("it has a Deployment")?.name_any();
        let changed =
            json!({"spec": {"template": {"spec": {"automountServiceAccountToken": true}}}});
        is_put_back(&namespace.api::<Deployment>(), &one, changed).await?;
        let elsewhere = json!({"spec": {"externalName": "elsewhere.example.test"}});
        is_put_back(&namespace.api::<Service>(), "f", elsewhere).await?;
        let beside = Api::<Ingress>::namespaced(namespace.client.clone(), platform::NAMESPACE);
        let route = names::route("f", &namespace.name);
        let taken = json!({"spec": {"rules": [{"host": "elsewhere.example.test"}]}});
        is_put_back(&beside, &route, taken).await?;
        namespace.ready("f").await?;
        namespace.get("f", "/one").await?.ok()?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_object_of_somebody_else_is_refused_by_kind_and_name_and_left_alone() -> Result<()> {
    story("foreign", async |namespace| {
        namespace.apply_ready("f", FUNCTION).await?;
        let one = namespace.deployments("one").await?;
        let one = one.first().context("it has a Deployment")?.name_any();
        remove(namespace).await?;
        let policy = json!({"metadata": {"name": names::network_policy("f")}, "spec": {"podSelector": {}}});
        is_refused::<NetworkPolicy>(namespace, policy, STALLED).await?;
        let service = json!({"metadata": {"name": "f"}, "spec": {"ports": [{"port": 80}]}});
        is_refused::<Service>(namespace, service, UNROUTED).await?;
        let labels = json!({"matchLabels": {"a": "b"}});
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
        let deployment = json!({"metadata": {"name": one}, "spec": {"replicas": 0, "selector": labels, "template": template}});
        is_refused::<Deployment>(namespace, deployment, STALLED).await
    })
    .await
}

/// The condition that tells of a foreign object, and its status.
type Told = (&'static str, &'static str);

const STALLED: Told = ("Stalled", "True");
/// The Function serves; one of its names does not lead to it.
const UNROUTED: Told = ("RoutesReady", "False");

/// Applies the Function beside a foreign object that has the name of one of its children, which ends with the foreign object alone.
async fn is_refused<K>(namespace: &Namespace, foreign: Value, told: Told) -> Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Serialize
        + std::fmt::Debug,
{
    let api = namespace.api::<K>();
    let foreign: K = serde_json::from_value(foreign)?;
    let (kind, name) = (K::kind(&()), foreign.name_any());
    api.create(&PostParams::default(), &foreign).await?;
    namespace.apply(FUNCTION).await?;
    until(&format!("the {kind} is in the way"), SOON, async || {
        let function = namespace.functions().get("f").await?;
        let (type_, wanted) = told;
        let (status, message) = condition(&function, type_);
        let object = format!("{kind} {name} exists");
        let is_said = message.contains("NameConflict") && message.contains(&object);
        ensure!(
            status == wanted && is_said,
            "{type_} is {status}: {message}"
        );
        Ok(())
    })
    .await?;
    let uid = api.get(&name).await?.uid();
    remove(namespace).await?;
    let left = api.get(&name).await?;
    ensure!(
        left.uid() == uid && left.owner_references().is_empty(),
        "{left:?}"
    );
    let managers = left.managed_fields().iter();
    let managers: Vec<_> = managers.filter_map(|m| m.manager.as_deref()).collect();
    ensure!(
        !managers.contains(&names::OPERATOR),
        "{managers:?} wrote it"
    );

    // Out of the way, it holds nothing up.
    namespace.apply(FUNCTION).await?;
    api.delete(&name, &DeleteParams::default()).await?;
    namespace.ready("f").await?;
    remove(namespace).await
}

/// Deletes the Function and waits until its children are gone.
async fn remove(namespace: &Namespace) -> Result<()> {
    let functions = namespace.functions();
    functions.delete("f", &DeleteParams::default()).await?;
    until("the Function and its children are gone", SOON, async || {
        let children = ListParams::default().labels(names::CHILDREN);
        let deployments = namespace.api::<Deployment>().list(&children).await?;
        let policies = namespace.api::<NetworkPolicy>().list(&children).await?;
        let function = functions.get_opt("f").await?;
        let services = namespace.api::<Service>().list(&children).await?;
        let left = deployments.items.len() + policies.items.len() + services.items.len();
        ensure!(function.is_none() && left == 0, "{left} children are left");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_network_policy_stands_before_there_is_anything_to_protect() -> Result<()> {
    story("policy-first", async |namespace| {
        namespace.apply_ready("f", FUNCTION).await?;
        let policy = namespace.api::<NetworkPolicy>();
        let policy = policy.get(&names::network_policy("f")).await?;
        let spec = serde_json::to_value(policy.spec)?;
        let from = &spec["ingress"][0]["from"];
        ensure!(
            spec["ingress"]
                .as_array()
                .is_some_and(|rules| rules.len() == 1),
            "{spec}"
        );
        ensure!(
            from.as_array().is_some_and(|peers| peers.len() == 1),
            "{spec}"
        );
        let labels = &from[0]["podSelector"]["matchLabels"];
        let activators = platform::pods(&namespace.client, "activator").await?;
        let activator = activators.first().context("there is no activator")?;
        for (key, value) in labels.as_object().context("no labels")? {
            ensure!(
                activator.labels().get(key).map(String::as_str) == value.as_str(),
                "{labels}"
            );
        }
        if platform::is_external() {
            eprintln!("NOT TOLD: in which order they were made, which only the audit log knows");
            return Ok(());
        }
        let calls = audit::calls().await?;
        let ours = |resource: &'static str, verb: &'static str| {
            let ours = calls.iter().filter(move |call| {
                call.component() == Some("operator")
                    && call.is(&namespace.name, resource, verb)
                    && call.has_succeeded()
            });
            ours.collect::<Vec<_>>()
        };
        let applied = ours("networkpolicies", "patch");
        let applied = applied.first().context("the policy was not applied")?;
        let created = ours("deployments", "create");
        ensure!(created.len() == 2, "{created:?}");
        for deployment in created {
            // Not when it was answered: that is written down a moment after the operator has read it and gone on.
            ensure!(
                applied.received() < deployment.received(),
                "{applied:?} does not come before {deployment:?}"
            );
        }
        Ok(())
    })
    .await
}
