//! An image over `maxSize` is refused before a pod of it starts: as its registry says, with and without a login, and where no registry
//! can be asked, as nodes report it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::status::Measurer;
use e2e::{
    Namespace,
    namespace::{SOON, condition},
    platform,
    registry::{Access, Image, Registry, is_possible, let_node_pull, login},
    story, until,
};

/// Between the fixture alone, of some 2 MiB, and with what makes it large.
const LIMIT: &str = "8Mi";
const BALLAST: u64 = 12 << 20;
/// The kubelet reports every 10 s which images it has.
const REPORTED: Duration = Duration::from_secs(90);

fn function(image: &str, limit: &str, more: &str) -> String {
    format!(
        "
apiVersion: thaw.dev/v1alpha1
kind: Function
metadata: {{name: f}}
spec:
  image: {image}
  maxSize: {limit}
  defaults:
    resources: {{requests: {{cpu: 5m, memory: 8Mi}}}}
    {more}
  entrypoints:
  - {{name: web, path: /}}
"
    )
}

/// Waits until the Function is refused for its image, and gives what it says.
async fn refused(namespace: &Namespace) -> Result<String> {
    until("the image is refused", REPORTED, async || {
        let found = namespace.functions().get("f").await?;
        let (stalled, why) = condition(&found, "Stalled");
        ensure!(
            stalled == "True" && why.starts_with("ImageTooLarge"),
            "{stalled} {why}"
        );
        Ok(why)
    })
    .await
}

/// What a refusal has to say about layers.
fn says_layers(why: &str, image: &Image) -> Result<()> {
    ensure!(image.layers.len() == 2, "{:?}", image.layers);
    let (_, listed) = why.split_once("in layers of ").context("no layers")?;
    let (listed, _) = listed.split_once(';').context("no end of layers")?;
    ensure!(
        listed.split(", ").count() == 2 && listed.contains("12"),
        "{why}"
    );
    eprintln!("{why}");
    Ok(())
}

/// No Deployment of the revision that the manifest asks for, and so no pod.
async fn nothing_of_it_is_there(namespace: &Namespace, besides: usize) -> Result<()> {
    let deployments = namespace.deployments("web").await?;
    ensure!(deployments.len() == besides, "{deployments:?}");
    Ok(())
}

#[tokio::test]
async fn an_image_over_the_limit_is_refused_with_its_sizes_and_the_older_one_serves_on()
-> Result<()> {
    if !is_possible() {
        eprintln!("not told: it needs a registry on the node");
        return Ok(());
    }
    let registry = Registry::start(5000, Access::Open).await?;
    let small = Image::fixture(1).await?;
    let large = Image::fixture(BALLAST).await?;
    // Another name each time: a node that has pulled it before, for an older build, does not ask again.
    let name = format!("shop-{}", uuid::Uuid::new_v4().simple());
    let pushed = registry.push(&small, &name, "1").await?;
    registry.push(&large, &name, "2").await?;
    let_node_pull(&registry.address, &registry.address).await?;
    let image = |tag: &str| format!("{}/{name}:{tag}", registry.address);
    story("size", async |namespace| {
        namespace
            .apply_ready("f", &function(&image("1"), LIMIT, ""))
            .await?;
        namespace.get("f", "/").await?.ok()?;
        let web = until("the digest is told", SOON, async || {
            let web = namespace.entrypoint("f", "web").await?;
            let boot = web.last_boot.clone().context("no boot")?;
            ensure!(
                boot.image.as_deref() == Some(&pushed),
                "{boot:?}, not {pushed}"
            );
            Ok(web)
        })
        .await?;
        let measured = web.measured.context("not measured")?;
        ensure!(measured.by == Measurer::Registry, "{measured:?}");

        namespace.apply(&function(&image("2"), LIMIT, "")).await?;
        let why = refused(namespace).await?;
        says_layers(&why, &large)?;
        ensure!(why.contains("keeps the traffic"), "{why}");
        nothing_of_it_is_there(namespace, 1).await?;
        namespace.ready("f").await?;
        namespace.get("f", "/").await?.ok()?;
        let events = namespace.events("f").await?;
        let told = events
            .iter()
            .filter(|event| event.starts_with("ImageTooLarge"));
        ensure!(told.count() == 1, "{events:?}");

        namespace.apply(&function(&image("2"), "20Mi", "")).await?;
        until("it fits now", REPORTED, async || {
            let web = namespace.entrypoint("f", "web").await?;
            ensure!(web.revision == web.ready_revision, "{web:?}");
            Ok(())
        })
        .await?;
        namespace.get("f", "/").await?.ok().map(drop)
    })
    .await
}

