//! Two operators: the one that leads is stopped for a minute and goes on, and its Lease is deleted. Another leads soon, and no two write.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use e2e::{Namespace, namespace::SOON, platform, program::run, story, until};
use k8s_openapi::{
    api::{coordination::v1::Lease, core::v1::Pod, events::v1::Event},
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams},
};
use tokio::time::{Instant, sleep};

/// Twice what a take-over is promised to last, so that a busy machine tells no lies.
const TAKEN_OVER: Duration = Duration::from_secs(30);
/// How long a leader is stopped.
const STOPPED: Duration = Duration::from_secs(60);
const LEASE: &str = "thaw-operator";

fn function(version: usize) -> String {
    format!(
        "
apiVersion: thaw.dev/v1alpha1
kind: Function
metadata: {{name: f}}
spec:
  image: dev.local/thaw-fixture:dev
  revisionHistoryLimit: 0
  entrypoints:
    - name: e
      path: /
      env: [{{name: VERSION, value: 'v{version}'}}]
      verify: {{when: Never}}
      resources: {{requests: {{cpu: 5m, memory: 8Mi}}}}
"
    )
}

fn leases(client: &Client) -> Api<Lease> {
    Api::namespaced(client.clone(), platform::NAMESPACE)
}

async fn holder(client: &Client) -> Result<String> {
    let lease = leases(client).get(LEASE).await?;
    let holder = lease.spec.and_then(|spec| spec.holder_identity);
    holder
        .filter(|holder| !holder.is_empty())
        .context("nobody leads")
}

async fn leader(client: &Client) -> Result<Pod> {
    let holder = holder(client).await?;
    let pods = platform::pods(client, "operator").await?;
    let mut pods = pods.into_iter();
    pods.find(|pod| pod.name_any() == holder)
        .with_context(|| format!("no pod is named {holder}"))
}

/// One edit after the other, until another than `before` holds the Lease and has worked.
async fn another_works(namespace: &Namespace, before: &str, edits: &mut usize) -> Result<()> {
    let begun = Instant::now();
    until("another one leads", TAKEN_OVER, async || {
        let holder = holder(&namespace.client).await?;
        ensure!(holder != before, "{holder} still does");
        Ok(())
    })
    .await?;
    edit(namespace, edits).await?;
    namespace.ready("f").await?;
    let took = begun.elapsed();
    eprintln!("another one led and had worked after {took:.1?}");
    Ok(())
}

async fn edit(namespace: &Namespace, edits: &mut usize) -> Result<()> {
    *edits += 1;
    namespace.apply(&function(*edits)).await
}

/// When each operator told something first and last about this namespace.
async fn words(namespace: &Namespace) -> Result<BTreeMap<String, (Timestamp, Timestamp)>> {
    let mut words = BTreeMap::new();
    for event in namespace
        .api::<Event>()
        .list(&ListParams::default())
        .await?
    {
        let by = event.reporting_instance.clone().unwrap_or_default();
        let is_its = event.reporting_controller.as_deref() == Some("thaw-operator");
        if let Some(at) = event.event_time.filter(|_| is_its).map(|at| at.0) {
            let span = words.entry(by).or_insert((at, at));
            *span = (span.0.min(at), span.1.max(at));
        }
    }
    Ok(words)
}

/// Tells a story with two operators, and lets one go again afterwards.
async fn with_two(name: &str, tell: impl AsyncFnOnce(&Namespace) -> Result<()>) -> Result<()> {
    if platform::is_external() {
        eprintln!("NOT TOLD: processes of somebody else's cluster are left alone");
        return Ok(());
    }
    story(name, async |namespace| {
        scale(&namespace.client, 2).await?;
        let told = tell(namespace).await;
        scale(&namespace.client, 1).await?;
        told
    })
    .await
}

