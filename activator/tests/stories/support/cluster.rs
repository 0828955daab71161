//! A cluster in miniature: Deployments whose pods are [`Process`]es on the loopback interface, and watches that tell activators.
//!
//! It is as fair as Kubernetes: every step takes a little time of its own, pods and Deployments come over separate watches, and a
//! ReplicaSet knows nothing but the number it was told.

use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use activator::{
    budget::Caps,
    cluster::carry_out,
    engine::{BootFailure, BootReport, InstanceId},
    entrypoint::{Entrypoint, Key, Mark},
    entrypoints::Entrypoints,
    held::Limits,
    metrics::Metrics,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use tokio_util::task::TaskTracker;

use super::function::{Journal, Process, Program};

/// The cluster.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) journal: Arc<Journal>,
    state: Mutex<State>,
    steps: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    deployments: HashMap<Key, Deployment>,
    views: Vec<View>,
    /// What the next pods run; the scripted server after these.
    programs: VecDeque<Program>,
    /// Every process there ever was.
    made: Vec<Arc<Process>>,
    pods: u64,
    costs: i32,
    /// The most pods that were there at once and not ready.
    most_booting: usize,
    /// Instances that were deleted while a request was inside.
    deleted_busy: Vec<String>,
    reports: Vec<BootReport>,
}

#[derive(Debug, Default)]
struct Deployment {
    replicas: usize,
    pods: Vec<Pod>,
}

#[derive(Clone, Debug)]
struct Pod {
    key: Key,
    number: u64,
    name: String,
    cost: i32,
    held_by: Option<String>,
    process: Option<Arc<Process>>,
    is_ready: bool,
    is_broken: bool,
}

/// The watches of one activator.
#[derive(Debug)]
struct View {
    identity: String,
    pods: mpsc::UnboundedSender<Seen>,
    deployments: mpsc::UnboundedSender<Seen>,
}

#[derive(Debug)]
enum Seen {
    Pod(Pod),
    Gone(Key, u64),
    Deployment(Key, usize),
    Everything(oneshot::Sender<()>),
}

impl Cluster {
    /// Watches and orders of one more activator, which stands by.
    pub(crate) fn attach(
        self: &Arc<Self>,
        identity: &str,
        metrics: Arc<Metrics>,
        caps: Caps,
        limits: Limits,
    ) -> Arc<Entrypoints> {
        let (orders, ordered) = mpsc::unbounded_channel();
        let entrypoints = Arc::new(Entrypoints::new(metrics, orders, caps, limits));
        let view = View {
            identity: identity.to_owned(),
            pods: self.follow(identity, &entrypoints),
            deployments: self.follow(identity, &entrypoints),
        };
        let mut state = self.state.lock().unwrap();
        for (key, deployment) in &state.deployments {
            view.deployments
                .send(Seen::Deployment(key.clone(), deployment.replicas))
                .unwrap();
            for pod in &deployment.pods {
                view.pods.send(Seen::Pod(pod.clone())).unwrap();
            }
        }
        state.views.push(view);
        drop(state);
        let hands = Hands {
            cluster: self.clone(),
            identity: identity.to_owned(),
        };
        tokio::spawn(carry_out(hands, ordered, TaskTracker::new()));
        entrypoints
    }

    /// The activator vanishes: it sees and writes nothing any more.
    pub(crate) fn detach(&self, identity: &str) {
        let mut state = self.state.lock().unwrap();
        state.views.retain(|view| view.identity != identity);
    }

    /// Makes a Deployment with no replicas.
    pub(crate) fn deploy(&self, key: &Key) {
        let mut state = self.state.lock().unwrap();
        state.deployments.entry(key.clone()).or_default();
        state.tell_deployment(key);
    }

    /// What the next pods run.
    pub(crate) fn run_next(&self, programs: impl IntoIterator<Item = Program>) {
        self.state.lock().unwrap().programs.extend(programs);
    }

    /// Every instance there ever was.
    pub(crate) fn made(&self) -> Vec<Arc<Process>> {
        self.state.lock().unwrap().made.clone()
    }

    /// The instance of this name, there or gone.
    pub(crate) fn process(&self, name: &str) -> Arc<Process> {
        let made = self.made();
        made.into_iter().find(|p| p.name == name).unwrap()
    }

    /// Names of the pods that are there.
    pub(crate) fn pods(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let pods = state.deployments.values().flat_map(|d| &d.pods);
        pods.map(|pod| pod.name.clone()).collect()
    }

    /// Instances that were deleted while a request was inside.
    pub(crate) fn deleted_busy(&self) -> Vec<String> {
        self.state.lock().unwrap().deleted_busy.clone()
    }

    /// The most pods of a Deployment that were there at once and not ready.
    pub(crate) fn most_booting(&self) -> usize {
        self.state.lock().unwrap().most_booting
    }

