//! A new revision takes the traffic when it has answered. One that cannot changes nothing for users, and a person can go back.

use anyhow::{Context, Result, ensure};
use crds::{names, status::EntrypointStatus};
use e2e::{
    Namespace,
    ingress::Call,
    load::Load,
    namespace::{SOON, condition},
    story, until,
};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::Instant;

/// The function at a version, with more fields of its entrypoint.
fn function(version: &str, more: &str) -> String {
    format!(
        "
apiVersion: thaw.dev/v1alpha1
kind: Function
metadata: {{name: f}}
spec:
  image: dev.local/thaw-fixture:dev
  defaults:
    resources: {{requests: {{cpu: 5m, memory: 8Mi}}}}
    scale: {{idleAfter: 10m}}
    env: [{{name: VERSION, value: '{version}'}}]
  entrypoints:
  - {{name: web, path: /{more}}}
"
    )
}

/// The entrypoint, once its revision has the traffic.
async fn rolled_out(namespace: &Namespace) -> Result<EntrypointStatus> {
    until("the new revision has the traffic", SOON, async || {
        namespace.ready("f").await?;
        let web = namespace.entrypoint("f", "web").await?;
        ensure!(
            web.revision.is_some() && web.revision == web.ready_revision,
            "{web:?}"
        );
        Ok(web)
    })
    .await
}

async fn roll_out(namespace: &Namespace, manifest: &str) -> Result<String> {
    let before = namespace.entrypoint("f", "web").await.unwrap_or_default();
    namespace.apply(manifest).await?;
    let after = rolled_out(namespace).await?;
    ensure!(after.revision != before.revision, "nothing changed");
    after.ready_revision.context("it was compared")
}

/// Which revision answers now.
async fn answered_by(namespace: &Namespace, revision: &str) -> Result<()> {
    let answer = namespace.get("f", "/").await?.fixture()?;
    let name = names::deployment("f", "web", revision);
    ensure!(answer.instance.starts_with(&name), "{answer:?}, not {name}");
    Ok(())
}

/// Waits until a revision answers, and says how long that took.
async fn answers(namespace: &Namespace, revision: &str) -> Result<()> {
    let begun = Instant::now();
    until("it answers", SOON, async || {
        answered_by(namespace, revision).await
    })
    .await?;
    eprintln!("{revision} answered after {:.2?}", begun.elapsed());
    Ok(())
}

/// Clients that never pause while `change` happens; none of their requests may fail.
async fn nobody_notices(
    namespace: &Namespace,
    change: impl AsyncFnOnce(&Load) -> Result<()>,
) -> Result<()> {
    let load = Load::begin(3, &Call::get(&namespace.host("f"), "/?sleep=20ms"));
    let changed = change(&load).await;
    let outcomes = load.end().await;
    eprintln!(
        "{} requests meanwhile, the slowest {:?}",
        outcomes.count(),
        outcomes.slowest()
    );
    changed?;
    outcomes.all_served()
}

