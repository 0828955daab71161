//! Concurrency 1 is exact: as many instances as requests at once, and never two requests in one instance.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use e2e::{Chronicle, platform, story};
use futures::{TryStreamExt, stream};

const WORK: &str = "
apiVersion: thaw.dev/v1alpha1
kind: Function
metadata: {name: f}
spec:
  image: dev.local/thaw-fixture:dev
  defaults: {resources: {requests: {cpu: 5m, memory: 8Mi}}}
  entrypoints:
  - {name: work, path: /, scale: {idleAfter: IDLE}}
";

#[tokio::test]
async fn ten_requests_at_once_from_zero_boot_exactly_ten_instances_and_each_has_one() -> Result<()>
{
    story("ten-at-once", async |namespace| {
        namespace
            .apply_ready("f", &WORK.replace("IDLE", "10s"))
            .await?;
        let chronicle = Chronicle::begin(namespace.client.clone(), &namespace.name).await;
        // Longer than the slowest of ten boots on a busy machine: nobody may be served by an instance that has served another.
        let answers = namespace.get_at_once(10, "f", "/?sleep=15s").await?;
        let mut instances = BTreeSet::new();
        for answer in answers {
            let answer = answer.fixture()?;
            ensure!(answer.invocation == 1, "{answer:?}");
            instances.insert(answer.instance);
        }
        ensure!(instances.len() == 10, "{instances:?}");
        namespace.no_pod_within(Duration::from_secs(120)).await?;
        let booted = chronicle.of("work").len();
        ensure!(booted == 10, "{booted} pods were made for 10 requests");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn none_of_2000_requests_overlap_while_pods_come_and_go() -> Result<()> {
    // Requests at once. Those of 1 are long enough for the surplus of those before them to go.
    const WAVES: [usize; 20] = [
        1, 8, 2, 12, 3, 1, 6, 10, 1, 4, 1, 12, 2, 8, 1, 5, 1, 10, 3, 6,
    ];
    const WAVE: usize = 100;
    story("no-overlap", async |namespace| {
        namespace
            .apply_ready("f", &WORK.replace("IDLE", "1s"))
            .await?;
        let chronicle = Chronicle::begin(namespace.client.clone(), &namespace.name).await;
        for (wave, at_once) in WAVES.into_iter().enumerate() {
            // Any mixture that is the same in every run will do: 0 to 99 ms, in an order that looks like none.
            let paths = (0..WAVE).map(|n| format!("/{wave}/{n}?sleep={}ms", n * 37 % 100));
            stream::iter(paths.map(Ok))
                .try_for_each_concurrent(at_once, async |path| {
                    let answer = namespace
                        .get("f", &path)
                        .await?
                        .fixture()
                        .with_context(|| path.clone())?;
                    ensure!(answer.overlaps == 0, "{answer:?}");
                    ensure!(
                        path.starts_with(&answer.path),
                        "{path} was answered for {}",
                        answer.path
                    );
                    anyhow::Ok(())
                })
                .await?;
        }
        let lives = chronicle.of("work");
        let went = lives.iter().filter(|life| !life.is_wanted()).count();
        eprintln!(
            "2000 requests, {} instances, of which {went} had gone before the end",
            lives.len()
        );
        ensure!(
            went >= 12,
            "too few came and went for this to mean anything"
        );

        let over = platform::metric(&namespace.client, "thaw_over_admissions_total").await?;
        ensure!(
            !over.is_empty() && over.values().all(|count| *count == 0.0),
            "{over:?}"
        );
        Ok(())
    })
    .await
}