async fn scale(client: &Client, replicas: usize) -> Result<()> {
    let count = format!("--replicas={replicas}");
    let of = [
        "-n",
        platform::NAMESPACE,
        "scale",
        "deployment/thaw-operator",
    ];
    run("kubectl", &[of.as_slice(), &[count.as_str()]].concat()).await?;
    until("so many operators run", SOON, async || {
        let pods = platform::pods(client, "operator").await?;
        let is_ready = |pod: &&Pod| {
            let conditions = pod
                .status
                .iter()
                .flat_map(|status| status.conditions.iter().flatten());
            conditions
                .filter(|c| c.type_ == "Ready")
                .any(|c| c.status == "True")
        };
        let ready = pods.iter().filter(is_ready).count();
        ensure!(
            pods.len() == replicas && ready == replicas,
            "{ready} of {}",
            pods.len()
        );
        holder(client).await.map(drop)
    })
    .await
}

#[tokio::test]
async fn a_leader_that_is_stopped_for_a_minute_writes_nothing_when_it_goes_on() -> Result<()> {
    with_two("stopped", async |namespace| {
        let client = &namespace.client;
        let mut edits = 0;
        edit(namespace, &mut edits).await?;
        namespace.ready("f").await?;
        let stopped = leader(client).await?;
        let name = stopped.name_any();
        platform::signal(&stopped, "SIGSTOP").await?;
        let begun = Instant::now();
        // It has work to do when it goes on.
        edit(namespace, &mut edits).await?;
        another_works(namespace, &name, &mut edits).await?;
        let taken_over = Timestamp::now();
        while begun.elapsed() < STOPPED {
            edit(namespace, &mut edits).await?;
            namespace.ready("f").await?;
            sleep(Duration::from_secs(2)).await;
        }
        let version = namespace.functions().get("f").await?.resource_version();
        // The kubelet may have ended it by now, since it did not answer: then a new process stands by under its name.
        if let Err(gone) = platform::signal(&stopped, "SIGCONT").await {
            eprintln!("it did not live that long: {gone:#}");
        }
        let quiet = Instant::now();
        while quiet.elapsed() < Duration::from_secs(20) {
            let now = namespace.functions().get("f").await?.resource_version();
            ensure!(now == version, "somebody wrote at rest");
            ensure!(holder(client).await? != name, "it leads again");
            sleep(Duration::from_millis(200)).await;
        }
        let words = words(namespace).await?;
        let (_, last) = words.get(&name).context("it told nothing before")?;
        ensure!(*last < taken_over, "it told something: {words:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_lease_that_is_deleted_is_made_anew_by_the_one_that_leads() -> Result<()> {
    with_two("lease-deleted", async |namespace| {
        let client = &namespace.client;
        let before = holder(client).await?;
        for round in 0..3 {
            leases(client)
                .delete(LEASE, &DeleteParams::default())
                .await?;
            until("somebody leads", TAKEN_OVER, async || holder(client).await).await?;
            let now = holder(client).await?;
            ensure!(now == before, "{now} took it from {before}, which runs");
            namespace.apply_ready("f", &function(round)).await?;
        }
        let words = words(namespace).await?;
        ensure!(words.keys().all(|by| *by == before), "two wrote: {words:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_lease_of_a_dead_one_is_taken_soon() -> Result<()> {
    with_two("lease-of-the-dead", async |namespace| {
        let mut edits = 0;
        let client = &namespace.client;
        let before = holder(client).await?;
        let api = leases(client);
        // The leader sees that it was replaced, by one that will never renew.
        until("the lease is another's", SOON, async || {
            let mut lease = api.get(LEASE).await?;
            let spec = lease.spec.get_or_insert_default();
            spec.holder_identity = Some("dead".to_owned());
            Ok(api
                .replace(LEASE, &Default::default(), &lease)
                .await
                .map(drop)?)
        })
        .await?;
        another_works(namespace, "dead", &mut edits).await?;
        eprintln!("{before} led before");
        Ok(())
    })
    .await
}
