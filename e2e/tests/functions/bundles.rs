//! Entrypoints that share a Deployment and its instances.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::status::BundledStatus;
use e2e::{
    Namespace,
    ingress::Call,
    load::Load,
    namespace::{SOON, condition},
    program::repository,
    story, until,
};

const PATHS: [(&str, &str); 3] = [("home", "/"), ("about", "/about"), ("help", "/help")];

/// The function: three entrypoints, and what it says about bundles and about the last entrypoint.
fn function(bundles: &str, of_help: &str) -> String {
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
  bundles: [{bundles}]
  entrypoints:
  - {{name: home, path: /, match: Exact}}
  - {{name: about, path: /about}}
  - {{name: help, path: /help{of_help}}}
"
    )
}

const WEB: &str = "{name: web, entrypoints: [home, about, help]}";

/// How many Deployments each of these has.
async fn deployments<const N: usize>(
    namespace: &Namespace,
    entrypoints: [&str; N],
) -> Result<[usize; N]> {
    let mut counts = [0; N];
    for (count, entrypoint) in counts.iter_mut().zip(entrypoints) {
        *count = namespace.deployments(entrypoint).await?.len();
    }
    Ok(counts)
}

/// Waits until instances of this entrypoint or bundle answer a path.
async fn answered_by(namespace: &Namespace, path: &str, entrypoint: &str) -> Result<()> {
    until(&format!("{entrypoint} answers {path}"), SOON, async || {
        let answer = namespace.get("f", path).await?.fixture()?;
        ensure!(answer.entrypoint == entrypoint, "{answer:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_bundle_of_three_is_one_deployment_with_three_paths_that_are_warm_from_any() -> Result<()>
{
    story("bundle", async |namespace| {
        let manifest = function(WEB, "").replace("idleAfter: 10m", "idleAfter: 6s");
        namespace.apply_ready("f", &manifest).await?;
        let there = deployments(namespace, ["web", "home", "about", "help"]).await?;
        ensure!(there == [1, 0, 0, 0], "{there:?} Deployments");
        let host = namespace.host("f");
        let said = namespace.entrypoint("f", "web").await?.entrypoints;
        let expected = PATHS.map(|(name, path)| BundledStatus {
            name: name.to_owned(),
            url: format!("http://{host}{path}"),
        });
        ensure!(said == expected, "{said:?}");

        for first in 0..PATHS.len() {
            let mut paths = PATHS;
            paths.rotate_left(first);
            let mut instance = None;
            for (nth, (name, path)) in paths.into_iter().enumerate() {
                let answer = namespace.get("f", &format!("{path}?echo")).await?.ok()?;
                let (boot, expected) = (
                    answer.header("thaw-boot").to_owned(),
                    if nth == 0 { "cold" } else { "hot" },
                );
                ensure!(boot == expected, "{path} after {nth}: thaw-boot: {boot}");
                let answer = answer.fixture()?;
                let instance = instance.get_or_insert_with(|| answer.instance.clone());
                ensure!(answer.instance == *instance, "{name} has {answer:?}");
                let prefix = answer.headers.get("thaw-path-prefix");
                ensure!(prefix.is_some_and(|prefix| prefix == path), "{answer:?}");
                ensure!(
                    answer.entrypoint == "web" && answer.overlaps == 0,
                    "{answer:?}"
                );
            }
            let pods = namespace.pods().await?.len();
            ensure!(pods <= 1, "{pods} pods");
            namespace.no_pod_within(Duration::from_secs(60)).await?;
        }
        let nowhere = namespace.get("f", "/nowhere").await?.problem()?;
        ensure!(nowhere.code == "NoRoute", "{nowhere:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn several_bundles_are_islands() -> Result<()> {
    story("bundles", async |namespace| {
        let two = "{name: web, entrypoints: [home, about]}, {name: docs, entrypoints: [help]}";
        namespace.apply_ready("f", &function(two, "")).await?;
        for (path, bundle) in [("/", "web"), ("/about", "web"), ("/help", "docs")] {
            answered_by(namespace, path, bundle).await?;
        }
        let before = namespace.entrypoint("f", "web").await?;
        let warm = namespace.get("f", "/about").await?.fixture()?.instance;

        let changed = two.replace(
            "{name: docs,",
            "{name: docs, env: [{name: VERSION, value: '2'}],",
        );
        namespace.apply(&function(&changed, "")).await?;
        until(
            "the changed one has a new revision with the traffic",
            SOON,
            async || {
                namespace.ready("f").await?;
                let docs = namespace.entrypoint("f", "docs").await?;
                let is_moved =
                    docs.revision == docs.ready_revision && !docs.kept_revisions.is_empty();
                ensure!(is_moved, "{docs:?}");
                Ok(())
            },
        )
        .await?;
        let after = namespace.entrypoint("f", "web").await?;
        ensure!(
            after.revision == before.revision,
            "{before:?} became {after:?}"
        );
        let answer = namespace.get("f", "/").await?.fixture()?;
        ensure!(answer.instance == warm, "{answer:?}, not {warm}");
        let there = deployments(namespace, ["web", "docs"]).await?;
        ensure!(there == [1, 2], "{there:?} Deployments");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_path_that_goes_from_one_to_another_is_answered_throughout() -> Result<()> {
    story("bundling", async |namespace| {
        namespace.apply_ready("f", &function("", "")).await?;
        for (name, path) in PATHS {
            answered_by(namespace, path, name).await?;
        }
        let load = Load::begin(2, &Call::get(&namespace.host("f"), "/help?sleep=20ms"));
        let changed = change(namespace, &load).await;
        let outcomes = load.end().await;
        eprintln!("{} requests meanwhile", outcomes.count());
        changed?;
        outcomes.all_served()?;
        until(
            "what nobody answers from any more is gone",
            SOON,
            async || {
                let there = deployments(namespace, ["home", "about", "help", "web"]).await?;
                ensure!(there == [0, 0, 1, 1], "{there:?} Deployments");
                Ok(())
            },
        )
        .await
    })
    .await
}

/// Into a bundle that cannot boot, into one that can, and one of them out of it again.
async fn change(namespace: &Namespace, load: &Load) -> Result<()> {
    let broken = WEB.replace("{name: web,", "{name: web, image: '127.0.0.1:9/nowhere:1',");
    namespace.apply(&function(&broken, "")).await?;
    until("the status says why", SOON, async || {
        let found = namespace.functions().get("f").await?;
        let (stalled, why) = condition(&found, "Stalled");
        ensure!(
            stalled == "True" && why.starts_with("RevisionFailed"),
            "{stalled} {why}"
        );
        let (ready, why) = condition(&found, "Ready");
        ensure!(ready == "True", "{why}");
        Ok(())
    })
    .await?;
    load.goes_on().await?;
    for (name, path) in PATHS {
        answered_by(namespace, path, name).await?;
    }

    namespace.apply(&function(WEB, "")).await?;
    for (_, path) in PATHS {
        answered_by(namespace, path, "web").await?;
    }
    load.goes_on().await?;

    let fewer = WEB.replace(", help]", "]");
    let own = ", env: [{name: OWN, value: '1'}]";
    namespace.apply(&function(&fewer, own)).await?;
    answered_by(namespace, "/help", "help").await?;
    answered_by(namespace, "/about", "web").await?;
    load.goes_on().await
}

#[tokio::test]
async fn the_sample_counts_the_invocations_of_all_its_paths_together() -> Result<()> {
    story("bundle-sample", async |namespace| {
        let sample = repository().join("deploy/samples/hello/bundle.yaml");
        let sample = tokio::fs::read_to_string(sample).await?;
        namespace.apply_ready("greetings", &sample).await?;
        for (count, path) in (1..).zip(["/hello", "/servus", "/moin"]) {
            let answer = namespace.get("greetings", path).await?.ok()?.text();
            let said = answer.split("invocation ").nth(1);
            let said = said.with_context(|| format!("{path}: {answer}"))?;
            ensure!(said.starts_with(&format!("{count} ")), "{path}: {answer}");
        }
        Ok(())
    })
    .await
}
