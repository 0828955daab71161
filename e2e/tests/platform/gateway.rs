//! The Gateway API in place of Ingresses, from before it is installed.

use std::{env, path::PathBuf};

use anyhow::{Context, Result, ensure};
use crds::names;
use e2e::{
    Namespace,
    drift::is_put_back,
    ingress::Call,
    namespace::SOON,
    platform::{self, NAMESPACE},
    program::{attempt, run},
    story, until,
};
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams, ObjectList},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::json;

/// Between two looks of the operator for an API that was missing, with time to spare.
const LOOKED_AGAIN: std::time::Duration = std::time::Duration::from_secs(150);
const ADDON: &str = "e2e/cluster/conf/addons/gateway.yaml";

fn shop(host: &str) -> String {
    format!(
        "
apiVersion: thaw.dev/v1alpha1
kind: Function
metadata: {{name: shop}}
spec:
  image: dev.local/thaw-fixture:dev
  hosts: ['{host}']
  defaults: {{resources: {{requests: {{cpu: 5m, memory: 8Mi}}}}}}
  entrypoints: [{{name: web, path: /, scale: {{idleAfter: 10m}}}}]
"
    )
}

/// Where e2e/cluster/build.sh keeps the CustomResourceDefinitions.
fn definitions() -> Result<PathBuf> {
    let cache = env::var_os("KB_CACHE").map(PathBuf::from).or_else(|| {
        let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        base.or_else(home).map(|base| base.join("kubebox"))
    });
    Ok(cache.context("HOME is not set")?.join("gateway-api"))
}

/// Waits until the condition RoutesReady has this status, and gives its reason and message.
async fn routes(namespace: &Namespace, is: &str) -> Result<String> {
    let shop = namespace.becomes("shop", "RoutesReady", is, LOOKED_AGAIN);
    shop.await
}

#[tokio::test]
async fn routes_attach_to_a_gateway_as_soon_as_there_is_one() -> Result<()> {
    if platform::is_external() {
        eprintln!("NOT TOLD: somebody else's cluster may have Gateways, which would be deleted");
        return Ok(());
    }
    story("gateway", async |namespace| {
        let gateway =
            r#"{"gateway": {"name": "traefik", "namespace": "gateway", "sectionName": "web"}}"#;
        let told = platform::with(gateway, async || tell(namespace).await).await;
        let definitions = definitions()?.display().to_string();
        for file in [ADDON, &definitions] {
            let gone = ["delete", "--ignore-not-found", "--wait", "-f", file];
            attempt("kubectl", &gone, "").await?;
        }
        told
    })
    .await
}

async fn tell(namespace: &Namespace) -> Result<()> {
    let host = format!("{}.example.test", namespace.name);
    namespace.apply_ready("shop", &shop(&host)).await?;
    let missing = routes(namespace, "False").await?;
    ensure!(missing.starts_with("GatewayMissing: "), "{missing}");
    // An upgrade that changes Thaw's own CustomResourceDefinition makes the activator list anew.
    until("its default host answers", SOON, async || {
        namespace.get("shop", "/").await?.ok()
    })
    .await?;

    let definitions = definitions()?.display().to_string();
    run("kubectl", &["apply", "--server-side", "-f", &definitions]).await?;
    let established = ["wait", "--for=condition=Established", "-f", &definitions];
    run("kubectl", &established).await?;
    run("kubectl", &["apply", "-f", ADDON]).await?;
    let status = "-n gateway rollout status deployment/traefik --timeout=90s";
    run("kubectl", &status.split(' ').collect::<Vec<_>>()).await?;
    routes(namespace, "True").await?;
    let events = namespace.events("shop").await?;
    let said = events
        .iter()
        .filter(|event| event.starts_with("GatewayMissing"));
    ensure!(said.count() == 1, "{events:?}");
    attached(namespace).await?;

    // The wildcard of default hosts is the chart's, which has to be asked again.
    platform::upgrade(&["--reuse-values"]).await?;
    let services = Api::<Service>::namespaced(namespace.client.clone(), "gateway");
    let spec = services.get("traefik").await?.spec;
    let address = spec
        .and_then(|spec| spec.cluster_ip)
        .context("no address")?;
    for host in [&host, &namespace.host("shop")] {
        until(&format!("{host} answers"), SOON, async || {
            let answer = Call::get(host, "/")
                .send_to(&format!("{address}:80"))
                .await?;
            let answered = answer.fixture()?.entrypoint;
            ensure!(answered == "web", "{answered} answers");
            Ok(())
        })
        .await?;
    }
    let elsewhere = json!({"spec": {"hostnames": ["elsewhere.example.test"]}});
    let route = names::route("shop", &namespace.name);
    is_put_back(&http_routes(namespace), &route, elsewhere).await?;
    namespace
        .functions()
        .delete("shop", &Default::default())
        .await?;
    until("no HTTPRoute is left", SOON, async || {
        let left = written_for(namespace).await?;
        let left: Vec<_> = left.iter().map(ResourceExt::name_any).collect();
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .await
}

/// Waits until the Gateway has accepted the one HTTPRoute.
async fn attached(namespace: &Namespace) -> Result<()> {
    until("the HTTPRoute is accepted", SOON, async || {
        let routes = written_for(namespace).await?;
        let route = routes.items.first().context("there is none")?;
        let parents = route.data["status"]["parents"].as_array();
        let conditions = parents
            .into_iter()
            .flatten()
            .filter_map(|parent| parent["conditions"].as_array());
        let mut conditions = conditions.flatten();
        let is_accepted = conditions.any(|c| c["type"] == "Accepted" && c["status"] == "True");
        ensure!(is_accepted, "{}", route.data["status"]);
        Ok(())
    })
    .await
}

/// The HTTPRoutes in the activator's namespace.
fn http_routes(namespace: &Namespace) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute");
    let kind = ApiResource::from_gvk(&kind);
    Api::namespaced_with(namespace.client.clone(), NAMESPACE, &kind)
}

/// Those that Thaw wrote for this one.
async fn written_for(namespace: &Namespace) -> Result<ObjectList<DynamicObject>> {
    let labels = format!("{}={}", names::NAMESPACE, namespace.name);
    let params = ListParams::default().labels(&labels);
    Ok(http_routes(namespace).list(&params).await?)
}
