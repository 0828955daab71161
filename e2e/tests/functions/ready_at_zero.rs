//! A Function is Ready without one pod, and `kubectl` shows what a person wants to know.

use anyhow::{Result, ensure};
use e2e::{
    program::{repository, run},
    story, until,
};

#[tokio::test]
async fn the_shop_is_ready_with_no_pod_and_kubectl_tells_its_story() -> Result<()> {
    story("ready-at-zero", async |namespace| {
        let name = namespace.name.as_str();
        let kubectl = async |arguments: &str| {
            let mut all = vec!["-n", name];
            all.extend(arguments.split(' '));
            run("kubectl", &all).await
        };
        let shop = repository().join("deploy/samples/shop/function.yaml");
        kubectl(&format!("apply -f {}", shop.display())).await?;
        kubectl("wait --for=condition=Ready --timeout=60s function/shop").await?;
        let pods = namespace.pods().await?.len();
        ensure!(pods == 0, "Ready took {pods} pods");

        let table = kubectl("get fn").await?;
        let mut lines = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let columns = lines.next().unwrap_or_default();
        ensure!(
            columns == ["NAME", "URL", "READY", "REASON", "INSTANCES", "AGE"],
            "{table}"
        );
        let row = lines.next().unwrap_or_default();
        let url = format!("http://{}", namespace.host("shop"));
        ensure!(row.len() == 6, "a cell is empty: {table}");
        ensure!(
            row[..5] == ["shop", &url, "True", "Available", "0"],
            "{table}"
        );

        // kstatus, which Argo CD and Flux share: current generation, and neither of these two is true.
        let shop = namespace.functions().get("shop").await?;
        for type_ in ["Reconciling", "Stalled"] {
            let (status, message) = e2e::namespace::condition(&shop, type_);
            ensure!(status != "True", "{type_} {message}");
        }

        let described = until("describe shows events", e2e::namespace::SOON, async || {
            let described = kubectl("describe fn shop").await?;
            let (_, events) = described.rsplit_once("Events:").unwrap_or_default();
            ensure!(
                !events.trim().is_empty() && events.trim() != "<none>",
                "{described}"
            );
            Ok(events.to_owned())
        });
        let events = described.await?;
        for entrypoint in ["catalogue", "orders", "thumbnails"] {
            ensure!(
                events.contains(entrypoint),
                "nothing on {entrypoint}: {events}"
            );
        }
        Ok(())
    })
    .await
}