    /// How boots ended.
    pub(crate) fn reports(&self) -> Vec<BootReport> {
        self.state.lock().unwrap().reports.clone()
    }

    /// Writes who uses these pods besides the owner.
    pub(crate) fn hold(&self, pods: &[(String, String)], holder: Option<&str>) {
        let holder = holder.map(str::to_owned);
        for (_, name) in pods {
            self.change(name, |pod| pod.held_by = holder.clone());
        }
    }

    /// Somebody deletes a pod.
    pub(crate) fn delete(self: &Arc<Self>, name: &str) {
        let mut state = self.state.lock().unwrap();
        let deployments = state.deployments.values_mut();
        let found = deployments.into_iter().find_map(|deployment| {
            let at = deployment.pods.iter().position(|pod| pod.name == name)?;
            Some(deployment.pods.remove(at))
        });
        let pod = found.unwrap();
        state.bury(&pod);
        drop(state);
        self.reconcile_soon(pod.key);
    }

    /// Waits until every activator has seen what happened so far.
    pub(crate) async fn seen_by_all(&self) {
        let seen: Vec<_> = {
            let state = self.state.lock().unwrap();
            let watches = state
                .views
                .iter()
                .flat_map(|view| [&view.pods, &view.deployments]);
            let ask = |watch: &mpsc::UnboundedSender<Seen>| {
                let (done, seen) = oneshot::channel();
                watch.send(Seen::Everything(done)).unwrap();
                seen
            };
            watches.map(ask).collect()
        };
        for seen in seen {
            seen.await.unwrap();
        }
    }

    /// Applies what one watch shows, in order.
    fn follow(
        self: &Arc<Self>,
        identity: &str,
        entrypoints: &Arc<Entrypoints>,
    ) -> mpsc::UnboundedSender<Seen> {
        let (watch, mut events) = mpsc::unbounded_channel();
        let (cluster, identity, entrypoints) =
            (self.clone(), identity.to_owned(), entrypoints.clone());
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                cluster.step().await;
                show(event, &identity, &entrypoints);
            }
        });
        watch
    }

    fn scale(self: &Arc<Self>, key: &Key, replicas: usize) {
        let mut state = self.state.lock().unwrap();
        state.deployments.get_mut(key).unwrap().replicas = replicas;
        state.tell_deployment(key);
        drop(state);
        self.reconcile_soon(key.clone());
    }

    fn reconcile_soon(self: &Arc<Self>, key: Key) {
        let cluster = self.clone();
        tokio::spawn(async move {
            cluster.step().await;
            cluster.reconcile(&key);
        });
    }

    /// What a ReplicaSet does: it makes what is missing, and deletes first what is not ready, then what costs least, then the youngest.
    fn reconcile(self: &Arc<Self>, key: &Key) {
        let mut state = self.state.lock().unwrap();
        loop {
            let State {
                deployments, pods, ..
            } = &mut *state;
            let deployment = deployments.get_mut(key).unwrap();
            if deployment.pods.len() < deployment.replicas {
                *pods += 1;
                let pod = Pod {
                    key: key.clone(),
                    number: *pods,
                    name: format!("i{pods}"),
                    cost: 0,
                    held_by: None,
                    process: None,
                    is_ready: false,
                    is_broken: false,
                };
                deployment.pods.push(pod.clone());
                let booting = deployment.pods.iter().filter(|pod| !pod.is_ready).count();
                state.most_booting = state.most_booting.max(booting);
                state.tell_pod(&pod);
                tokio::spawn(self.clone().boot(pod));
            } else if deployment.pods.len() > deployment.replicas {
                let order = |pod: &Pod| (pod.is_ready, pod.cost, Reverse(pod.number));
                let victim = deployment.pods.iter().enumerate();
                let victim = victim.min_by_key(|(_, pod)| order(pod)).unwrap().0;
                let pod = deployment.pods.remove(victim);
                state.bury(&pod);
            } else {
                return;
            }
        }
    }

    async fn boot(self: Arc<Self>, pod: Pod) {
        self.step().await;
        let process = {
            let mut state = self.state.lock().unwrap();
            let program = state.programs.pop_front().unwrap_or(Program::Scripted);
            let process = Process::start(pod.name.clone(), program, 1, self.journal.clone());
            state.made.push(process.clone());
            process
        };
        let is_there = self.change(&pod.name, |pod| {
            (pod.process, pod.is_ready) = (Some(process.clone()), true);
        });
        if !is_there {
            return process.leave().await;
        }
        process.ended().await;
        self.step().await;
        if process.has_crashed() {
            self.change(&pod.name, |pod| {
                (pod.is_ready, pod.is_broken) = (false, true);
            });
        }
    }

    /// False if the pod is gone.
    fn change(&self, name: &str, change: impl FnOnce(&mut Pod)) -> bool {
        let mut state = self.state.lock().unwrap();
        let mut pods = state.deployments.values_mut().flat_map(|d| &mut d.pods);
        let Some(pod) = pods.find(|pod| pod.name == name) else {
            return false;
        };
        change(pod);
        let pod = pod.clone();
        state.tell_pod(&pod);
        true
    }

    fn is_attached(&self, identity: &str) -> bool {
        let state = self.state.lock().unwrap();
        state.views.iter().any(|view| view.identity == identity)
    }

    /// The time that anything takes in a cluster: none, one or two milliseconds.
    async fn step(&self) {
        match self.steps.fetch_add(1, Ordering::Relaxed) * 7 % 5 {
            0 | 1 => tokio::task::yield_now().await,
            milliseconds => sleep(Duration::from_millis(milliseconds / 2)).await,
        }
    }
}

