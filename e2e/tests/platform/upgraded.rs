//! Installing, upgrading under load and uninstalling with Helm.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use e2e::{
    Namespace,
    ingress::Call,
    load::Load,
    namespace::SOON,
    platform::{self, NAMESPACE, RELEASE, helm},
    program::{attempt, run},
    story, until,
};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use serde_json::Value;

const FUNCTION: &str = "
apiVersion: thaw.dev/v1alpha1
kind: Function
metadata: {name: f}
spec:
  image: dev.local/thaw-fixture:dev
  defaults: {resources: {requests: {cpu: 5m, memory: 8Mi}}}
  entrypoints:
  - {name: work, path: /, scale: {idleAfter: 10m}}
  - {name: long, path: /long, scale: {idleAfter: 10m}}
";

/// Replaces the pods of a component by an upgrade that changes nothing else.
async fn roll(component: &str) -> Result<()> {
    let unique = uuid::Uuid::new_v4();
    let value = format!("{component}.podAnnotations.story={unique}");
    platform::upgrade(&["--reuse-values", "--set", &value]).await
}

#[tokio::test]
async fn rolling_the_operator_fails_no_request() -> Result<()> {
    story("roll-operator", async |namespace| {
        namespace.apply_ready("f", FUNCTION).await?;
        let load = Load::begin(4, &Call::get(&namespace.host("f"), "/?sleep=20ms"));
        roll("operator").await?;
        let changed = FUNCTION.replace("10m", "9m");
        namespace.apply_ready("f", &changed).await?;
        let outcomes = load.end().await;
        eprintln!(
            "{} requests while the operator was rolled",
            outcomes.count()
        );
        ensure!(outcomes.count() > 20, "too few to mean anything");
        outcomes.all_served()
    })
    .await
}

#[tokio::test]
async fn rolling_the_activator_finishes_all_that_it_accepted() -> Result<()> {
    story("roll-activator", async |namespace| {
        namespace.apply_ready("f", FUNCTION).await?;
        let held = tokio::spawn({
            let namespace = namespace.clone();
            async move { namespace.get_at_once(3, "f", "/long?sleep=20s").await }
        });
        until("the long ones run", SOON, async || {
            let running = platform::metric(&namespace.client, "thaw_running").await?;
            let ours = format!("namespace=\"{}\"", namespace.name);
            let running: f64 = running
                .iter()
                .filter(|(labels, _)| labels.contains(&ours))
                .map(|(_, n)| n)
                .sum();
            ensure!(running == 3.0, "{running} run");
            Ok(())
        })
        .await?;

        let load = Load::begin(4, &Call::get(&namespace.host("f"), "/?sleep=20ms"));
        roll("activator").await?;
        for answer in held.await?? {
            answer.fixture().context("one that was running")?;
        }
        let outcomes = load.end().await;
        let served = outcomes.served().count();
        let refused = outcomes.count() - served;
        eprintln!(
            "{} requests while the activator was rolled: {served} served, the slowest after {:.1?}, {refused} refused: {:?}",
            outcomes.count(),
            outcomes.slowest(),
            outcomes.failures()
        );
        ensure!(served > 20, "too few to mean anything");

        if platform::is_external() {
            eprintln!("NOT JUDGED: instances let nobody but the activator in, so they cannot be asked how often they ran");
            return Ok(());
        }
        // What an instance ran and nobody got an answer for was accepted and lost.
        let ran = invocations(namespace, "work").await?;
        let answered = answered(&outcomes)?;
        ensure!(
            ran == answered,
            "instances ran {ran:?}, callers have {answered:?}"
        );
        Ok(())
    })
    .await
}

/// How many invocations callers have answers for, by instance.
fn answered(outcomes: &e2e::load::Outcomes) -> Result<BTreeMap<String, u64>> {
    let mut answered = BTreeMap::new();
    for answer in outcomes.served() {
        *answered
            .entry(answer.clone().fixture()?.instance)
            .or_default() += 1;
    }
    Ok(answered)
}

/// How many invocations each instance of an entrypoint says it has run, asked behind the activator's back.
async fn invocations(namespace: &Namespace, entrypoint: &str) -> Result<BTreeMap<String, u64>> {
    let mut ran = BTreeMap::new();
    for pod in namespace.pods().await? {
        if pod
            .labels()
            .get(crds::names::ENTRYPOINT)
            .is_none_or(|of| of != entrypoint)
        {
            continue;
        }
        let name = pod.name_any();
        let path = format!(
            "/api/v1/namespaces/{}/pods/{name}:8080/proxy/",
            namespace.name
        );
        let request = http::Request::get(path).body(Vec::new())?;
        let said: Value = namespace.client.request(request).await?;
        let count = said["invocation"].as_u64().context("no count")?;
        // Without the one that asked. An instance that ran none took part in nothing.
        if count > 1 {
            ran.insert(name, count - 1);
        }
    }
    Ok(ran)
}

