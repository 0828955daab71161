//! An activator as the process runs it, but for the API server: sockets, proxy, routes, entrypoints.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use activator::{
    budget::Caps,
    engine::Takeover,
    entrypoint::{Entrypoint, Key},
    entrypoints::{self, Entrypoints},
    held,
    metrics::Metrics,
    proxy::{Proxy, Rate},
    routes::{Host, Route},
    server::{self, Door, Health, Server},
    settings::Edge,
};
use crds::{
    entrypoint::{Limits, Scale, Timeouts},
    function::{OnDisconnect, PathMatch, Visibility},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    client::{Answer, Client},
    cluster::Cluster,
    eventually,
};

/// The host of the function that most stories are about.
pub(crate) const HOST: &str = "shop--prod.thaw.test";

/// What a story changes in the manifest. No clock is short by default.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manifest {
    pub(crate) max: u32,
    pub(crate) idle_after: Duration,
    pub(crate) queue: usize,
    pub(crate) request_bytes: u64,
    pub(crate) buffer_bytes: u64,
    pub(crate) body_rate: Option<Rate>,
    pub(crate) on_disconnect: OnDisconnect,
    pub(crate) queue_timeout: Duration,
    pub(crate) boot: Duration,
    pub(crate) first_byte: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    pub(crate) duration: Option<Duration>,
}

impl Default for Manifest {
    fn default() -> Self {
        Self::LONG
    }
}

impl Manifest {
    /// No clock that a story could meet.
    pub(crate) const LONG: Self = {
        let long = Duration::from_secs(120);
        Self {
            max: 100,
            idle_after: long,
            queue: 1000,
            request_bytes: 100 << 20,
            buffer_bytes: 64 << 10,
            body_rate: None,
            on_disconnect: OnDisconnect::Finish,
            queue_timeout: long,
            boot: long,
            first_byte: Some(long),
            idle: Some(long),
            duration: Some(long),
        }
    };

    fn timeouts(&self) -> Timeouts {
        Timeouts {
            queue: Some(self.queue_timeout),
            boot: Some(self.boot),
            first_byte: self.first_byte,
            idle: self.idle,
            duration: self.duration,
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            queue: self.queue,
            request_bytes: self.request_bytes,
            buffer_bytes: self.buffer_bytes,
        }
    }

    pub(crate) fn settings(&self) -> activator::engine::Settings {
        let scale = Scale {
            min: 0,
            max: self.max,
            concurrency: 1,
            burst: crds::function::Burst::PerRequest,
            idle_after: self.idle_after,
        };
        entrypoints::settings(&scale, &self.limits(), &self.timeouts())
    }
}

/// An activator, and the function `shop` with the entrypoint `web` at `/`.
#[derive(Debug)]
pub(crate) struct Thaw {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) entrypoints: Arc<Entrypoints>,
    pub(crate) web: Arc<Entrypoint>,
    pub(crate) stop: CancellationToken,
    pub(crate) address: SocketAddr,
    pub(crate) serving: JoinHandle<()>,
    server: Arc<Server>,
    metrics: Arc<Metrics>,
    proxy: Arc<Proxy>,
}

impl Thaw {
    /// The owner in a cluster of its own.
    pub(crate) async fn start(manifest: Manifest) -> Self {
        Self::start_within(Caps::default(), manifest).await
    }

    /// The same with bounds that all entrypoints share.
    pub(crate) async fn start_within(caps: Caps, manifest: Manifest) -> Self {
        Self::only(caps, Edge::default(), held::Limits::default(), manifest).await
    }

    /// The same with other bounds on what clients may do.
    pub(crate) async fn start_behind(edge: Edge, manifest: Manifest) -> Self {
        Self::only(Caps::default(), edge, held::Limits::default(), manifest).await
    }

    /// The same, and it holds only so much for all entrypoints.
    pub(crate) async fn start_holding(limits: held::Limits, manifest: Manifest) -> Self {
        Self::only(Caps::default(), Edge::default(), limits, manifest).await
    }

    async fn only(caps: Caps, edge: Edge, limits: held::Limits, manifest: Manifest) -> Self {
        let bounds = (caps, edge, limits);
        let thaw = Self::standby_within(bounds, &Arc::default(), "only", manifest).await;
        thaw.entrypoints.own(Takeover::Released);
        thaw
    }

