//! Start and stop of local mode: the same activator with processes of this machine in place of pods.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::Context;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    budget::Caps,
    cluster::{
        carry_out,
        local::{Functions, Local, View, manifest, watch::Watch},
    },
    engine::Takeover,
    entrypoints::Entrypoints,
    held,
    metrics::Metrics,
    proxy::{Proxy, TrustedProxies},
    server::{self, Door, Health, Server},
    settings::{Edge, LocalSettings},
};

/// After SIGINT or SIGTERM instances have this long to end. A second signal ends them at once.
const GRACE: Duration = Duration::from_secs(2);
/// The last answers of instances that have ended have this long to reach their clients.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// Runs until SIGINT or SIGTERM. When it returns, no process of any instance is left.
///
/// # Errors
/// What made the start fail.
pub async fn run(settings: LocalSettings, view: View) -> anyhow::Result<()> {
    let manifests = manifest::read(&settings.files)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, settings.port));
    let listener = server::listen(address)
        .with_context(|| format!("listen on {address}: choose another port with --port"))?;
    let port = listener.local_addr().context("read --port")?.port();
    let mut signals = Signals::new().context("listen for signals")?;

    let metrics = Arc::new(Metrics::default());
    let (orders, ordered) = mpsc::unbounded_channel();
    let entrypoints = Arc::new(Entrypoints::new(
        metrics.clone(),
        orders,
        Caps::default(),
        held::Limits::default(),
    ));
    let proxy = Arc::new(Proxy {
        routes: Default::default(),
        metrics,
        // Whoever develops a function may type its request.
        body_rate: None,
        trusted: TrustedProxies::private(),
    });
    let local = Local::new(view.clone()).context("find the program of this process")?;
    // Nobody else ever owned anything here.
    entrypoints.own(Takeover::Released);
    let mut functions = Functions::new(local.clone(), proxy.clone(), entrypoints.clone());
    functions.apply(manifests.functions);
    manifests.notes.iter().for_each(|note| view.news(note));
    for url in functions.urls(port) {
        view.news(&format!("listening on {url}"));
    }

    // Before anything runs, since it may fail.
    let watch = settings
        .watch
        .then(|| Watch::start(&settings.files, functions, view.clone()));
    let watch = watch.transpose().context("watch files for --watch")?;

    let (health, stop) = (Arc::new(Health::default()), CancellationToken::new());
    let server = Server::new(proxy, health.clone(), Edge::default());
    let serving = tokio::spawn(server.serve(listener, Door::Internal, stop.clone()));
    // These run as long as the process.
    tokio::spawn(carry_out(local.clone(), ordered, TaskTracker::new()));
    tokio::spawn(local.clone().show_status());
    if let Some(watch) = watch {
        tokio::spawn(watch.follow());
    }

    signals.next().await;
    view.news("stopping");
    health.is_draining.store(true, Ordering::Relaxed);
    stop.cancel();
    entrypoints.leave();
    local.end(GRACE);
    tokio::select! {
        () = local.ended_all() => {}
        () = signals.next() => {
            local.end(Duration::ZERO);
            local.ended_all().await;
        }
    }
    timeout(LAST_ANSWERS, serving).await.ok();
    Ok(())
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
