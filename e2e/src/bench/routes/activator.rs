//! An activator as the process runs it, before a cluster in which every instance is the backend.

use std::{
    collections::BTreeMap,
    fmt::Display,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use activator::{
    budget::Caps,
    cluster::{Cluster, carry_out},
    engine::{BootReport, InstanceId, Takeover},
    entrypoint::{Entrypoint, Key, Mark},
    entrypoints::{self, Entrypoints},
    instance::Address,
    metrics::Metrics,
    proxy::Proxy,
    routes::{Host, Route},
    server::{Door, Health, Server},
    settings::Edge,
};
use anyhow::Result;
use crds::{
    entrypoint::resolve,
    function::{FunctionSpec, PathMatch, Visibility},
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Entrypoints that the routes lead to, in turn: more would measure cold boots.
const ENTRYPOINTS: usize = 50;

/// The function's manifest; one instance takes all.
const SPEC: &str = "
image: none
entrypoints:
- name: web
  path: /
  scale: {concurrency: 1000, max: 1, idleAfter: 1h}
  freeze: {mode: Never}
";

/// Proxy, routes and entrypoints.
#[derive(Debug)]
pub(super) struct Activator {
    pub(super) port: u16,
    proxy: Arc<Proxy>,
    paths: BTreeMap<String, Arc<Route>>,
    /// Kept, since nothing else keeps it.
    _entrypoints: Entrypoints,
}

/// The host of a route.
pub(super) fn host(route: impl Display) -> String {
    format!("{route}--bench.thaw.test")
}

impl Activator {
    /// With so many routes that stay, each with a host of its own.
    pub(super) async fn start(count: usize, backend: u16) -> Result<Self> {
        let metrics = Arc::new(Metrics::default());
        let (orders, ordered) = mpsc::unbounded_channel();
        let entrypoints =
            Entrypoints::new(metrics.clone(), orders, Caps::default(), Default::default());
        entrypoints.own(Takeover::Released);
        let instances = OneInstance {
            backend: (Ipv4Addr::LOCALHOST, backend).into(),
        };
        tokio::spawn(carry_out(instances, ordered, TaskTracker::new()));
        let proxy = Arc::new(Proxy {
            routes: Default::default(),
            metrics,
            body_rate: None,
            trusted: Default::default(),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (health, never) = (Arc::new(Health::default()), CancellationToken::new());
        let server = Server::new(proxy.clone(), health, Edge::default());
        tokio::spawn(server.serve(listener, Door::Public, never));

        let routes = (0..ENTRYPOINTS).map(|number| route(&entrypoints, number));
        let routes = routes.collect::<Result<Vec<_>>>()?;
        let this = Self {
            port,
            proxy,
            paths: BTreeMap::from([("/".to_owned(), routes[0].clone())]),
            _entrypoints: entrypoints,
        };
        for number in 0..count {
            let route = routes[number % ENTRYPOINTS].clone();
            this.set(&host(number), Some([("/".to_owned(), route)].into()));
        }
        Ok(this)
    }

    fn set(&self, host: &str, paths: Option<BTreeMap<String, Arc<Route>>>) {
        let host_of = paths.map(|paths| Host {
            function: host.to_owned(),
            visibility: Visibility::Public,
            paths,
        });
        let routes = self.proxy.routes.load();
        let routes = routes.with(host, host_of.map(Arc::new));
        self.proxy.routes.store(Arc::new(routes));
    }

    /// One of a hundred hosts besides comes, or goes again; and each time one of those that stay is replaced by its like.
    pub(super) fn change(&self, number: u64) {
        let comes = (number / 100).is_multiple_of(2);
        let paths = comes.then(|| self.paths.clone());
        self.set(&host(format_args!("other-{}", number % 100)), paths);
        self.set(&host(number % 100), Some(self.paths.clone()));
    }
}

/// An entrypoint that takes requests as soon as its instance is there.
fn route(entrypoints: &Entrypoints, number: usize) -> Result<Arc<Route>> {
    let spec: FunctionSpec = serde_yaml::from_str(SPEC)?;
    let manifest = resolve(&spec)?.remove(0);
    let key = Key {
        namespace: "bench".to_owned(),
        function: format!("function-{number}"),
        entrypoint: manifest.name.clone(),
        revision: "0123456789".to_owned(),
    };
    let target = entrypoints.get_or_add(&key);
    target.observed(Some(0));
    target.configure(entrypoints::settings(
        &manifest.scale,
        &manifest.limits,
        &manifest.timeouts,
    ));
    Ok(Arc::new(Route {
        path: manifest.routes[0].path.clone(),
        path_match: PathMatch::Prefix,
        entrypoint: manifest.name,
        target: Ok(target),
        limits: manifest.limits,
        timeouts: manifest.timeouts,
        on_disconnect: manifest.on_disconnect,
    }))
}

/// The backend is the one instance of every entrypoint, and stays.
#[derive(Clone, Debug)]
struct OneInstance {
    backend: SocketAddr,
}

impl Cluster for OneInstance {
    async fn scale(&self, entrypoint: &Arc<Entrypoint>) {
        let replicas = entrypoint.replicas();
        entrypoint.scaled(Some(replicas));
        if replicas > 0 {
            let id = entrypoint.seen("only", "only", false, 0);
            entrypoint.located(id, Address::from(self.backend));
        }
    }

    async fn mark(&self, entrypoint: &Arc<Entrypoint>, instances: Vec<(Mark, String)>) {
        let marks: Vec<_> = instances.into_iter().map(|(mark, _)| mark).collect();
        entrypoint.marked(&marks);
    }

    fn freeze(&self, _: &Arc<Entrypoint>, _: InstanceId, _: &str) {}

    fn thaw(&self, _: &Arc<Entrypoint>, _: InstanceId, _: &str) {}

    async fn release(&self, _: &Arc<Entrypoint>, _: String) {}

    fn report(&self, _: &Arc<Entrypoint>, _: &BootReport) {}
}
