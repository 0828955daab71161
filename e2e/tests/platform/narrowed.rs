//! Switches of the chart that give Thaw less to do: no NetworkPolicies, only some namespaces.

use anyhow::{Result, ensure};
use crds::names;
use e2e::{
    Namespace,
    namespace::SOON,
    platform::{self, NAMESPACE},
    program::attempt,
    story, until,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;

const FUNCTION: &str = "
apiVersion: thaw.dev/v1alpha1
kind: Function
metadata: {name: f}
spec:
  image: dev.local/thaw-fixture:dev
  defaults: {resources: {requests: {cpu: 5m, memory: 8Mi}}}
  entrypoints:
  - {name: e, path: /}
";

#[tokio::test]
async fn network_policies_go_with_their_switch_and_come_back_with_it() -> Result<()> {
    story("no-policies", async |namespace| {
        namespace.apply_ready("f", FUNCTION).await?;
        let policies = namespace.api::<NetworkPolicy>();
        let name = names::network_policy("f");
        let is_there = async |wanted: bool| {
            until(
                "the NetworkPolicy is as the switch says",
                SOON,
                async || {
                    let found = policies.get_opt(&name).await?.is_some();
                    ensure!(found == wanted, "there is one: {found}");
                    Ok(())
                },
            )
            .await
        };
        is_there(true).await?;
        platform::with(r#"{"networkPolicy": null}"#, async || {
            is_there(false).await?;
            namespace.get("f", "/").await?.ok()
        })
        .await?;
        is_there(true).await
    })
    .await
}

#[tokio::test]
async fn with_some_namespaces_thaw_serves_these_and_has_no_rights_in_others() -> Result<()> {
    story("watched", async |watched| {
        story("unwatched", async |other| {
            other.apply_ready("f", FUNCTION).await?;
            let only = format!(r#"{{"watchNamespaces": ["{}"]}}"#, watched.name);
            platform::with(&only, async || only_one_is_served(watched, other).await).await?;
            other.apply_ready("f", &changed()).await?;
            // The activator that knows of one namespace alone leaves a few seconds after its successor has come.
            until("it is served again", SOON, async || {
                other.get("f", "/changed").await?.ok().map(drop)
            })
            .await
        })
        .await
    })
    .await
}

fn changed() -> String {
    FUNCTION.replace("path: /", "path: /changed")
}

async fn only_one_is_served(watched: &Namespace, other: &Namespace) -> Result<()> {
    watched.apply_ready("f", FUNCTION).await?;
    watched.get("f", "/").await?.ok()?;
    for component in ["operator", "activator"] {
        let account = format!("system:serviceaccount:{NAMESPACE}:thaw-{component}");
        for (namespace, may) in [
            (&*watched.name, "yes"),
            (&*other.name, "no"),
            ("kube-system", "no"),
        ] {
            let can = [
                "auth",
                "can-i",
                "list",
                "deployments.apps",
                "--as",
                &account,
                "-n",
                namespace,
            ];
            let said = attempt("kubectl", &can, "").await?;
            ensure!(
                said.out.trim() == may,
                "{component} in {namespace}: {}{}",
                said.out,
                said.err
            );
        }
    }
    // The operator took this change after the other one came: it would have seen it.
    other.apply(&changed()).await?;
    watched.apply_ready("f", &changed()).await?;
    watched.get("f", "/changed").await?.ok()?;
    let answer = other.get("f", "/").await?;
    ensure!(
        answer.header("thaw-error") == "NoRoute",
        "{} {}",
        answer.status,
        answer.text()
    );
    let left = other.functions().get("f").await?;
    let observed = left.status.and_then(|status| status.observed_generation);
    ensure!(observed < left.metadata.generation, "its change was taken");
    Ok(())
}