#[tokio::test]
async fn a_registry_that_wants_a_login_is_asked_with_that_of_the_pull_secret() -> Result<()> {
    if !is_possible() {
        eprintln!("not told: it needs a registry on the node");
        return Ok(());
    }
    let registry = Registry::start(5001, Access::Login).await?;
    let large = Image::fixture(BALLAST).await?;
    registry.push(&large, "shop", "2").await?;
    let image = format!("{}/shop:2", registry.address);
    story("size-login", async |namespace| {
        namespace.apply(&login(&registry.address)).await?;
        let secret = "pod: {imagePullSecrets: [{name: login}]}";
        namespace.apply(&function(&image, LIMIT, secret)).await?;
        says_layers(&refused(namespace).await?, &large)?;
        nothing_of_it_is_there(namespace, 0).await?;
        let found = namespace.functions().get("f").await?;
        let (ready, why) = condition(&found, "Ready");
        ensure!(
            ready == "False" && why.starts_with("ImageTooLarge"),
            "{ready} {why}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn where_no_registry_can_be_asked_the_word_of_a_node_that_has_the_image_counts() -> Result<()>
{
    let image = format!("{}/thaw-fixture:dev", platform::registry());
    story("size-node", async |namespace| {
        namespace.apply(&function(&image, "1Ki", "")).await?;
        let why = refused(namespace).await?;
        eprintln!("{why}");
        ensure!(why.contains("on a node"), "{why}");
        nothing_of_it_is_there(namespace, 0).await?;
        namespace.apply(&function(&image, "1Gi", "")).await?;
        namespace.ready("f").await?;
        let measured = namespace.entrypoint("f", "web").await?.measured;
        ensure!(
            measured.as_ref().is_some_and(|m| m.by == Measurer::Node),
            "{measured:?}"
        );
        namespace.get("f", "/").await?.ok().map(drop)
    })
    .await
}

/// The node pulls from a mirror, of which Thaw knows nothing.
#[tokio::test]
async fn an_image_that_nobody_knows_boots_once_and_is_refused_by_what_the_node_reports()
-> Result<()> {
    if !is_possible() {
        eprintln!("not told: it needs a registry on the node");
        return Ok(());
    }
    let registry = Registry::start(5000, Access::Open).await?;
    let large = Image::fixture(BALLAST).await?;
    // Another name each time: a node that has the image already has a word before the first boot.
    let tag = uuid::Uuid::new_v4().simple().to_string();
    registry.push(&large, "unknown", &tag).await?;
    let_node_pull("mirrored.test", &registry.address).await?;
    let image = format!("mirrored.test/unknown:{tag}");
    story("size-unknown", async |namespace| {
        namespace
            .apply_ready("f", &function(&image, LIMIT, ""))
            .await?;
        let measured = namespace.entrypoint("f", "web").await?.measured;
        ensure!(
            measured.as_ref().is_some_and(|m| m.by == Measurer::Nobody),
            "{measured:?}"
        );
        namespace.get("f", "/").await?.ok()?;
        let why = refused(namespace).await?;
        eprintln!("{why}");
        ensure!(why.contains("on a node"), "{why}");
        until("it answers no more", SOON, async || {
            let answer = namespace.get("f", "/").await?;
            let why = answer.text();
            ensure!(answer.status == 502 && why.contains("maxSize"), "{why}");
            Ok(())
        })
        .await?;
        namespace.no_pod_within(REPORTED).await?;
        until("its Deployment is gone", SOON, async || {
            nothing_of_it_is_there(namespace, 0).await
        })
        .await
    })
    .await
}