/// What one activator does in the cluster.
#[derive(Clone, Debug)]
struct Hands {
    cluster: Arc<Cluster>,
    identity: String,
}

impl Hands {
    /// An activator that vanished writes nothing more.
    async fn is_there(&self) -> bool {
        let is_there = self.cluster.is_attached(&self.identity);
        self.cluster.step().await;
        is_there
    }
}

impl activator::cluster::Cluster for Hands {
    async fn scale(&self, entrypoint: &Arc<Entrypoint>) {
        if !self.is_there().await {
            return;
        }
        let replicas = entrypoint.replicas();
        self.cluster.scale(&entrypoint.key, replicas as usize);
        self.cluster.step().await;
        entrypoint.scaled(Some(replicas));
    }

    async fn mark(&self, entrypoint: &Arc<Entrypoint>, pods: Vec<(Mark, String)>) {
        if !self.is_there().await {
            return;
        }
        let (ids, names): (Vec<_>, Vec<_>) = pods.into_iter().unzip();
        for name in names {
            let cost = {
                let mut state = self.cluster.state.lock().unwrap();
                state.costs -= 1;
                state.costs
            };
            self.cluster.change(&name, |pod| pod.cost = cost);
        }
        self.cluster.step().await;
        entrypoint.marked(&ids);
    }

    fn freeze(&self, entrypoint: &Arc<Entrypoint>, id: InstanceId, _: &str) {
        entrypoint.frozen(id);
    }

    fn thaw(&self, entrypoint: &Arc<Entrypoint>, id: InstanceId, _: &str) {
        entrypoint.thawed(id);
    }

    async fn release(&self, _: &Arc<Entrypoint>, pod: String) {
        if self.is_there().await {
            self.cluster.change(&pod, |pod| pod.held_by = None);
        }
    }

    fn report(&self, _: &Arc<Entrypoint>, report: &BootReport) {
        self.cluster
            .state
            .lock()
            .unwrap()
            .reports
            .push(report.clone());
    }
}

impl State {
    fn tell_deployment(&self, key: &Key) {
        let replicas = self.deployments[key].replicas;
        for view in &self.views {
            let seen = Seen::Deployment(key.clone(), replicas);
            view.deployments.send(seen).ok();
        }
    }

    fn tell_pod(&self, pod: &Pod) {
        for view in &self.views {
            view.pods.send(Seen::Pod(pod.clone())).ok();
        }
    }

    fn bury(&mut self, pod: &Pod) {
        for view in &self.views {
            view.pods.send(Seen::Gone(pod.key.clone(), pod.number)).ok();
        }
        let Some(process) = pod.process.clone() else {
            return;
        };
        if process.inside() > 0 && !process.has_crashed() {
            self.deleted_busy.push(pod.name.clone());
        }
        tokio::spawn(async move { process.leave().await });
    }
}

/// What the activator does with an event of a watch.
fn show(event: Seen, identity: &str, entrypoints: &Entrypoints) {
    match event {
        Seen::Pod(pod) => {
            let entrypoint = entrypoints.get_or_add(&pod.key);
            let held = pod.held_by.is_some_and(|holder| holder != identity);
            let id = entrypoint.seen(&pod.number.to_string(), &pod.name, held, 0);
            entrypoint.scheduled(id);
            if let Some(process) = &pod.process {
                entrypoint.located(id, process.address);
            }
            let word = |reason: &str| BootFailure {
                reason: reason.to_owned(),
                message: "the cluster says so".to_owned(),
            };
            if pod.is_broken {
                entrypoint.broke(id, word("Error"));
            } else {
                entrypoint.waits_for(id, word("NotListening"));
            }
        }
        Seen::Gone(key, number) => entrypoints.get_or_add(&key).gone(&number.to_string()),
        Seen::Deployment(key, replicas) => {
            let replicas = u32::try_from(replicas).unwrap();
            entrypoints.get_or_add(&key).observed(Some(replicas));
        }
        Seen::Everything(done) => {
            done.send(()).ok();
        }
    }
}
