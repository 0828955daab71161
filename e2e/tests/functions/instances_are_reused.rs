//! Last in, first out: after a burst one instance takes all the work, the others go one idle window after their last use.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use e2e::{Chronicle, story};
use tokio::time::Instant;

const IDLE: Duration = Duration::from_secs(6);
/// Between the end of an answer here and there, and between a deletion there and what the watch says here.
const CLOCKS: Duration = Duration::from_secs(2);
/// The same on a busy machine, and nine deletions at the default rate of the cluster's controllers.
const LATE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn after_a_burst_one_instance_stays_and_keeps_its_memory_and_files() -> Result<()> {
    story("reuse", async |namespace| {
        let function = "
            apiVersion: thaw.dev/v1alpha1
            kind: Function
            metadata: {name: f}
            spec:
              image: dev.local/thaw-fixture:dev
              defaults: {resources: {requests: {cpu: 5m, memory: 8Mi}}}
              entrypoints:
              - {name: work, path: /, scale: {idleAfter: 6s}}";
        namespace.apply_ready("f", function).await?;
        let chronicle = Chronicle::begin(namespace.client.clone(), &namespace.name).await;

        let mut last_use = BTreeMap::new();
        for answer in namespace.get_at_once(10, "f", "/?sleep=15s").await? {
            let ended = answer.ended;
            last_use.insert(answer.fixture()?.instance, ended);
        }
        ensure!(last_use.len() == 10, "{last_use:?}");

        let mut survivor: Option<String> = None;
        let mut invocations = 1;
        let end = Instant::now() + IDLE + LATE;
        loop {
            let answer = namespace.get("f", "/?sleep=20ms").await?.fixture()?;
            invocations += 1;
            let survivor = survivor.get_or_insert_with(|| answer.instance.clone());
            ensure!(
                answer.instance == *survivor,
                "{} beside {survivor}",
                answer.instance
            );
            ensure!(answer.invocation == invocations, "its memory: {answer:?}");
            ensure!(answer.file == Some(invocations), "its file: {answer:?}");
            last_use.insert(answer.instance, Instant::now());
            let wanted = chronicle
                .of("work")
                .iter()
                .filter(|life| life.is_wanted())
                .count();
            ensure!(wanted >= 1, "the survivor was told to go while it worked");
            if wanted == 1 {
                break;
            }
            ensure!(Instant::now() < end, "{wanted} instances are left");
        }
        eprintln!("{invocations} invocations on the survivor");

        let lives = chronicle.of("work");
        ensure!(
            lives.len() == 10,
            "one-at-a-time traffic booted more: {}",
            lives.len()
        );
        for life in lives {
            let used = last_use
                .get(&life.name)
                .context("an instance that nobody used")?;
            match life.told_to_go {
                Some(told) => {
                    let unused = told.duration_since(*used);
                    ensure!(
                        unused + CLOCKS >= IDLE,
                        "{} went after {unused:?}",
                        life.name
                    );
                    ensure!(unused <= IDLE + LATE, "{} went after {unused:?}", life.name);
                }
                None => ensure!(Some(&life.name) == survivor.as_ref(), "{} stays", life.name),
            }
        }
        namespace.no_pod_within(IDLE + LATE).await
    })
    .await
}
