//! Functions, Deployments and Pods, from watches to those who want to know.
//!
//! One task applies all events, so nothing here needs a lock. Level-triggered: an event says "look at this object", never "this
//! happened". A watch that starts over tells what is missing by what it no longer lists.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use backon::ExponentialBuilder;
use crds::{Function, names};
use futures::{
    StreamExt,
    stream::{BoxStream, select_all},
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{apps::v1::Deployment, core::v1::Pod},
};
use kube::{
    Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        watcher::{self, Config, Event, ExponentialBackoff, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::watch::Sender;

use super::{
    apis, deployments,
    functions::Functions,
    hosts::Hosts,
    pods::{self, Life},
    reports::Reports,
};
use crate::{
    entrypoint::{Entrypoint, Key},
    entrypoints::Entrypoints,
    proxy::Proxy,
};

/// The API server ends a watch after this many seconds; a dead one is noticed no later.
const WATCH_SECONDS: u32 = 60;

/// The three kinds that are watched.
const FUNCTIONS: usize = 0;
const DEPLOYMENTS: usize = 1;
const PODS: usize = 2;

/// A watch: one of each kind in the whole cluster, or in each namespace that the activator was told.
#[derive(Clone, Copy)]
struct Watch {
    kind: usize,
    /// Place of its namespace among those that the activator was told.
    scope: usize,
}

impl Watch {
    /// Its place among all watches.
    fn place(self) -> usize {
        3 * self.scope + self.kind
    }
}

/// What the watches have shown so far.
pub struct World {
    identity: String,
    entrypoints: Arc<Entrypoints>,
    costs: Arc<AtomicI32>,
    functions: Functions,
    reports: Reports,
    /// Pods by UID.
    pods: HashMap<String, Arc<Entrypoint>>,
    /// Deployments by UID.
    deployments: HashMap<String, Key>,
    /// The namespaces that may be looked at; empty: all.
    namespaces: Vec<String>,
    /// What was listed since a watch started over; `None` outside such a list.
    listed: Vec<Option<HashSet<String>>>,
    /// Whether each watch has listed once.
    synced: Vec<bool>,
    is_synced: Sender<bool>,
}

enum Seen {
    Function(Event<DeserializeGuard<Function>>),
    Deployment(Event<Deployment>),
    Pod(Event<Pod>),
}

impl World {
    /// Nothing seen yet. `is_synced` becomes true when every watch has listed once.
    pub fn new(
        identity: String,
        hosts: Hosts,
        proxy: Arc<Proxy>,
        entrypoints: Arc<Entrypoints>,
        reports: Reports,
        costs: Arc<AtomicI32>,
        is_synced: Sender<bool>,
    ) -> Self {
        let functions = Functions::new(hosts, proxy, entrypoints.clone(), reports.clone());
        Self {
            identity,
            entrypoints,
            costs,
            functions,
            reports,
            pods: HashMap::new(),
            deployments: HashMap::new(),
            namespaces: Vec::new(),
            listed: Vec::new(),
            synced: Vec::new(),
            is_synced,
        }
    }

    /// Follows the watches for ever: of all namespaces, or of these.
    pub async fn follow(mut self, client: Client, namespaces: Vec<String>) {
        let all = Config::default().timeout(WATCH_SECONDS);
        let children = all.clone().labels(names::CHILDREN);
        let (client, told) = (&client, &namespaces);
        let watches = watches(client, told, FUNCTIONS, &all, Seen::Function)
            .chain(watches(
                client,
                told,
                DEPLOYMENTS,
                &children,
                Seen::Deployment,
            ))
            .chain(watches(client, told, PODS, &children, Seen::Pod));
        let mut events = select_all(watches);
        self.begin(namespaces, events.len());
        while let Some((watch, event)) = events.next().await {
            match event {
                Seen::Function(event) => {
                    self.take(watch, event, Self::function, Self::function_gone)
                }
                Seen::Deployment(event) => {
                    self.take(watch, event, Self::deployment, Self::deployment_gone)
                }
                Seen::Pod(event) => self.take(watch, event, Self::pod, Self::pod_gone),
            }
        }
    }

    fn begin(&mut self, namespaces: Vec<String>, watches: usize) {
        self.listed = vec![None; watches];
        self.synced = vec![false; watches];
        self.namespaces = namespaces;
    }

    fn take<K: Resource>(
        &mut self,
        watch: Watch,
        event: Event<K>,
        seen: fn(&mut Self, K),
        gone: fn(&mut Self, &str),
    ) {
        let place = watch.place();
        match event {
            Event::Init => self.listed[place] = Some(HashSet::new()),
            Event::InitApply(object) => {
                let id = identity(watch.kind, &object);
                self.listed[place].get_or_insert_default().insert(id);
                seen(self, object);
            }
            Event::InitDone => {
                let listed = self.listed[place].take().unwrap_or_default();
                let missing = self
                    .known(watch)
                    .into_iter()
                    .filter(|id| !listed.contains(id));
                missing
                    .collect::<Vec<_>>()
                    .iter()
                    .for_each(|id| gone(self, id));
                self.note_synced(place);
            }
            Event::Apply(object) => seen(self, object),
            Event::Delete(object) => gone(self, &identity(watch.kind, &object)),
        }
    }

    /// What is known of what a watch shows.
    fn known(&self, watch: Watch) -> Vec<String> {
        let only = self.namespaces.get(watch.scope);
        let is_shown = |namespace: &str| only.is_none_or(|only| only == namespace);
        match watch.kind {
            FUNCTIONS => self
                .functions
                .names()
                .filter(|(namespace, _)| is_shown(namespace))
                .map(|(namespace, name)| format!("{namespace}/{name}"))
                .collect(),
            DEPLOYMENTS => self
                .deployments
                .iter()
                .filter(|(_, key)| is_shown(&key.namespace))
                .map(|(id, _)| id.clone())
                .collect(),
            _ => self
                .pods
                .iter()
                .filter(|(_, entrypoint)| is_shown(&entrypoint.key.namespace))
                .map(|(id, _)| id.clone())
                .collect(),
        }
    }

    fn note_synced(&mut self, place: usize) {
        self.synced[place] = true;
        if self.synced.iter().all(|synced| *synced) {
            // Only now is it known which revisions no route leads to.
            self.is_synced.send_replace(true);
        }
    }

    fn function(&mut self, object: DeserializeGuard<Function>) {
        let abandoned = self.functions.seen(object);
        self.retire(abandoned);
    }

    fn function_gone(&mut self, id: &str) {
        if let Some((namespace, name)) = id.split_once('/') {
            let abandoned = self.functions.gone(namespace, name);
            self.retire(abandoned);
        }
    }

    /// What no route leads to any more finishes and goes.
    fn retire(&mut self, abandoned: Vec<Key>) {
        for key in abandoned {
            if let Some(entrypoint) = self.entrypoints.get(&key) {
                entrypoint.retire();
                self.forget_without_deployment(&key);
            }
        }
    }

    /// Forgets an entrypoint revision that has neither route nor Deployment.
    fn forget_without_deployment(&self, key: &Key) {
        if !self.functions.lead_to(key) && !self.deployments.values().any(|of| of == key) {
            self.entrypoints.remove(key);
        }
    }

    fn deployment(&mut self, object: Deployment) {
        let Some(key) = pods::key(&object.metadata) else {
            return;
        };
        let spec = object
            .spec
            .as_ref()
            .and_then(|spec| spec.replicas)
            .unwrap_or(1);
        let entrypoint = self.entrypoints.get_or_add(&key);
        if object.metadata.deletion_timestamp.is_some() {
            entrypoint.observed(None);
        } else {
            entrypoint.observed(Some(u32::try_from(spec).unwrap_or(0)));
            if let Some(failure) = deployments::creation_failure(&object, spec) {
                entrypoint.creation_refused(failure);
            }
        }
        self.deployments.insert(identity(DEPLOYMENTS, &object), key);
    }

    fn deployment_gone(&mut self, id: &str) {
        let Some(key) = self.deployments.remove(id) else {
            return;
        };
        if self.deployments.values().any(|of| *of == key) {
            // Made anew, and seen before the end of the old one was.
            return;
        }
        if let Some(entrypoint) = self.entrypoints.get(&key) {
            entrypoint.observed(None);
            self.forget_without_deployment(&key);
        }
    }

    fn pod(&mut self, pod: Pod) {
        let uid = identity(PODS, &pod);
        let life = pods::life(&pod);
        if life == Life::Gone {
            return self.pod_gone(&uid);
        }
        let Some(key) = pods::key(&pod.metadata) else {
            return;
        };
        if let Some(image) = pods::image(&pod) {
            let since = pod.metadata.creation_timestamp.as_ref();
            self.reports.ran(&key, image, since);
        }
        let entrypoint = self.entrypoints.get_or_add(&key);
        let held = pods::is_held(&pod, &self.identity);
        if let Some(cost) = pods::deletion_cost(&pod) {
            // A lower cost than any that stands somewhere, also after a restart.
            self.costs
                .fetch_min(cost.saturating_sub(1), Ordering::Relaxed);
        }
        let version = pods::version(&pod.metadata);
        let id = entrypoint.seen(&uid, &pod.name_any(), held, version);
        if pods::is_scheduled(&pod) {
            entrypoint.scheduled(id);
        }
        if let Some(address) = pods::address(&pod) {
            entrypoint.located(id, address);
        }
        match life {
            Life::Booting(waits_for) => entrypoint.waits_for(id, waits_for),
            Life::Broken(failure) => entrypoint.broke(id, failure),
            Life::Gone => {}
        }
        self.pods.insert(uid, entrypoint);
    }

    fn pod_gone(&mut self, uid: &str) {
        if let Some(entrypoint) = self.pods.remove(uid) {
            entrypoint.gone(uid);
        }
    }
}

/// The watches of one kind.
fn watches<K>(
    client: &Client,
    namespaces: &[String],
    kind: usize,
    config: &Config,
    wrap: fn(Event<K>) -> Seen,
) -> impl Iterator<Item = BoxStream<'static, (Watch, Seen)>>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
{
    let apis = apis::<K>(client, namespaces).into_iter().enumerate();
    apis.map(move |(scope, api)| {
        let watch = Watch { kind, scope };
        let name = K::kind(&K::DynamicType::default()).into_owned();
        let events = watcher(api, config.clone())
            .backoff(ExponentialBackoff::from(backoff()))
            .filter_map(move |event: watcher::Result<_>| {
                let event = event.inspect_err(
                    |error| tracing::warn!(kind = name, %error, "watch failed, trying again"),
                );
                std::future::ready(event.ok().map(|event| (watch, wrap(event))))
            });
        events.boxed()
    })
}

/// Short waits: until the watches are back nobody sees a new instance.
fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .with_jitter()
        .without_max_times()
}

/// Functions are known by name, since their routes are; children by UID.
fn identity<K: Resource>(kind: usize, object: &K) -> String {
    let meta = object.meta();
    if kind != FUNCTIONS {
        return meta.uid.clone().unwrap_or_default();
    }
    format!(
        "{}/{}",
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default()
    )
}

#[cfg(test)]
mod tests;