    /// One more activator of a cluster. It has seen what is there.
    pub(crate) async fn standby(
        cluster: &Arc<Cluster>,
        identity: &str,
        manifest: Manifest,
    ) -> Self {
        let bounds = (Caps::default(), Edge::default(), held::Limits::default());
        Self::standby_within(bounds, cluster, identity, manifest).await
    }

    async fn standby_within(
        (caps, edge, limits): (Caps, Edge, held::Limits),
        cluster: &Arc<Cluster>,
        identity: &str,
        manifest: Manifest,
    ) -> Self {
        let metrics = Arc::new(Metrics::default());
        let entrypoints = cluster.attach(identity, metrics.clone(), caps, limits);
        let proxy = Arc::new(Proxy {
            routes: Default::default(),
            metrics: metrics.clone(),
            body_rate: manifest.body_rate,
            trusted: Default::default(),
        });
        let listener = server::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (health, stop) = (Arc::new(Health::default()), CancellationToken::new());
        let server = Server::new(proxy.clone(), health, edge);
        let serving = server.clone().serve(listener, Door::Public, stop.clone());
        let serving = tokio::spawn(serving);
        let web = entrypoints.get_or_add(&key("shop", "web"));
        let thaw = Self {
            cluster: cluster.clone(),
            entrypoints,
            web,
            stop,
            address,
            serving,
            server,
            metrics,
            proxy,
        };
        thaw.publish("shop", &[("web", "/", PathMatch::Prefix)], manifest);
        cluster.seen_by_all().await;
        thaw
    }

    /// Routes a function's entrypoints and makes their Deployments.
    pub(crate) fn publish(
        &self,
        function: &str,
        paths: &[(&str, &str, PathMatch)],
        manifest: Manifest,
    ) {
        self.publish_in("prod", function, paths, manifest);
    }

    /// The same in another namespace.
    pub(crate) fn publish_in(
        &self,
        namespace: &str,
        function: &str,
        paths: &[(&str, &str, PathMatch)],
        manifest: Manifest,
    ) {
        let route = |(entrypoint, path, path_match): &(&str, &str, PathMatch)| {
            let key = key_in(namespace, function, entrypoint);
            let target = self.entrypoints.get_or_add(&key);
            target.configure(manifest.settings());
            self.cluster.deploy(&key);
            lead((entrypoint, path, *path_match), target, manifest)
        };
        let paths = paths.iter().map(route).collect();
        self.lead(namespace, function, paths);
    }

    /// Routes the entrypoints of a bundle of `shop` and makes its Deployment.
    pub(crate) fn publish_bundle(
        &self,
        bundle: &str,
        paths: &[(&str, &str, PathMatch)],
        manifest: Manifest,
    ) {
        let key = key("shop", bundle);
        let target = self.entrypoints.get_or_add(&key);
        target.configure(manifest.settings());
        self.cluster.deploy(&key);
        let paths = paths
            .iter()
            .map(|path| lead(*path, target.clone(), manifest));
        self.lead("prod", "shop", paths.collect());
    }

    /// A revision of `web` takes the traffic, and the one before retires.
    pub(crate) fn move_traffic(&self, to: &Arc<Entrypoint>, manifest: Manifest) {
        to.configure(manifest.settings());
        let route = lead(("web", "/", PathMatch::Prefix), to.clone(), manifest);
        self.lead("prod", "shop", [route].into());
        self.web.retire();
    }

    fn lead(&self, namespace: &str, function: &str, paths: BTreeMap<String, Arc<Route>>) {
        let host = Arc::new(Host {
            function: function.to_owned(),
            visibility: Default::default(),
            paths,
        });
        let name = format!("{function}--{namespace}.thaw.test");
        let routes = self.proxy.routes.load().with(&name, Some(host.clone()));
        let routes = routes.with_inside(&format!("{function}.{namespace}"), Some(host));
        self.proxy.routes.store(Arc::new(routes));
    }

    /// From now on only callers inside the cluster may call this function.
    pub(crate) fn limit_to_the_cluster(&self, function: &str) {
        let name = format!("{function}--prod.thaw.test");
        let routes = self.proxy.routes.load();
        let host = routes.host(&name, Door::Public).unwrap();
        let host = Arc::new(Host {
            function: host.function.clone(),
            visibility: Visibility::Cluster,
            paths: host.paths.clone(),
        });
        let inside = format!("{function}.prod");
        let routes = routes
            .with(&name, Some(host.clone()))
            .with_inside(&inside, Some(host));
        self.proxy.routes.store(Arc::new(routes));
    }

