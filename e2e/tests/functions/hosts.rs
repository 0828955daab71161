//! Hosts: each leads to one Function, whoever else asks for it, through the ingress controller and inside the cluster.

use anyhow::{Context, Result, ensure};
use crds::names;
use e2e::{
    Namespace,
    ingress::{Answer, Call},
    namespace::{SOON, condition},
    platform, story, until,
};
use k8s_openapi::api::{core::v1::Service, networking::v1::Ingress};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::json;

/// The Function `shop`, whose one entrypoint, at `/`, has the name of whoever asks.
fn shop(entrypoint: &str, host: &str, more: &str) -> String {
    format!(
        "
apiVersion: thaw.dev/v1alpha1
kind: Function
metadata: {{name: shop}}
spec:
  image: dev.local/thaw-fixture:dev
  hosts: ['{host}']
  defaults: {{resources: {{requests: {{cpu: 5m, memory: 8Mi}}}}}}
  entrypoints: [{{name: {entrypoint}, path: /, scale: {{idleAfter: 10m}}}}]
  {more}
"
    )
}

/// Waits until `GET /` of a host is answered by this entrypoint.
async fn answered_by(entrypoint: &str, host: &str) -> Result<()> {
    until(&format!("{entrypoint} answers {host}"), SOON, async || {
        let answered = Call::get(host, "/").send().await?.fixture()?.entrypoint;
        ensure!(answered == entrypoint, "{answered} answers");
        Ok(())
    })
    .await
}

/// Waits until every host and name of `shop` leads to it.
async fn routed(namespace: &Namespace) -> Result<()> {
    let told = namespace.becomes("shop", "RoutesReady", "True", SOON);
    told.await.map(drop)
}

/// Waits until one of them does not for this reason, and gives it with its message.
async fn unrouted(namespace: &Namespace, reason: &str) -> Result<String> {
    until(&format!("{reason} is told"), SOON, async || {
        let (status, told) = condition(&namespace.functions().get("shop").await?, "RoutesReady");
        let is_so = status == "False" && told.starts_with(&format!("{reason}: "));
        ensure!(is_so, "RoutesReady is {status}: {told}");
        Ok(told)
    })
    .await
}

/// Deletes the Function and waits until its Ingress is gone too.
async fn delete(namespace: &Namespace) -> Result<()> {
    let functions = namespace.functions();
    functions.delete("shop", &DeleteParams::default()).await?;
    until("the Function is gone", SOON, async || {
        let there = functions.get_opt("shop").await?;
        ensure!(there.is_none(), "it is there");
        Ok(())
    })
    .await?;
    ingresses_become(namespace, 0).await
}

/// Makes the Function of `young` in a later second than that of `old` was made, which is as fine as the API server tells ages.
async fn apply_younger(young: &Namespace, manifest: &str, old: &Namespace) -> Result<()> {
    let created = async |namespace: &Namespace| -> Result<_> {
        let shop = namespace.functions().get("shop").await?;
        shop.metadata.creation_timestamp.context("no age")
    };
    until("one is younger than the other", SOON, async || {
        young.apply(manifest).await?;
        if created(young).await? > created(old).await? {
            return Ok(());
        }
        delete(young).await?;
        anyhow::bail!("they are of the same second")
    })
    .await
}

/// Names of the Ingresses that Thaw wrote for a namespace.
async fn ingresses(namespace: &Namespace) -> Result<Vec<String>> {
    let all = Api::<Ingress>::namespaced(namespace.client.clone(), platform::NAMESPACE);
    let labels = format!("{}={}", names::NAMESPACE, namespace.name);
    let found = all.list(&ListParams::default().labels(&labels)).await?;
    Ok(found.iter().map(ResourceExt::name_any).collect())
}

