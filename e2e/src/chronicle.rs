//! Everything that pods of a namespace went through, from a watch that runs beside the story. It knows pods that are long gone.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use crds::names;
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    runtime::watcher::{self, Event, watcher},
};
use tokio::{task::JoinHandle, time::Instant};

/// One pod's life, as far as it was seen. Times are those of this process.
#[derive(Clone, Debug)]
pub struct Life {
    /// Name of the pod.
    pub name: String,
    /// Entrypoint that it serves; empty for a pod that is not Thaw's.
    pub entrypoint: String,
    /// Revision that it serves.
    pub revision: String,
    /// When it was first seen.
    pub seen: Instant,
    /// When somebody asked for its end.
    pub told_to_go: Option<Instant>,
    /// When it was gone.
    pub gone: Option<Instant>,
    /// Reasons why its container waits or has terminated, each when first seen.
    pub reasons: BTreeMap<String, Instant>,
}

impl Life {
    /// Whether it is there and nobody asked for its end.
    pub fn is_wanted(&self) -> bool {
        self.told_to_go.is_none() && self.gone.is_none()
    }
}

/// Lives of all pods of a namespace since the chronicle began, by UID.
#[derive(Debug)]
pub struct Chronicle {
    lives: Arc<Mutex<BTreeMap<String, Life>>>,
    watch: JoinHandle<()>,
}

impl Drop for Chronicle {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Chronicle {
    /// Begins, and returns once the watch runs.
    pub async fn begin(client: Client, namespace: &str) -> Self {
        let lives = Arc::new(Mutex::new(BTreeMap::new()));
        let api = Api::<Pod>::namespaced(client, namespace);
        let (ready, running) = tokio::sync::oneshot::channel();
        let mut ready = Some(ready);
        let writer = lives.clone();
        let watch = tokio::spawn(async move {
            let mut events = Box::pin(watcher(api, watcher::Config::default()));
            loop {
                // An error is followed by a retry of the watcher's own; the lives that a break hid are corrected by the list that follows.
                let Ok(Some(event)) = events.try_next().await else {
                    continue;
                };
                match event {
                    Event::Init => {}
                    Event::InitApply(pod) | Event::Apply(pod) => write(&writer, &pod, false),
                    Event::Delete(pod) => write(&writer, &pod, true),
                    Event::InitDone => {
                        if let Some(ready) = ready.take() {
                            // The receiver waits below, or nobody wants to know any more.
                            ready.send(()).ok();
                        }
                    }
                }
            }
        });
        running.await.expect("the watch lives as long as this");
        Self { lives, watch }
    }

    /// Lives of an entrypoint's pods, in the order in which they were seen.
    pub fn of(&self, entrypoint: &str) -> Vec<Life> {
        let mut lives = self.all();
        lives.retain(|life| life.entrypoint == entrypoint);
        lives
    }

    /// All lives, in the order in which they were seen.
    pub fn all(&self) -> Vec<Life> {
        let lives = self.lives.lock().expect("no writer panics");
        let mut lives: Vec<_> = lives.values().cloned().collect();
        lives.sort_by_key(|life| life.seen);
        lives
    }

    /// When the last of those pods that had one of these reasons before `end` had it first.
    pub fn last_failed(&self, reasons: &[&str], end: Instant) -> Option<Instant> {
        let first = |life: Life| {
            let known = life.reasons.into_iter();
            known
                .filter(|(reason, at)| reasons.contains(&reason.as_str()) && *at <= end)
                .map(|(_, at)| at)
                .min()
        };
        self.all().into_iter().filter_map(first).max()
    }
}

fn write(lives: &Mutex<BTreeMap<String, Life>>, pod: &Pod, is_gone: bool) {
    let now = Instant::now();
    let label = |key: &str| pod.labels().get(key).cloned().unwrap_or_default();
    let mut lives = lives.lock().expect("no writer panics");
    let life = lives
        .entry(pod.uid().unwrap_or_default())
        .or_insert_with(|| Life {
            name: pod.name_any(),
            entrypoint: label(names::ENTRYPOINT),
            revision: label(names::REVISION),
            seen: now,
            told_to_go: None,
            gone: None,
            reasons: BTreeMap::new(),
        });
    if is_gone || pod.metadata.deletion_timestamp.is_some() {
        life.told_to_go.get_or_insert(now);
    }
    if is_gone {
        life.gone.get_or_insert(now);
    }
    for reason in reasons(pod) {
        life.reasons.entry(reason).or_insert(now);
    }
}

/// Why a pod is not running: what the kubelet says of its containers, and the scheduler of the pod.
fn reasons(pod: &Pod) -> Vec<String> {
    let Some(status) = &pod.status else {
        return Vec::new();
    };
    let states = status
        .container_statuses
        .iter()
        .flatten()
        .flat_map(|container| [&container.state, &container.last_state])
        .flatten();
    let waiting = states
        .clone()
        .filter_map(|s| s.waiting.as_ref()?.reason.clone());
    let terminated = states.filter_map(|s| s.terminated.as_ref()?.reason.clone());
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .filter(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
        .filter_map(|condition| condition.reason.clone());
    waiting.chain(terminated).chain(unscheduled).collect()
}