async fn annotate(namespace: &Namespace, rollback: Option<&str>) -> Result<()> {
    let patch = json!({"metadata": {"annotations": {names::ROLLBACK: rollback}}});
    let functions = namespace.functions();
    functions
        .patch("f", &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_rollout_under_load_fails_no_request() -> Result<()> {
    story("rollout", async |namespace| {
        let first = roll_out(namespace, &function("1", "")).await?;
        answered_by(namespace, &first).await?;
        nobody_notices(namespace, async |load| {
            for version in ["2", "3"] {
                let more = ", verify: {path: /healthz}";
                let revision = roll_out(namespace, &function(version, more)).await?;
                answers(namespace, &revision).await?;
                load.goes_on().await?;
            }
            Ok(())
        })
        .await?;
        let kept = namespace.entrypoint("f", "web").await?.kept_revisions;
        ensure!(kept.len() == 2 && kept.last() == Some(&first), "{kept:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_first_request_after_a_rollout_waits_for_no_boot() -> Result<()> {
    story("rollout-hot", async |namespace| {
        namespace.apply_ready("f", &function("1", "")).await?;
        let revision = roll_out(namespace, &function("2", "")).await?;
        answers(namespace, &revision).await?;
        let answer = namespace.get("f", "/").await?.ok()?;
        ensure!(answer.header("thaw-boot") == "hot", "{:?}", answer.headers);
        let answer = answer.fixture()?;
        ensure!(answer.invocation == 2, "another instance: {answer:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_program_that_starts_slowly_keeps_nobody_waiting() -> Result<()> {
    story("rollout-slow", async |namespace| {
        let old = roll_out(namespace, &function("1", "")).await?;
        answered_by(namespace, &old).await?;
        nobody_notices(namespace, async |load| {
            let slow = ", env: [{name: FIXTURE_START_DELAY, value: 20s}]";
            namespace.apply(&function("2", slow)).await?;
            load.goes_on().await?;
            answered_by(namespace, &old).await?;
            let new = rolled_out(namespace).await?.ready_revision;
            answers(namespace, &new.context("it was compared")?).await?;
            load.goes_on().await
        })
        .await
    })
    .await
}

/// A revision that cannot boot, or does not answer well, in the middle of traffic.
async fn a_bad_one_changes_nothing(name: &str, bad: &str, says: &[&str]) -> Result<()> {
    story(name, async |namespace| {
        let old = roll_out(namespace, &function("1", "")).await?;
        answered_by(namespace, &old).await?;
        nobody_notices(namespace, async |load| {
            namespace.apply(&function("2", bad)).await?;
            until("the status says why", SOON, async || {
                let found = namespace.functions().get("f").await?;
                let (stalled, why) = condition(&found, "Stalled");
                ensure!(stalled == "True", "{stalled} {why}");
                ensure!(why.starts_with("RevisionFailed"), "{why}");
                ensure!(says.iter().any(|says| why.contains(says)), "{why}");
                let (ready, why) = condition(&found, "Ready");
                ensure!(ready == "True", "{why}");
                Ok(())
            })
            .await?;
            load.goes_on().await?;
            answered_by(namespace, &old).await?;
            let new = roll_out(namespace, &function("3", "")).await?;
            answers(namespace, &new).await
        })
        .await?;
        let events = namespace.events("f").await?;
        let told = events.iter().filter(|e| e.starts_with("RevisionFailed"));
        ensure!(told.count() == 1, "{events:?}");
        let kept = namespace.entrypoint("f", "web").await?.kept_revisions;
        ensure!(kept == [old], "what never served is kept: {kept:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_changes_nothing() -> Result<()> {
    let bad = ", image: '127.0.0.1:9/nowhere:1'";
    a_bad_one_changes_nothing("bad-image", bad, &["ErrImagePull", "ImagePullBackOff"]).await
}

#[tokio::test]
async fn a_crash_at_the_start_changes_nothing() -> Result<()> {
    let bad = ", env: [{name: FIXTURE_EXIT, value: '3'}]";
    let says = ["exit code 3", "CrashLoopBackOff"];
    a_bad_one_changes_nothing("bad-start", bad, &says).await
}

#[tokio::test]
async fn a_program_that_never_listens_on_its_port_changes_nothing() -> Result<()> {
    let bad = ", env: [{name: FIXTURE_LISTEN, value: never}], timeouts: {boot: 15s}";
    a_bad_one_changes_nothing("bad-port", bad, &["NotListening"]).await
}

#[tokio::test]
async fn a_program_that_is_not_well_changes_nothing() -> Result<()> {
    let bad = ", verify: {path: '/healthz?status=503'}, timeouts: {boot: 15s}";
    a_bad_one_changes_nothing("bad-answer", bad, &["answered 503"]).await
}

#[tokio::test]
async fn a_person_goes_back_in_one_step() -> Result<()> {
    story("rollback", async |namespace| {
        let old = roll_out(namespace, &function("1", "")).await?;
        let new = roll_out(namespace, &function("2", "")).await?;
        annotate(namespace, Some("web@nonsense")).await?;
        until("the kept ones are named", SOON, async || {
            let found = namespace.functions().get("f").await?;
            let (stalled, why) = condition(&found, "Stalled");
            ensure!(stalled == "True" && why.contains(&old), "{stalled} {why}");
            Ok(())
        })
        .await?;
        nobody_notices(namespace, async |load| {
            annotate(namespace, Some(&format!("web@{old}"))).await?;
            answers(namespace, &old).await?;
            load.goes_on().await?;
            annotate(namespace, None).await?;
            answers(namespace, &new).await
        })
        .await
    })
    .await
}

#[tokio::test]
async fn who_goes_back_while_the_old_revision_runs_waits_for_no_boot() -> Result<()> {
    story("rollback-warm", async |namespace| {
        // With room beside an invocation that goes on, its instance is there and free.
        let two = ", scale: {concurrency: 2}, env: [{name: FIXTURE_CONCURRENCY, value: '2'}]";
        let old = roll_out(namespace, &function("1", two)).await?;
        let before = namespace.get("f", "/").await?.fixture()?.instance;
        let running = Call::get(&namespace.host("f"), "/?sleep=20s");
        let running = tokio::spawn(running.send());
        let new = roll_out(namespace, &function("2", two)).await?;
        answered_by(namespace, &new).await?;
        annotate(namespace, Some(&format!("web@{old}"))).await?;
        answers(namespace, &old).await?;
        let after = namespace.get("f", "/").await?.fixture()?.instance;
        ensure!(after == before, "{after} was booted beside {before}");
        let finished = running.await??.fixture()?.instance;
        ensure!(finished == before, "it ran in {finished}");
        Ok(())
    })
    .await
}
