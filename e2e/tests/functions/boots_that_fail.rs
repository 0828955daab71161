//! A boot that cannot succeed: whoever waits is told why in Kubernetes' own words, the status keeps it, and fixing the manifest is enough.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::status::BootOutcome;
use e2e::{Chronicle, Namespace, namespace::SOON, platform, story, until};
use k8s_openapi::api::core::v1::ResourceQuota;
use tokio::time::Instant;

/// After the kubelet's or the scheduler's report, waiters are answered within this (2 s are promised; the rest is for a busy machine).
const TOLD: Duration = Duration::from_secs(4);

/// A way in which a boot fails.
struct Broken {
    /// Fields of the broken entrypoint, as they stand in its flow mapping.
    fields: &'static str,
    /// What stands beside the Function.
    beside: &'static str,
    /// Codes, one of which the answer has.
    codes: &'static [&'static str],
    /// Texts, one of which is in the answer, the status and the Event.
    says: &'static [&'static str],
    /// Reasons in the pod's status after the first of which no waiter is held; none when only a clock can tell.
    reasons: &'static [&'static str],
}

impl Broken {
    fn is_said_in(&self, text: &str) -> bool {
        self.says.iter().any(|says| text.contains(says))
    }
}

// Unverified, or no request would ever meet what is broken: see `rollouts`.
const FUNCTION: &str = "
apiVersion: thaw.dev/v1alpha1
kind: Function
metadata: {name: f}
spec:
  image: dev.local/thaw-fixture:dev
  defaults: {resources: {requests: {cpu: 5m, memory: 8Mi}}, verify: {when: Never}}
  entrypoints:
  - {name: healthy, path: /healthy, scale: {idleAfter: 10m}}
  - {name: broken, path: /broken}
";

async fn fails_and_heals(
    namespace: &Namespace,
    broken: &Broken,
    heal: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    namespace.apply_ready("f", FUNCTION).await?;
    namespace.get("f", "/healthy").await?.ok()?;
    breaks(namespace, broken).await?;
    waiters_are_told(namespace, broken).await?;
    queue_is_empty(namespace).await?;
    status_and_events_say_why(namespace, broken).await?;
    namespace.get("f", "/healthy").await?.ok()?;

    heal().await?;
    until("it serves after the fix", SOON, async || {
        namespace.get("f", "/broken").await?.fixture()
    })
    .await?;
    until("the status says that it booted", SOON, async || {
        let boot = namespace.entrypoint("f", "broken").await?.last_boot;
        let outcome = boot.as_ref().map(|boot| boot.outcome);
        ensure!(outcome == Some(BootOutcome::Succeeded), "{boot:?}");
        Ok(())
    })
    .await
}

async fn breaks(namespace: &Namespace, broken: &Broken) -> Result<()> {
    if !broken.beside.is_empty() {
        namespace.apply(broken.beside).await?;
    }
    until("quotas are in force", SOON, async || {
        let quotas = namespace.api::<ResourceQuota>();
        let quotas = quotas.list(&Default::default()).await?;
        let is_known = |quota: &ResourceQuota| quota.status.as_ref()?.hard.as_ref().map(drop);
        ensure!(quotas.iter().all(|quota| is_known(quota).is_some()));
        Ok(())
    })
    .await?;
    let with = format!("{{name: broken, path: /broken, {}}}", broken.fields);
    let manifest = FUNCTION.replace("{name: broken, path: /broken}", &with);
    namespace.apply(&manifest).await?;
    let generation = namespace.functions().get("f").await?.metadata.generation;
    until("the operator has seen it", SOON, async || {
        let function = namespace.functions().get("f").await?;
        let observed = function.status.unwrap_or_default().observed_generation;
        ensure!(observed == generation, "{observed:?} of {generation:?}");
        Ok(())
    })
    .await
}

async fn waiters_are_told(namespace: &Namespace, broken: &Broken) -> Result<()> {
    let chronicle = Chronicle::begin(namespace.client.clone(), &namespace.name).await;
    let begun = Instant::now();
    // The activator may not know yet what the operator has written: then a boot of the old revision answers.
    let answers = until("the broken revision is asked", SOON, async || {
        let answers = namespace.get_at_once(3, "f", "/broken").await?;
        let by_the_old = answers.iter().filter(|answer| answer.status == 200);
        ensure!(by_the_old.count() == 0, "the old one answers");
        Ok(answers)
    })
    .await?;
    for answer in &answers {
        let problem = answer.problem()?;
        let (code, detail) = (problem.code.as_str(), &problem.detail);
        eprintln!("{:?}: {code} {detail}", answer.ended - begun);
        ensure!(broken.codes.contains(&code), "{problem:?}");
        let status = if code == "BootTimeout" { 504 } else { 502 };
        ensure!(problem.status == status, "{problem:?}");
        ensure!(broken.is_said_in(detail), "{problem:?}");
        ensure!(problem.function == "f", "{problem:?}");
        ensure!(problem.entrypoint == "broken", "{problem:?}");
    }
    if broken.reasons.is_empty() {
        return Ok(());
    }
    // They wait until no pod is left that may yet boot: until the last of those which booted for them says why it does not.
    let ended = answers.iter().map(|answer| answer.ended).max();
    let ended = ended.context("three were asked")?;
    let reported = chronicle.last_failed(broken.reasons, ended);
    let reported = reported.with_context(|| format!("no pod said why: {:?}", chronicle.all()))?;
    let held = ended.duration_since(reported);
    eprintln!("told {held:?} after Kubernetes' report");
    ensure!(held < TOLD, "told {held:?} after Kubernetes' report");
    Ok(())
}

