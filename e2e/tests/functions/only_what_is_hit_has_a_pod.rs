//! The shop through the ingress controller: an entrypoint boots when it is hit, alone, and goes when it is not.

use std::time::Duration;

use anyhow::{Result, ensure};
use crds::names;
use e2e::{Chronicle, program::repository, story};
use kube::ResourceExt;

#[tokio::test]
async fn only_the_entrypoint_that_was_hit_has_a_pod_and_after_its_idle_window_none_has()
-> Result<()> {
    story("only-what-is-hit", async |namespace| {
        let shop = repository().join("deploy/samples/shop/function.yaml");
        let shop = tokio::fs::read_to_string(shop).await?;
        let short = "  defaults:\n    scale: {idleAfter: 6s}\n";
        let shop = shop.replacen("  defaults:\n", short, 1);
        ensure!(
            shop.contains("idleAfter: 6s"),
            "the sample has no defaults any more"
        );
        namespace.apply_ready("shop", &shop).await?;
        let chronicle = Chronicle::begin(namespace.client.clone(), &namespace.name).await;

        for (path, entrypoint, type_) in [
            ("/", "catalogue", "text/html"),
            ("/api/orders", "orders", "application/json"),
            ("/thumbnails/sundae.png", "thumbnails", "image/png"),
        ] {
            let answer = namespace.get("shop", path).await?.ok()?;
            let (boot, timing) = (answer.header("thaw-boot"), answer.header("server-timing"));
            ensure!(boot == "cold", "{path} says thaw-boot: {boot}");
            ensure!(
                timing.contains("boot;dur="),
                "{path} says server-timing: {timing}"
            );
            let is = answer.header("content-type");
            ensure!(is.starts_with(type_), "{path} is {is}");
            for pod in namespace.pods().await? {
                let of = pod.labels().get(names::ENTRYPOINT);
                ensure!(
                    of.is_some_and(|of| of == entrypoint),
                    "{path} booted {of:?}"
                );
            }
            let again = namespace.get("shop", path).await?.ok()?;
            ensure!(
                again.header("thaw-boot") == "hot",
                "the second time is not hot"
            );
            namespace.no_pod_within(Duration::from_secs(60)).await?;
            let booted = chronicle.of(entrypoint).len();
            ensure!(booted == 1, "{entrypoint} took {booted} pods");
        }

        let nowhere = namespace.get("shop", "/nowhere").await?.problem()?;
        ensure!(nowhere.code == "NoRoute", "{nowhere:?}");
        Ok(())
    })
    .await
}
