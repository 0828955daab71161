//! The operator, the activator or the API server is killed and comes back: everything converges, and warm traffic runs on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{
    Namespace,
    ingress::Call,
    load::Load,
    namespace::SOON,
    platform,
    program::{repository, run},
    story, until,
};
use kube::ResourceExt;
use tokio::time::{Instant, sleep};

/// How long the API server stays away: longer than the Leases that both components hold (12 and 15 s), so that neither may rely on renewing.
const AWAY: Duration = Duration::from_secs(20);

fn function(version: &str) -> String {
    let entrypoint = |n| format!("\n  - {{name: e{n}, path: /e{n}}}");
    let entrypoints: String = (0..8).map(entrypoint).collect();
    format!(
        "
apiVersion: thaw.dev/v1alpha1
kind: Function
metadata: {{name: f}}
spec:
  image: dev.local/thaw-fixture:dev
  revisionHistoryLimit: 0
  defaults:
    env: [{{name: VERSION, value: '{version}'}}]
    resources: {{requests: {{cpu: 5m, memory: 8Mi}}}}
    scale: {{idleAfter: 3s}}
    timeouts: {{duration: 10s}}
  entrypoints:{entrypoints}
"
    )
}

/// Every Deployment of the namespace, without what differs from one namespace or moment to the next.
async fn children(namespace: &Namespace) -> Result<Vec<String>> {
    let deployments = namespace.api::<k8s_openapi::api::apps::v1::Deployment>();
    let mut found = Vec::new();
    for child in deployments.list(&Default::default()).await? {
        let what = (child.name_any(), &child.metadata.labels, &child.spec);
        found.push(serde_json::to_string(&what)?.replace(&namespace.name, "NAMESPACE"));
    }
    found.sort();
    Ok(found)
}

#[tokio::test]
async fn operator_killed_in_the_middle_of_a_change_leaves_the_same_objects_as_no_kill() -> Result<()>
{
    story("undisturbed", async |other| {
        other.apply_ready("f", &function("new")).await?;
        let undisturbed = children(other).await?;
        ensure!(undisturbed.len() == 8, "{undisturbed:?}");
        story("killed", async |namespace| {
            namespace.apply_ready("f", &function("old")).await?;
            namespace.apply(&function("new")).await?;
            platform::kill(&namespace.client, "operator").await?;
            namespace.ready("f").await?;
            until(
                "its objects are those of the undisturbed one",
                SOON,
                async || {
                    let disturbed = children(namespace).await?;
                    ensure!(
                        disturbed == undisturbed,
                        "{disturbed:#?} instead of {undisturbed:#?}"
                    );
                    Ok(())
                },
            )
            .await
        })
        .await
    })
    .await
}

#[tokio::test]
async fn activator_killed_while_instances_run_serves_again_and_lets_them_go() -> Result<()> {
    story("activator-killed", async |namespace| {
        namespace.apply_ready("f", &function("1")).await?;
        namespace.get_at_once(3, "f", "/e0?sleep=500ms").await?;
        let before = children(namespace).await?;
        platform::kill(&namespace.client, "activator").await?;
        let begun = Instant::now();
        until("the next activator serves", SOON, async || {
            namespace.get("f", "/e0").await?.ok()
        })
        .await?;
        eprintln!("nothing was served for {:.1?}", begun.elapsed());
        platform::serving().await?;
        // Those of the dead activator have an unknown state until `timeouts.duration` has passed; then they are idle like any other.
        namespace.no_pod_within(Duration::from_secs(90)).await?;
        let answer = namespace.get("f", "/e0").await?.ok()?;
        ensure!(
            answer.header("thaw-boot") == "cold",
            "something served without a pod"
        );
        let after = children(namespace).await?;
        // Replicas aside, which are the activator's.
        let without_replicas = |all: &[String]| -> Result<Vec<serde_json::Value>> {
            all.iter()
                .map(|child| {
                    let mut child: serde_json::Value = serde_json::from_str(child)?;
                    child[2]["replicas"].take();
                    Ok(child)
                })
                .collect()
        };
        ensure!(
            without_replicas(&before)? == without_replicas(&after)?,
            "{before:?} became {after:?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn warm_requests_do_not_notice_that_the_api_server_is_away_and_cold_ones_wait() -> Result<()>
{
    if platform::is_external() {
        eprintln!("NOT TOLD: the control plane of somebody else's cluster is left alone");
        return Ok(());
    }
    story("api-server-away", async |namespace| {
        // The one that is called must not idle out while nobody can scale it up again.
        let manifest = function("1").replace("idleAfter: 3s", "idleAfter: 10m");
        let manifest = manifest.replace("duration: 10s", "boot: 4m");
        namespace.apply_ready("f", &manifest).await?;
        let warm = Call::get(&namespace.host("f"), "/e0?sleep=10ms");
        namespace.get_at_once(2, "f", "/e0?sleep=500ms").await?;

        kill_api_server().await?;
        let begun = Instant::now();
        let cold = async {
            let answer = namespace.get("f", "/e1").await;
            eprintln!("the cold one was answered after {:.1?}", begun.elapsed());
            answer
        };
        // The load ends when the API server is back, and not later: the kubelet may take a minute to notice, and when that makes the
        // node NotReady for a moment the ingress controller drops the activator, as every other backend on it.
        let away = async {
            let load = Load::begin(2, &warm);
            sleep(AWAY).await;
            let script = repository().join("e2e/cluster/cluster.sh");
            let up = run(&script.display().to_string(), &["up"]).await;
            eprintln!("the API server was away for {:.1?}", begun.elapsed());
            (up, load.end().await)
        };
        let (cold, (up, outcomes)) = tokio::join!(cold, away);
        up?;
        eprintln!("{} warm requests meanwhile", outcomes.count());
        ensure!(outcomes.count() > 100, "too few to mean anything");
        outcomes.all_served()?;
        let answers = outcomes.served();
        let boots = answers.filter(|answer| answer.header("thaw-boot") != "hot");
        let boots = boots.count();
        ensure!(boots == 0, "{boots} of them booted an instance");
        ensure!(cold?.ok()?.header("thaw-boot") == "cold", "it was to boot");

        // Both see changes again.
        platform::serving().await?;
        namespace.apply_ready("f", &function("2")).await?;
        namespace.get("f", "/e2").await?.ok()?;
        namespace.no_pod_within(Duration::from_secs(90)).await
    })
    .await
}

async fn kill_api_server() -> Result<()> {
    let file = format!("{}/kube-apiserver.pid", platform::cluster_run());
    let file = tokio::fs::read_to_string(file).await?;
    let pid = file.split_whitespace().next();
    let pid = pid.context("its pid file is empty")?;
    run("kill", &["-KILL", pid]).await.map(drop)
}
