//! An operator, its API server and what else lives in a cluster, in paused time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::FutureExt;
use kube::runtime::events::Recorder;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::Health,
    client,
    configs::Configs,
    controller,
    double::{Double, Process, fixtures, live},
    hosts::Claims,
    images::{self, Images},
    leader::DURATION,
    memory::Memory,
    metrics::Metrics,
    observe::Caches,
    platform::Platform,
    reconcile::Context,
};

/// Where Functions lie.
pub(super) const FUNCTIONS: &str = "/apis/thaw.dev/v1alpha1/namespaces/prod/functions";
/// Where Deployments lie.
pub(super) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/prod/deployments";
/// An object of the chart, which owns what stands beside the activator.
pub(super) const ACTIVATOR: &str =
    "/apis/apps/v1/namespaces/thaw-system/deployments/thaw-activator";
/// Without a change for so long, nothing changes any more: longer than anything that the operator waits for.
const QUIET: Duration = Duration::from_secs(40);

/// A cluster of one operator.
pub(super) struct Stage {
    pub(super) double: Double,
    pub(super) operator: Operator,
    platform: Platform,
    world: JoinHandle<()>,
}

/// A running operator.
pub(super) struct Operator {
    pub(super) process: Process,
    running: JoinHandle<()>,
}

impl Stage {
    /// One whose custom hosts stand in Ingresses.
    pub(super) fn new() -> Self {
        Self::on(fixtures::with_ingress())
    }

    pub(super) fn on(platform: Platform) -> Self {
        let double = Double::default();
        let metadata = json!({"name": "thaw-activator", "uid": "of-the-chart"});
        double.put(ACTIVATOR, json!({"metadata": metadata}));
        Self {
            world: tokio::spawn(live(double.clone())),
            operator: Operator::start(&double, platform.clone()),
            platform,
            double,
        }
    }

    /// Creates or changes a Function, as a user would.
    pub(super) fn write(&self, name: &str, spec: &str) {
        let function = fixtures::function(name, spec);
        let spec = fixtures::stored(&function)["spec"].take();
        self.write_spec(name, spec);
    }

    pub(super) fn write_spec(&self, name: &str, spec: Value) {
        let manifest = json!({"apiVersion": "thaw.dev/v1alpha1", "kind": "Function", "metadata": {"name": name}, "spec": spec});
        self.double.write(&format!("{FUNCTIONS}/{name}"), manifest);
    }

    pub(super) fn function(&self, name: &str) -> Value {
        let function = self.double.get(&format!("{FUNCTIONS}/{name}"));
        function.expect("the function is there")
    }

    /// Waits until nothing changes any more.
    pub(super) async fn comes_to_rest(&self) {
        let begun = Instant::now();
        loop {
            let last = self.double.last_change().unwrap_or(begun).max(begun);
            let left = QUIET.saturating_sub(last.elapsed());
            if left.is_zero() {
                return;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(3600),
                "it never comes to rest"
            );
            sleep(left).await;
        }
    }

    /// Replaces the operator by one that knows nothing.
    pub(super) fn restart(&mut self) {
        self.operator.process.die();
        self.operator.running.abort();
        self.operator = Operator::start(&self.double, self.platform.clone());
    }

    /// Everything but Events, without what no two runs have in common.
    pub(super) fn end_state(&self) -> BTreeMap<String, Value> {
        let mut all = BTreeMap::new();
        for (path, mut object) in self.double.all() {
            if !path.contains("/events/") {
                normalise(&mut object);
                all.insert(path, object);
            }
        }
        all
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.world.abort();
        self.operator.process.die();
        self.operator.running.abort();
    }
}

impl Operator {
    /// One that leads as long as it lives.
    fn start(double: &Double, platform: Platform) -> Self {
        let process = double.process("operator");
        let client = client::polite(process.client());
        let running = tokio::spawn(work(client, platform, CancellationToken::new()));
        Self { process, running }
    }

    pub(super) fn is_running(&mut self) -> bool {
        (&mut self.running).now_or_never().is_none()
    }
}

/// The work of a leader with this client.
pub(super) fn work(
    client: kube::Client,
    platform: Platform,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let (caches, writers) = Caches::of(&platform.kinds());
    let metrics = Metrics::new(&mut Registry::default(), caches.clone());
    let (images, inquiries) = Images::new(images::Settings::default());
    let context = Context {
        configs: Configs::default(),
        images,
        recorder: Recorder::new(client.clone(), "thaw-operator".into()),
        client,
        caches,
        memory: Memory::default(),
        claims: Claims::default(),
        platform,
    };
    let health = Health::new(tokio::sync::watch::Sender::new(None).subscribe(), DURATION);
    controller::run(Arc::new(context), writers, inquiries, metrics, health, stop)
}

/// Takes away what differs from run to run: names that the API server gives, versions, times, and who wrote how often.
fn normalise(value: &mut Value) {
    const NOISE: [&str; 9] = [
        // A hash that covers the UID of the owner.
        "thaw.dev/applied",
        "uid",
        "resourceVersion",
        "generation",
        "observedGeneration",
        "creationTimestamp",
        "lastTransitionTime",
        "managedFields",
        "at",
    ];
    match value {
        Value::Object(map) => {
            map.retain(|name, _| !NOISE.contains(&name.as_str()));
            map.values_mut().for_each(normalise);
        }
        Value::Array(items) => items.iter_mut().for_each(normalise),
        _ => {}
    }
}

/// The differences of two states, for people.
pub(super) fn differences(
    wanted: &BTreeMap<String, Value>,
    found: &BTreeMap<String, Value>,
) -> Vec<String> {
    let paths = wanted
        .keys()
        .chain(found.keys())
        .collect::<std::collections::BTreeSet<_>>();
    let differs = |path: &&&String| wanted.get(**path) != found.get(**path);
    let line = |path: &String| {
        let text = |state: &BTreeMap<String, Value>| {
            state
                .get(path)
                .map_or("nothing".to_owned(), Value::to_string)
        };
        format!(
            "{path}\n  wanted {}\n  found  {}",
            text(wanted),
            text(found)
        )
    };
    paths
        .iter()
        .filter(differs)
        .map(|path| line(path))
        .collect()
}
