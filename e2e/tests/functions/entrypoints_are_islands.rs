//! Changing one entrypoint rolls that one; changing what is not part of a pod rolls none.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use e2e::{Namespace, ingress::Call, load::Load, namespace::SOON, story, until};
use kube::ResourceExt;

const THREE: &str = "
apiVersion: thaw.dev/v1alpha1
kind: Function
metadata: {name: f}
spec:
  image: dev.local/thaw-fixture:dev
  revisionHistoryLimit: 0
  defaults:
    resources: {requests: {cpu: 5m, memory: 8Mi}}
    scale: {idleAfter: 10m}
  entrypoints:
  - {name: one, path: /one}
  - {name: two, path: /two}
  - {name: three, path: /three}
";

/// What identifies an entrypoint's Deployments and pods, and every change that the API server counted.
async fn island(namespace: &Namespace, entrypoint: &str) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for deployment in namespace.deployments(entrypoint).await? {
        let generation = deployment.metadata.generation;
        found.insert(
            deployment.name_any(),
            format!("{:?} {generation:?}", deployment.uid()),
        );
    }
    for pod in namespace.pods().await? {
        if pod
            .labels()
            .get(crds::names::ENTRYPOINT)
            .is_some_and(|of| of == entrypoint)
        {
            found.insert(pod.name_any(), format!("{:?}", pod.uid()));
        }
    }
    Ok(found)
}

async fn islands(
    namespace: &Namespace,
    entrypoints: &[&str],
) -> Result<Vec<BTreeMap<String, String>>> {
    futures::future::try_join_all(entrypoints.iter().map(|each| island(namespace, each))).await
}

#[tokio::test]
async fn changing_one_entrypoints_command_rolls_that_one_only_and_no_request_notices() -> Result<()>
{
    story("islands", async |namespace| {
        namespace.apply_ready("f", THREE).await?;
        for path in ["/one", "/two", "/three"] {
            namespace.get("f", path).await?.ok()?;
        }
        let before = islands(namespace, &["one", "two"]).await?;
        ensure!(before.iter().all(|island| island.len() == 2), "{before:?}");
        let old = namespace.entrypoint("f", "three").await?.ready_revision;
        ensure!(old.is_some(), "no revision takes traffic");

        let load = Load::begin(1, &Call::get(&namespace.host("f"), "/three?sleep=10ms"));
        let changed = "{name: three, path: /three, command: [/fixture]}";
        let changed = THREE.replace("{name: three, path: /three}", changed);
        namespace.apply_ready("f", &changed).await?;
        until(
            "the new revision has the traffic and the old one is gone",
            SOON,
            async || {
                let three = namespace.entrypoint("f", "three").await?;
                ensure!(
                    three.ready_revision != old && three.ready_revision == three.revision,
                    "{three:?}"
                );
                let names: Vec<_> = namespace
                    .deployments("three")
                    .await?
                    .iter()
                    .map(|each| each.name_any())
                    .collect();
                let new = three.revision.context("it was compared above")?;
                ensure!(
                    names == [crds::names::deployment("f", "three", &new)],
                    "{names:?}"
                );
                let pods = island(namespace, "three").await?;
                ensure!(pods.len() == 2, "{pods:?}");
                Ok(())
            },
        )
        .await?;
        load.goes_on().await?;
        let outcomes = load.end().await;
        eprintln!("{} requests while it rolled", outcomes.count());
        outcomes.all_served()?;

        let after = islands(namespace, &["one", "two"]).await?;
        ensure!(before == after, "{before:?} became {after:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn changing_scale_timeouts_limits_or_a_path_rolls_nothing() -> Result<()> {
    story("rolls-nothing", async |namespace| {
        namespace.apply_ready("f", THREE).await?;
        for path in ["/one", "/two", "/three"] {
            namespace.get("f", path).await?.ok()?;
        }
        let all = ["one", "two", "three"];
        let before = islands(namespace, &all).await?;
        ensure!(before.iter().all(|island| island.len() == 2), "{before:?}");

        let others = "scale: {idleAfter: 20m, max: 7}\n    timeouts: {boot: 50s, duration: 200s}\n    limits: {queue: 5}";
        let changed = THREE
            .replace("scale: {idleAfter: 10m}", others)
            .replace("path: /three", "path: /drei");
        namespace.apply_ready("f", &changed).await?;
        // The new path answers from the old instance, so the change has arrived everywhere.
        until("the new path is routed", SOON, async || {
            let answer = namespace.get("f", "/drei").await?;
            ensure!(answer.header("thaw-boot") == "hot", "{} {}", answer.status, answer.text());
            ensure!(answer.fixture()?.invocation >= 2, "another instance answered");
            Ok(())
        })
        .await?;
        let after = islands(namespace, &all).await?;
        ensure!(before == after, "{before:?} became {after:?}");
        Ok(())
    })
    .await
}