    /// One more door.
    pub(crate) fn open(&self, door: Door) -> SocketAddr {
        let listener = server::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let server = self.server.clone();
        tokio::spawn(server.serve(listener, door, self.stop.clone()));
        address
    }

    /// From now on idle instances go after this long.
    pub(crate) fn idle_after(&self, idle_after: Duration) {
        let manifest = Manifest {
            idle_after,
            ..Manifest::default()
        };
        self.web.configure(manifest.settings());
    }

    /// A client with a connection of its own.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// One request on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.client().await.get(path).await
    }

    /// The same without waiting for it.
    pub(crate) fn getting(&self, path: &str) -> JoinHandle<Answer> {
        let (address, path) = (self.address, path.to_owned());
        tokio::spawn(async move { Client::connect(address).await.get(&path).await })
    }

    /// Invocations that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.web.census().0
    }

    /// Waits until this many requests are inside instances.
    pub(crate) async fn inside(&self, count: u32) {
        let what = format!("{count} requests inside");
        eventually(&what, || self.cluster.journal.inside() == count).await;
    }

    /// Waits until this many requests wait.
    pub(crate) async fn queued(&self, count: usize) {
        eventually(&format!("{count} requests wait"), || {
            self.waiting() == count
        })
        .await;
    }

    /// Waits until nothing waits, runs or is there, and checks what must hold after every story.
    pub(crate) async fn at_zero(&self) {
        let quiet = || {
            let (waiting, running, census) = self.web.census();
            let known = census.booting + census.idle + census.busy + census.draining;
            (waiting, running, known) == (0, 0, 0) && self.cluster.pods().is_empty()
        };
        eventually("everything is at zero", quiet).await;
        self.keeps_its_promises();
    }

    /// How many requests Thaw answered with this code, without an entrypoint.
    pub(crate) fn rejected(&self, code: &str) -> u64 {
        let nowhere = r#"namespace="",function="",entrypoint="""#;
        self.rejected_at(nowhere, code)
    }

    /// How many it answered with this code on behalf of an entrypoint or bundle of `shop`.
    pub(crate) fn rejected_by(&self, entrypoint: &str, code: &str) -> u64 {
        let of_shop = r#"namespace="prod",function="shop""#;
        self.rejected_at(&format!("{of_shop},entrypoint={entrypoint:?}"), code)
    }

    fn rejected_at(&self, place: &str, code: &str) -> u64 {
        let text = self.metrics.text(self.entrypoints.all().iter());
        let labels = format!("{{{place},code={code:?}}}");
        let line = text.lines().find_map(|line| {
            line.strip_prefix("thaw_rejected_total")?
                .strip_prefix(&labels)
        });
        line.map_or(0, |count| count.trim().parse().unwrap())
    }

    /// No instance had more than one request at once.
    pub(crate) fn keeps_its_promises(&self) {
        assert_eq!(self.cluster.journal.overlaps(), 0, "overlaps");
        let text = self.metrics.text(self.entrypoints.all().iter());
        let over = text
            .lines()
            .filter(|line| line.starts_with("thaw_over_admissions_total"));
        for line in over {
            assert!(line.ends_with(" 0"), "{line}");
        }
    }
}

fn lead(
    (entrypoint, path, path_match): (&str, &str, PathMatch),
    target: Arc<Entrypoint>,
    manifest: Manifest,
) -> (String, Arc<Route>) {
    let route = Route {
        path: path.to_owned(),
        path_match,
        entrypoint: entrypoint.to_owned(),
        target: Ok(target),
        limits: manifest.limits(),
        timeouts: manifest.timeouts(),
        on_disconnect: manifest.on_disconnect,
    };
    (path.to_owned(), Arc::new(route))
}

/// Names an entrypoint.
pub(crate) fn key(function: &str, entrypoint: &str) -> Key {
    key_in("prod", function, entrypoint)
}

fn key_in(namespace: &str, function: &str, entrypoint: &str) -> Key {
    Key {
        namespace: namespace.to_owned(),
        function: function.to_owned(),
        entrypoint: entrypoint.to_owned(),
        revision: "r1".to_owned(),
    }
}
