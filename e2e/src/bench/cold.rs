//! Thaw beside the floor: what the cluster needs for bare pods of the same shape, without anybody in between.
//!
//! Ways are measured in turns within one run, so that a busy moment of the machine meets all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, future::try_join_all};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Node, Pod},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep},
};

use super::statistics::quantile;
use crate::{
    Namespace, ingress, ingress::Call, namespace::SOON, platform, program::attempt, story,
};

/// Between two dials of a pod that does not accept yet.
const DIAL: Duration = Duration::from_millis(5);
/// What each request of a burst works, so that none can be served by an instance that has served another.
const WORK: Duration = Duration::from_secs(1);

const FUNCTION: &str = "
apiVersion: thaw.dev/v1alpha1
kind: Function
metadata: {name: f}
spec:
  image: dev.local/thaw-fixture:dev
  entrypoints:
  - name: work
    path: /
    resources: {requests: {cpu: 5m, memory: 8Mi}}
    scale: {idleAfter: 1s}
";

/// One request from zero, until the first byte of its answer; so many samples.
///
/// # Errors
/// What made a sample fail.
pub async fn one(n: usize) -> Result<()> {
    run(1, "/", n, Duration::ZERO).await
}

/// So many requests at once from zero, each one second of work, until the last answer; so many samples.
///
/// # Errors
/// What made a sample fail.
pub async fn burst(size: usize, n: usize) -> Result<()> {
    run(size, "/?sleep=1s", n, WORK).await
}

async fn run(size: usize, path: &'static str, n: usize, work: Duration) -> Result<()> {
    story("bench", async |namespace| {
        describe(&namespace.client).await?;
        namespace.apply_ready("f", FUNCTION).await?;
        make_floor(namespace).await?;
        let activator = activator(&namespace.client).await?;
        let ways = [("activator", activator), ("ingress", ingress::address())];

        let mut table = Table::new(work);
        // The first of all boots also fills caches of the node; nobody counts it.
        for sample in 0..=n {
            let (accepted, answered) = floor(namespace, size, path).await?;
            if sample > 0 {
                table.add("floor, accepts", accepted + work);
                table.add("floor, answers", answered);
            }
            for (way, address) in &ways {
                namespace.no_pod_within(SOON).await?;
                let last = thaw(namespace, size, path, address).await?;
                if sample > 0 {
                    table.add(&format!("Thaw through the {way}"), last);
                }
            }
            namespace.no_pod_within(SOON).await?;
            eprint!("\r{sample}/{n} ");
        }
        eprintln!();
        println!(
            "{size} from zero, ms until {}",
            if size == 1 {
                "the first byte"
            } else {
                "the last answer, without its second of work"
            }
        );
        table.print();
        Ok(())
    })
    .await
}

/// The floor: a bare Deployment whose pods are those of the Function but for their labels.
async fn make_floor(namespace: &Namespace) -> Result<()> {
    let theirs = namespace.deployments("work").await?;
    let theirs = theirs.into_iter().next().context("no Deployment")?;
    let mut spec = theirs.spec.context("no spec")?;
    spec.replicas = Some(0);
    let labels = BTreeMap::from([("app".to_owned(), "floor".to_owned())]);
    spec.selector.match_labels = Some(labels.clone());
    let template = spec.template.metadata.as_mut().context("no labels")?;
    template.labels = Some(labels);
    let mut floor = Deployment {
        spec: Some(spec),
        ..Deployment::default()
    };
    floor.metadata.name = Some("floor".to_owned());
    namespace
        .api()
        .create(&PostParams::default(), &floor)
        .await?;
    Ok(())
}

async fn scale_floor(namespace: &Namespace, replicas: usize) -> Result<()> {
    let scale = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    let deployments = namespace.api::<Deployment>();
    deployments
        .patch_scale("floor", &PatchParams::default(), &scale)
        .await?;
    Ok(())
}

/// From before the scale-up until the last bare pod accepted a connection, and until the last one answered.
async fn floor(
    namespace: &Namespace,
    size: usize,
    path: &'static str,
) -> Result<(Duration, Duration)> {
    let config = watcher::Config::default().labels("app=floor");
    let pods = watcher::watcher(namespace.api::<Pod>(), config);
    let mut events = pods.boxed();
    // Everything there is has been listed, which is nothing, when the watch says so.
    while !matches!(
        events.next().await.context("the watch ended")??,
        watcher::Event::InitDone
    ) {}
    let mut pods = events.applied_objects();

    let begun = Instant::now();
    scale_floor(namespace, size).await?;
    let mut known = BTreeSet::new();
    let mut dials = JoinSet::new();
    while known.len() < size {
        let pod = pods.next().await.context("the watch ended")??;
        let Some(ip) = pod.status.and_then(|status| status.pod_ip) else {
            continue;
        };
        if known.insert(ip.clone()) {
            dials.spawn(dial(SocketAddr::new(ip.parse()?, 8080), path, begun));
        }
    }
    let mut last = (Duration::ZERO, Duration::ZERO);
    for dialled in dials.join_all().await {
        let (accepted, answered) = dialled?;
        last = (last.0.max(accepted), last.1.max(answered));
    }
    scale_floor(namespace, 0).await?;
    Ok(last)
}

