//! Requests that go on until they are told to stop, for stories in which something of the platform goes away meanwhile.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, anyhow, ensure};
use tokio::task::JoinSet;

use crate::{Answer, ingress::Call, namespace::SOON, until};

/// Workers that each send one request after the other.
pub struct Load {
    stop: Arc<AtomicBool>,
    ended: Arc<AtomicUsize>,
    workers: JoinSet<Vec<Result<Answer>>>,
}

impl Load {
    /// Begins `workers` workers that send `call` through the ingress.
    pub fn begin(workers: usize, call: &Call) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::new(AtomicUsize::new(0));
        let work = |_| {
            let (stop, ended, call) = (stop.clone(), ended.clone(), call.clone());
            async move {
                let mut outcomes = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    outcomes.push(call.clone().send().await);
                    ended.fetch_add(1, Ordering::Relaxed);
                }
                outcomes
            }
        };
        let workers = (0..workers).map(work).collect();
        Self {
            stop,
            ended,
            workers,
        }
    }

    /// Waits for some more requests, so that what has just changed has met some.
    ///
    /// # Errors
    /// When they do not end soon.
    pub async fn goes_on(&self) -> Result<()> {
        let ended = || self.ended.load(Ordering::Relaxed);
        let enough = ended() + 30;
        until("requests have ended", SOON, async || {
            ensure!(ended() >= enough, "{} of {enough}", ended());
            Ok(())
        })
        .await
    }

    /// Lets every worker finish the request it is at, and gives all outcomes.
    pub async fn end(self) -> Outcomes {
        self.stop.store(true, Ordering::Relaxed);
        let all = self.workers.join_all().await;
        Outcomes(all.into_iter().flatten().collect())
    }
}

/// How requests ended.
pub struct Outcomes(Vec<Result<Answer>>);

impl Outcomes {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Answers of the function itself, whatever their status.
    pub fn served(&self) -> impl Iterator<Item = &Answer> {
        let answers = self.0.iter().filter_map(|outcome| outcome.as_ref().ok());
        answers.filter(|answer| answer.status == 200)
    }

    /// The longest that a served one waited for its answer.
    pub fn slowest(&self) -> Duration {
        let waits = self.served().map(|answer| answer.first_byte);
        waits.max().unwrap_or_default()
    }

    /// How often each way of not being served occurred.
    pub fn failures(&self) -> BTreeMap<String, usize> {
        let mut failures = BTreeMap::new();
        for outcome in &self.0 {
            let what = match outcome {
                Ok(answer) if answer.status == 200 => continue,
                Ok(answer) => format!("{} {}", answer.status, answer.text().trim()),
                Err(error) => error.root_cause().to_string(),
            };
            *failures.entry(what).or_default() += 1;
        }
        failures
    }

    /// That every request was served.
    ///
    /// # Errors
    /// With the failures, when one was not.
    pub fn all_served(&self) -> Result<()> {
        let failures = self.failures();
        if failures.is_empty() {
            return Ok(());
        }
        Err(anyhow!("of {} requests failed {failures:?}", self.count()))
    }
}