#[tokio::test]
async fn uninstalling_leaves_only_the_crd_and_functions_which_serve_again_after_a_reinstall()
-> Result<()> {
    story("uninstall", async |namespace| {
        namespace.apply_ready("f", FUNCTION).await?;
        namespace.get("f", "/").await?.ok()?;
        let uids = async || -> Result<Vec<Option<String>>> {
            let deployments = namespace
                .api::<Deployment>()
                .list(&Default::default())
                .await?;
            Ok(deployments
                .iter()
                .map(|each| each.metadata.uid.clone())
                .collect())
        };
        let before = uids().await?;
        let file = platform::values_file().await?;
        let values = file.path().display().to_string();

        helm(&["uninstall", RELEASE, "--wait"]).await?;
        let left = until(
            "nothing of Thaw's own is left but the CRD",
            SOON,
            async || {
                let left = own_objects().await?;
                ensure!(
                    left == ["customresourcedefinition.apiextensions.k8s.io/functions.thaw.dev"],
                    "{left:?}"
                );
                Ok(())
            },
        )
        .await;
        let kept = uids().await?;
        // Before anything is judged, so that the stories after this one find Thaw.
        helm(&[
            "install",
            RELEASE,
            "charts/thaw",
            "--create-namespace",
            "-f",
            &values,
            "--wait",
        ])
        .await?;
        left?;
        ensure!(before == kept, "{before:?} became {kept:?}");

        platform::serving().await?;
        namespace.ready("f").await?;
        namespace.get("f", "/").await?.ok()?;
        namespace.get("f", "/long").await?.ok()?;
        ensure!(uids().await? == before, "Deployments were replaced");
        Ok(())
    })
    .await
}

/// Everything that the chart or Thaw's components made for themselves.
async fn own_objects() -> Result<Vec<String>> {
    let list = async |scope: &str, more: &[&str]| -> Result<Vec<String>> {
        let kinds = run(
            "kubectl",
            &["api-resources", "--verbs=list", "-o", "name", scope],
        )
        .await?;
        let kinds: Vec<_> = kinds
            .lines()
            .filter(|kind| !kind.starts_with("events"))
            .collect();
        let kinds = kinds.join(",");
        let mut get = vec!["get", "--ignore-not-found", "-o", "name", &kinds];
        get.extend(more);
        let names = run("kubectl", &get).await?;
        Ok(names.lines().map(str::to_owned).collect())
    };
    let label = ["-l", "app.kubernetes.io/part-of=thaw", "-A"];
    let mut left = list("--namespaced=false", &label[..2]).await?;
    left.extend(list("--namespaced=true", &label).await?);
    // Not everything that a component makes carries the label.
    left.extend(list("--namespaced=true", &["-n", NAMESPACE]).await?);
    // Every namespace has these two.
    left.retain(|name| {
        !["configmap/kube-root-ca.crt", "serviceaccount/default"].contains(&name.as_str())
    });
    left.sort();
    left.dedup();
    Ok(left)
}

#[tokio::test]
async fn wrong_values_are_refused_by_name_and_change_nothing() -> Result<()> {
    story("wrong-values", async |_| {
        let history = async || helm(&["history", RELEASE, "-o", "json"]).await;
        let before = history().await?;
        for (value, says) in [
            ("domain=Not_A_Domain", "'/domain'"),
            ("activator.replicas=3", "'replicas'"),
            ("activator.drain=soon", "'/activator/drain'"),
            ("image.tags=dev", "'tags'"),
        ] {
            let upgrade = [
                "-n",
                NAMESPACE,
                "upgrade",
                RELEASE,
                "charts/thaw",
                "--reuse-values",
                "--set",
                value,
            ];
            let said = attempt("helm", &upgrade, "").await?;
            ensure!(!said.succeeded, "{value} was accepted");
            ensure!(said.err.contains(says), "{value}: {}", said.err);
        }
        ensure!(
            history().await? == before,
            "a refused upgrade left a revision"
        );
        Ok(())
    })
    .await
}