async fn dial(address: SocketAddr, path: &str, begun: Instant) -> Result<(Duration, Duration)> {
    while TcpStream::connect(address).await.is_err() {
        ensure!(begun.elapsed() < SOON, "{address} does not accept");
        sleep(DIAL).await;
    }
    let accepted = begun.elapsed();
    Call::get("floor", path)
        .send_to(&address.to_string())
        .await?
        .ok()?;
    Ok((accepted, begun.elapsed()))
}

/// From before the first connection until the last answer began.
async fn thaw(namespace: &Namespace, size: usize, path: &str, address: &str) -> Result<Duration> {
    let host = namespace.host("f");
    let calls = (0..size).map(|_| Call::get(&host, path).send_to(address));
    let mut last = Duration::ZERO;
    for answer in try_join_all(calls).await? {
        last = last.max(answer.first_byte);
        let invocation = answer.fixture()?.invocation;
        ensure!(
            invocation == 1,
            "not from zero: invocation {invocation} of an instance"
        );
    }
    Ok(last)
}

async fn activator(client: &Client) -> Result<String> {
    let pods = platform::pods(client, "activator").await?;
    let mut ips = pods
        .iter()
        .filter_map(|pod| pod.status.as_ref()?.pod_ip.as_ref());
    Ok(format!(
        "{}:8080",
        ips.next().context("there is no activator")?
    ))
}

/// What figures depend on.
async fn describe(client: &Client) -> Result<()> {
    let server = client.apiserver_version().await?.git_version;
    println!("Kubernetes {server}");
    for node in Api::<Node>::all(client.clone())
        .list(&ListParams::default())
        .await?
    {
        let status = node.status.clone().unwrap_or_default();
        let cores = status.capacity.and_then(|all| all.get("cpu").cloned());
        let system = status.node_info.unwrap_or_default();
        println!(
            "node {}: {} cores, kubelet {}, {}, kernel {}",
            node.name_any(),
            cores.map_or("?".to_owned(), |cores| cores.0),
            system.kubelet_version,
            system.container_runtime_version,
            system.kernel_version
        );
    }
    // The controller manager's client is what caps scale-ups; only on one's own machine can its flags be seen.
    let look = "ps -C kube-controller -o args= | tr ' ' '\\n' | grep -E -- '--(kube-api-(qps|burst)|concurrent-)' | tr '\\n' ' '";
    let flags = attempt("sh", &["-c", look], "").await?.out;
    let flags = if flags.trim().is_empty() {
        "defaults (20 requests/s, burst 30)"
    } else {
        flags.trim()
    };
    println!("kube-controller-manager: {flags}\n");
    Ok(())
}

/// Samples by what was measured, in the order in which each was first added.
struct Table {
    /// Subtracted from every sample.
    work: Duration,
    /// In seconds.
    rows: Vec<(String, Vec<f64>)>,
}

impl Table {
    fn new(work: Duration) -> Self {
        Self {
            work,
            rows: Vec::new(),
        }
    }

    fn add(&mut self, what: &str, sample: Duration) {
        let sample = sample.saturating_sub(self.work).as_secs_f64();
        match self.rows.iter_mut().find(|(name, _)| name == what) {
            Some((_, samples)) => samples.push(sample),
            None => self.rows.push((what.to_owned(), vec![sample])),
        }
    }

    /// A line for each, with its ratio to the first.
    fn print(&self) {
        println!(
            "{:28}{:>5}{:>8}{:>8}{:>8}{:>8}  {:>11}",
            "", "n", "min", "p50", "p99", "max", "over floor"
        );
        let mut floor = None;
        for (what, samples) in &self.rows {
            let [min, p50, p99, max] = [0.0, 0.5, 0.99, 1.0].map(|p| quantile(samples, p) * 1e3);
            let (floor50, floor99) = *floor.get_or_insert((p50, p99));
            println!(
                "{what:28}{:>5}{min:>8.0}{p50:>8.0}{p99:>8.0}{max:>8.0}  {:>5.2} {:>5.2}",
                samples.len(),
                p50 / floor50,
                p99 / floor99
            );
        }
        println!(
            "over floor: p50 over p50, p99 over p99 of bare pods of the same shape accepting a connection"
        );
    }
}