async fn ingresses_become(namespace: &Namespace, count: usize) -> Result<()> {
    until(&format!("there are {count} Ingresses"), SOON, async || {
        let found = ingresses(namespace).await?;
        ensure!(found.len() == count, "{found:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn two_namespaces_want_one_host_and_it_never_crosses() -> Result<()> {
    story("hosts-a", async |a| {
        story("hosts-b", async |b| {
            let host = format!("{}.example.test", a.name);
            a.apply_ready("shop", &shop("one", &host, "")).await?;
            routed(a).await?;
            let spelled = format!("{}.", host.to_uppercase());
            let wanted = shop("two", &spelled, "");
            apply_younger(b, &wanted, a).await?;
            b.ready("shop").await?;

            let told = unrouted(b, "HostConflict").await?;
            ensure!(told.contains(&host), "{told}");
            let without_host = told.replace(&host, "");
            ensure!(
                !without_host.contains(&a.name),
                "it names a stranger: {told}"
            );
            answered_by("one", &host).await?;
            answered_by("one", &host.to_uppercase()).await?;
            answered_by("two", &b.host("shop")).await?;
            answered_by("one", &a.host("shop")).await?;
            ingresses_become(a, 1).await?;
            ingresses_become(b, 0).await?;

            // The older one goes: its host is the other's. It comes back: now it is the younger one.
            delete(a).await?;
            answered_by("two", &host).await?;
            routed(b).await?;
            ingresses_become(b, 1).await?;
            apply_younger(a, &shop("one", &host, ""), b).await?;
            unrouted(a, "HostConflict").await?;
            answered_by("two", &host).await?;

            // The one that has it gives it up.
            b.apply(&shop("two", "b.example.test", "")).await?;
            answered_by("one", &host).await?;
            routed(a).await?;
            delete(a).await?;
            delete(b).await
        })
        .await
    })
    .await
}

/// The Function `caller`, whose fixture calls others.
const CALLER: &str = "
apiVersion: thaw.dev/v1alpha1
kind: Function
metadata: {name: caller}
spec:
  image: dev.local/thaw-fixture:dev
  defaults: {resources: {requests: {cpu: 5m, memory: 8Mi}}}
  entrypoints: [{name: caller, path: /, scale: {idleAfter: 10m}}]
";

async fn called(namespace: &Namespace, url: &str) -> Result<Answer> {
    namespace.get("caller", &format!("/?get={url}")).await
}

#[tokio::test]
async fn a_function_is_reached_inside_the_cluster_and_one_for_it_alone_from_nowhere_else()
-> Result<()> {
    story("hosts-inside", async |namespace| {
        let host = format!("{}.example.test", namespace.name);
        namespace.apply_ready("caller", CALLER).await?;
        namespace
            .apply_ready("shop", &shop("web", &host, ""))
            .await?;
        routed(namespace).await?;
        let short = format!("shop.{}", namespace.name);
        for name in [
            short.clone(),
            format!("{short}.svc"),
            format!("{short}.svc.cluster.local"),
        ] {
            until(&format!("{name} answers inside"), SOON, async || {
                let answer = called(namespace, &format!("{name}/")).await?;
                let answered = answer.fixture()?.entrypoint;
                ensure!(answered == "web", "{answered} answers");
                Ok(())
            })
            .await?;
        }
        let outside = Call::get(&short, "/").send().await?;
        ensure!(outside.status == 404, "{}", outside.text());
        answered_by("web", &host).await?;

        let inside_only = shop("web", &host, "visibility: Cluster");
        namespace.apply_ready("shop", &inside_only).await?;
        ingresses_become(namespace, 0).await?;
        for name in [&host, &namespace.host("shop"), &short] {
            until(&format!("{name} leads nowhere"), SOON, async || {
                let outside = Call::get(name, "/").send().await?;
                ensure!(outside.status == 404, "{}", outside.text());
                Ok(())
            })
            .await?;
        }
        let answer = called(namespace, &format!("{short}/")).await?;
        ensure!(answer.fixture()?.entrypoint == "web");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn objects_of_somebody_else_are_left_alone_and_the_function_is_ready() -> Result<()> {
    story("hosts-service", async |namespace| {
        let services = namespace.api::<Service>();
        let theirs = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "shop"},
            "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 8080}]},
        });
        let apply = PatchParams::apply("thaw-story");
        services
            .patch("shop", &apply, &Patch::Apply(&theirs))
            .await?;
        let host = format!("{}.example.test", namespace.name);
        namespace
            .apply_ready("shop", &shop("web", &host, ""))
            .await?;
        unrouted(namespace, "NameConflict").await?;
        answered_by("web", &host).await?;
        let service = services.get("shop").await?;
        let spec = service.spec.context("a spec")?;
        ensure!(
            spec.external_name.is_none() && spec.selector.is_some(),
            "{spec:?}"
        );

        services.delete("shop", &DeleteParams::default()).await?;
        routed(namespace).await?;
        delete(namespace).await?;

        // The same beside the activator.
        let name = names::route("shop", &namespace.name);
        let ingresses = Api::<Ingress>::namespaced(namespace.client.clone(), platform::NAMESPACE);
        let theirs = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": name},
            "spec": {"defaultBackend": {"service": {"name": "theirs", "port": {"number": 80}}}},
        });
        ingresses
            .patch(&name, &apply, &Patch::Apply(&theirs))
            .await?;
        namespace
            .apply_ready("shop", &shop("web", &host, ""))
            .await?;
        let told = unrouted(namespace, "NameConflict").await;
        let found = ingresses.get(&name).await?;
        ingresses.delete(&name, &DeleteParams::default()).await?;
        told?;
        let spec = found.spec.context("a spec")?;
        ensure!(
            spec.default_backend.is_some() && spec.rules.is_none(),
            "{spec:?}"
        );
        routed(namespace).await?;
        answered_by("web", &host).await?;
        delete(namespace).await
    })
    .await
}
