//! With an annotation, a change of what a Secret or ConfigMap says rolls the entrypoints that use it.

use anyhow::{Result, ensure};
use crds::names;
use e2e::{
    Namespace,
    namespace::{SOON, condition},
    story, until,
};

fn function(annotation: &str) -> String {
    format!(
        "
apiVersion: thaw.dev/v1alpha1
kind: Function
metadata: {{name: f, annotations: {{{}: '{annotation}'}}}}
spec:
  image: dev.local/thaw-fixture:dev
  defaults:
    resources: {{requests: {{cpu: 5m, memory: 8Mi}}}}
  entrypoints:
  - {{name: web, path: /, envFrom: [{{secretRef: {{name: settings}}}}]}}
  - {{name: other, path: /other, envFrom: [{{configMapRef: {{name: words}}}}]}}
",
        names::ROLL_ON_CONFIG_CHANGE
    )
}

fn secret(value: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: settings}}, stringData: {{SETTING: '{value}'}}}}"
    )
}

fn config_map(value: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: words}}, data: {{WORD: '{value}'}}}}"
    )
}

/// The revision that takes an entrypoint's traffic, once it is the one that is asked for.
async fn settled(namespace: &Namespace, entrypoint: &str) -> Result<String> {
    until("the revision has the traffic", SOON, async || {
        let web = namespace.entrypoint("f", entrypoint).await?;
        ensure!(web.revision == web.ready_revision, "{web:?}");
        Ok(web.ready_revision.unwrap_or_default())
    })
    .await
}

/// Waits until the entrypoint has another revision than this one, and it has the traffic.
async fn rolled(namespace: &Namespace, entrypoint: &str, from: &str) -> Result<String> {
    until("it has rolled", SOON, async || {
        let now = settled(namespace, entrypoint).await?;
        ensure!(now != from, "still {now}");
        Ok(now)
    })
    .await
}

#[tokio::test]
async fn a_change_of_a_secret_or_config_map_rolls_what_uses_it_and_nothing_else() -> Result<()> {
    story("config", async |namespace| {
        namespace.apply(&secret("one")).await?;
        namespace.apply(&config_map("one")).await?;
        namespace.apply_ready("f", &function("true")).await?;
        let (web, other) = (
            settled(namespace, "web").await?,
            settled(namespace, "other").await?,
        );
        namespace.get("f", "/").await?.ok()?;

        namespace.apply(&secret("two")).await?;
        let next = rolled(namespace, "web", &web).await?;
        let back = async |value: &str, expected: &str| -> Result<()> {
            namespace.apply(&secret(value)).await?;
            until("the revision of that value is back", SOON, async || {
                let now = settled(namespace, "web").await?;
                ensure!(now == expected, "{now}, not {expected}");
                Ok(())
            })
            .await
        };
        back("one", &web).await?;
        back("two", &next).await?;
        ensure!(
            settled(namespace, "other").await? == other,
            "the other one rolled"
        );
        namespace.apply(&config_map("two")).await?;
        rolled(namespace, "other", &other).await?;
        ensure!(settled(namespace, "web").await? == next, "this one rolled");
        let found = namespace.functions().get("f").await?;
        let (stalled, why) = condition(&found, "Stalled");
        ensure!(stalled == "False", "{why}");
        namespace.get("f", "/").await?.ok().map(drop)
    })
    .await
}

#[tokio::test]
async fn without_the_annotation_a_change_rolls_nothing() -> Result<()> {
    story("config-off", async |namespace| {
        namespace.apply(&secret("one")).await?;
        namespace.apply(&config_map("one")).await?;
        namespace.apply_ready("f", &function("false")).await?;
        let before = settled(namespace, "web").await?;
        namespace.apply(&secret("two")).await?;
        // Had the change been seen, so would be this one, which comes after it.
        namespace.apply(&function("true")).await?;
        let hashed = rolled(namespace, "web", &before).await?;
        namespace.apply(&function("false")).await?;
        let after = rolled(namespace, "web", &hashed).await?;
        ensure!(after == before, "{after}, not {before}");
        Ok(())
    })
    .await
}