async fn queue_is_empty(namespace: &Namespace) -> Result<()> {
    let labels = format!("namespace=\"{}\"", namespace.name);
    until("the queue is empty", SOON, async || {
        let mut waiting = platform::metric(&namespace.client, "thaw_queue_length").await?;
        waiting.retain(|sample, _| sample.contains(&labels));
        let is_empty = waiting.values().all(|length| *length == 0.0);
        ensure!(is_empty && !waiting.is_empty(), "{waiting:?}");
        Ok(())
    })
    .await
}

async fn status_and_events_say_why(namespace: &Namespace, broken: &Broken) -> Result<()> {
    until("status and events say why", SOON, async || {
        let status = namespace.entrypoint("f", "broken").await?;
        let boot = status.last_boot.context("no lastBoot")?;
        ensure!(boot.outcome == BootOutcome::Failed, "{boot:?}");
        let text = format!("{} {}", boot.reason, boot.message);
        ensure!(broken.is_said_in(&text), "{boot:?}");
        let events = namespace.events("f").await?;
        let mut told = events.iter().filter(|event| event.starts_with("Boot"));
        ensure!(told.any(|event| broken.is_said_in(event)), "{events:?}");
        Ok(())
    })
    .await
}

async fn fixed_by_the_manifest(name: &str, broken: Broken) -> Result<()> {
    story(name, async |namespace| {
        let heal = async || namespace.apply(FUNCTION).await;
        fails_and_heals(namespace, &broken, heal).await
    })
    .await
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled() -> Result<()> {
    let broken = Broken {
        // Nobody listens there, on no node: the pull fails at once and without a look-up.
        fields: "image: '127.0.0.1:9/nowhere:1'",
        beside: "",
        codes: &["BootFailed"],
        says: &["ErrImagePull", "ImagePullBackOff"],
        reasons: &["ErrImagePull", "ImagePullBackOff"],
    };
    fixed_by_the_manifest("no-image", broken).await
}

#[tokio::test]
async fn a_command_that_exits() -> Result<()> {
    let broken = Broken {
        fields: "env: [{name: FIXTURE_EXIT, value: '3'}]",
        beside: "",
        codes: &["BootFailed"],
        says: &["exit code 3", "code 3", "exited with 3", "CrashLoopBackOff"],
        reasons: &["Error", "CrashLoopBackOff"],
    };
    fixed_by_the_manifest("exits", broken).await
}

#[tokio::test]
async fn a_command_that_is_not_in_the_image() -> Result<()> {
    let broken = Broken {
        fields: "command: [/nowhere]",
        beside: "",
        codes: &["BootFailed"],
        says: &["/nowhere", "StartError", "RunContainerError"],
        reasons: &[
            "StartError",
            "RunContainerError",
            "CrashLoopBackOff",
            "ContainerCannotRun",
        ],
    };
    fixed_by_the_manifest("no-command", broken).await
}

#[tokio::test]
async fn a_config_map_that_is_not_there() -> Result<()> {
    let broken = Broken {
        fields: "envFrom: [{configMapRef: {name: nowhere}}]",
        beside: "",
        codes: &["BootFailed"],
        says: &["nowhere", "CreateContainerConfigError"],
        reasons: &["CreateContainerConfigError"],
    };
    fixed_by_the_manifest("no-config", broken).await
}

#[tokio::test]
async fn a_command_that_never_listens() -> Result<()> {
    let broken = Broken {
        fields: "env: [{name: FIXTURE_LISTEN, value: never}], timeouts: {boot: 20s}",
        beside: "",
        codes: &["BootTimeout"],
        says: &["8080", "connect", "listen", "BootTimeout"],
        reasons: &[],
    };
    fixed_by_the_manifest("never-listens", broken).await
}

#[tokio::test]
async fn a_pod_that_fits_no_node() -> Result<()> {
    let broken = Broken {
        fields: "resources: {requests: {cpu: 1000}}, timeouts: {boot: 20s}",
        beside: "",
        codes: &["BootFailed", "BootTimeout"],
        says: &["Insufficient cpu", "Unschedulable"],
        // Nodes can be added, so waiters are held for the whole of `timeouts.boot`.
        reasons: &[],
    };
    fixed_by_the_manifest("no-node", broken).await
}

#[tokio::test]
async fn a_quota_that_allows_no_pod() -> Result<()> {
    let broken = Broken {
        fields: "env: [{name: NEW, value: revision}]",
        // One pod is the healthy entrypoint's.
        beside: "{apiVersion: v1, kind: ResourceQuota, metadata: {name: none}, spec: {hard: {pods: '0'}}}",
        codes: &["BootFailed"],
        says: &["exceeded quota"],
        reasons: &[],
    };
    story("quota", async |namespace| {
        let heal = async || {
            let quotas = namespace.api::<ResourceQuota>();
            quotas.delete("none", &Default::default()).await?;
            Ok(())
        };
        fails_and_heals(namespace, &broken, heal).await
    })
    .await
}
