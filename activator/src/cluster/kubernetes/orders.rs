//! Carries out what entrypoints want written, until it is written or no longer wanted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use crds::names;
use futures::{StreamExt, stream};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::Cluster,
    engine::{BootFailure, BootReport, InstanceId},
    entrypoint::{Entrypoint, Mark},
};

use super::{overdue, reports::Reports};

/// Pods whose annotation is written at once.
const AT_ONCE: usize = 16;

/// What writes need.
#[derive(Clone)]
pub struct Writer {
    /// The API server.
    pub client: Client,
    /// Where boots are reported.
    pub reports: Reports,
    /// This replica leaves: what cannot be written at once is left to the next owner.
    pub leave: CancellationToken,
    /// The pods that a leaving replica goes on using are marked as held; releases come after that.
    pub held: CancellationToken,
    /// The next deletion cost. They go down, one for each marked pod, from below those that pods have already.
    pub costs: Arc<AtomicI32>,
}

impl Cluster for Writer {
    /// Writes what is wanted at the moment of each attempt.
    async fn scale(&self, entrypoint: &Arc<Entrypoint>) {
        let deployment = entrypoint.key.deployment();
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &entrypoint.key.namespace);
        let mut waits = waits();
        loop {
            let replicas = entrypoint.replicas();
            let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
            let params = PatchParams::default();
            match overdue(api.patch_scale(&deployment, &params, &patch)).await {
                Ok(_) => {
                    tracing::debug!(entrypoint = %entrypoint.key, replicas, "scaled");
                    return entrypoint.scaled(Some(replicas));
                }
                Err(kube::Error::Api(error)) if error.code == 404 => {
                    return entrypoint.scaled(None);
                }
                Err(error) => {
                    tracing::warn!(entrypoint = %entrypoint.key, replicas, %error, "cannot scale, trying again")
                }
            }
            if !self.may_retry(&mut waits).await {
                return;
            }
        }
    }

    async fn mark(&self, entrypoint: &Arc<Entrypoint>, pods: Vec<(Mark, String)>) {
        let namespace = &entrypoint.key.namespace;
        let writes = pods.into_iter().map(|(mark, pod)| async move {
            let cost = self.costs.fetch_sub(1, Ordering::Relaxed).to_string();
            let is_written = self
                .annotate(namespace, &pod, names::DELETION_COST, Some(&cost))
                .await;
            is_written.then_some(mark)
        });
        // Costs are drawn in the order of the list, whatever the order in which the writes end.
        let marked: Vec<_> = stream::iter(writes).buffered(AT_ONCE).collect().await;
        entrypoint.marked(&marked.into_iter().flatten().collect::<Vec<_>>());
    }

    /// No node agent freezes yet, so that nobody asks for it.
    fn freeze(&self, entrypoint: &Arc<Entrypoint>, id: InstanceId, _: &str) {
        let failure = BootFailure {
            reason: "NoNodeAgent".to_owned(),
            message: "nothing on this cluster freezes instances".to_owned(),
        };
        entrypoint.broke(id, failure);
    }

    fn thaw(&self, entrypoint: &Arc<Entrypoint>, id: InstanceId, _: &str) {
        entrypoint.thawed(id);
    }

    async fn release(&self, entrypoint: &Arc<Entrypoint>, pod: String) {
        self.held.cancelled().await;
        let namespace = &entrypoint.key.namespace;
        self.annotate(namespace, &pod, names::HELD_BY, None).await;
    }

    fn report(&self, entrypoint: &Arc<Entrypoint>, report: &BootReport) {
        let key = &entrypoint.key;
        match &report.failure {
            None => {
                tracing::info!(entrypoint = %key, seconds = report.took.as_secs_f64(), "booted");
                entrypoint.meter.boot_ended("succeeded", "");
            }
            Some(failure) => {
                tracing::info!(entrypoint = %key, reason = failure.reason, message = failure.message, "boot failed");
                entrypoint.meter.boot_ended("failed", &failure.reason);
            }
        }
        self.reports.boot(key, report);
    }
}

impl Writer {
    /// Says that this replica goes on using the pods. False if that is not written for all of them in time.
    pub async fn hold(&self, pods: &[(String, String)], holder: &str) -> bool {
        let writes =
            stream::iter(pods).for_each_concurrent(AT_ONCE, |(namespace, pod)| async move {
                while !self
                    .annotate(namespace, pod, names::HELD_BY, Some(holder))
                    .await
                {
                    tokio::time::sleep(HOLD_AGAIN).await;
                }
            });
        let is_held = tokio::time::timeout(HOLD, writes).await.is_ok();
        self.held.cancel();
        is_held
    }

    /// True when it is written, or the pod is gone.
    async fn annotate(
        &self,
        namespace: &str,
        pod: &str,
        annotation: &str,
        value: Option<&str>,
    ) -> bool {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let patch = Patch::Merge(json!({"metadata": {"annotations": {annotation: value}}}));
        let mut waits = waits();
        loop {
            match overdue(api.patch_metadata(pod, &PatchParams::default(), &patch)).await {
                Ok(_) => return true,
                Err(kube::Error::Api(error)) if error.code == 404 => return true,
                Err(error) => {
                    tracing::warn!(namespace, pod, annotation, %error, "cannot annotate")
                }
            }
            if !self.may_retry(&mut waits).await {
                return false;
            }
        }
    }

    /// Waits for the next attempt; false if there is none.
    async fn may_retry(&self, waits: &mut impl Iterator<Item = Duration>) -> bool {
        let wait = waits.next().unwrap_or(LONGEST_WAIT);
        self.leave
            .run_until_cancelled(tokio::time::sleep(wait))
            .await
            .is_some()
    }
}

/// A leaving replica tries this long to mark the pods that it goes on using, and this often.
const HOLD: Duration = Duration::from_secs(5);
const HOLD_AGAIN: Duration = Duration::from_millis(200);
/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Waits between attempts: a warm start, then at most one attempt in two seconds for each write.
fn waits() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(LONGEST_WAIT)
        .with_jitter()
        .without_max_times()
        .build()
}
