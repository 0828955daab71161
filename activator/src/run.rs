//! Start, ownership, and a stop that loses nothing.

use std::sync::{
    Arc,
    atomic::{AtomicI32, Ordering},
};

use anyhow::{Context, bail};
use kube::Client;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    cluster::{
        carry_out,
        kubernetes::{
            hosts::Hosts,
            orders::Writer,
            owner::{HeldLease, Owner},
            pods::catch_up,
            reports::Reports,
            watch::World,
        },
    },
    entrypoints::Entrypoints,
    metrics::Metrics,
    proxy::Proxy,
    server::{self, Door, Health, Server, descriptors},
    settings::Settings,
};

/// Deletion costs start here and go down; 0 is a pod that was never marked.
const FIRST_COST: i32 = -1;
/// How often a drain looks whether it is over.
const LOOK: std::time::Duration = std::time::Duration::from_millis(50);

/// Runs until SIGTERM or SIGINT, or until another replica takes the ownership.
///
/// # Errors
/// What made the start fail, or that the ownership was lost.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    descriptors::raise();
    let client = Client::try_default()
        .await
        .context("connect to the Kubernetes API server")?;
    let listener = server::listen(settings.listen).context("bind --listen")?;
    let internal = server::listen(settings.internal_listen).context("bind --internal-listen")?;
    let admin = TcpListener::bind(settings.admin_listen)
        .await
        .context("bind --admin-listen")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;

    let metrics = Arc::new(Metrics::default());
    let (orders, ordered) = mpsc::unbounded_channel();
    let entrypoints = Arc::new(Entrypoints::new(
        metrics.clone(),
        orders,
        settings.caps(),
        settings.held(),
    ));
    let proxy = Arc::new(Proxy {
        routes: Default::default(),
        metrics: metrics.clone(),
        body_rate: settings.body_rate(),
        trusted: settings.trusted_proxies.clone(),
    });
    let health = Arc::new(Health::default());
    let (tasks, stop, leave) = (
        TaskTracker::new(),
        CancellationToken::new(),
        CancellationToken::new(),
    );

    let (reports, reporting) = Reports::new(client.clone());
    let costs = Arc::new(AtomicI32::new(FIRST_COST));
    let writer = Writer {
        client: client.clone(),
        reports: reports.clone(),
        leave: leave.clone(),
        held: CancellationToken::new(),
        costs: costs.clone(),
    };
    let (is_synced, synced) = watch::channel(false);
    let world = World::new(
        settings.identity.clone(),
        Hosts::new(settings.domain.clone(), settings.cluster_domain.clone()),
        proxy.clone(),
        entrypoints.clone(),
        reports,
        costs,
        is_synced,
    );
    // These run as long as the process.
    tokio::spawn(reporting);
    tokio::spawn(carry_out(writer.clone(), ordered, tasks.clone()));
    let namespaces = settings.namespaces();
    tokio::spawn(world.follow(client.clone(), namespaces.clone()));
    tokio::spawn(server::admin(
        admin,
        metrics,
        entrypoints.clone(),
        health.clone(),
    ));
    let server = Server::new(proxy, health.clone(), settings.edge);
    let public = server.clone().serve(listener, Door::Public, stop.clone());
    let internal = server.serve(internal, Door::Internal, stop.clone());
    let serving = tokio::spawn(async move {
        tokio::join!(public, internal);
    });
    let owner = Owner::new(
        client.clone(),
        &settings.namespace,
        settings.identity.clone(),
    );
    let mut owning = tokio::spawn(own(
        owner,
        client,
        namespaces,
        entrypoints.clone(),
        health.clone(),
        synced,
        leave.clone(),
    ));
    tracing::info!(listen = %settings.listen, domain = settings.domain, "started");

    let lost = tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        _ = &mut owning => true,
    };
    tracing::info!("draining");
    health.is_draining.store(true, Ordering::Relaxed);
    if !lost {
        sleep(settings.lameduck).await;
    }
    stop.cancel();
    let kept = entrypoints.leave();
    leave.cancel();
    let held = writer.hold(&kept, &settings.identity).await;
    if let Some((owner, lease)) = owned(owning, lost).await?
        // Unmarked, the next owner would take these instances for free: it must find the Lease lapsed and suspect them.
        && held
    {
        owner.release(lease).await;
    }
    drain(
        &entrypoints,
        serving,
        tasks,
        Instant::now() + settings.drain,
    )
    .await;
    if lost {
        bail!("another replica took the ownership");
    }
    Ok(())
}

/// Becomes the owner and stays it. Returns what must be released when told to leave, and `None` if the ownership was lost or never
/// came.
async fn own(
    owner: Owner,
    client: Client,
    namespaces: Vec<String>,
    entrypoints: Arc<Entrypoints>,
    health: Arc<Health>,
    mut synced: watch::Receiver<bool>,
    leave: CancellationToken,
) -> Option<(Owner, HeldLease)> {
    // The sender lives in a task that never ends.
    leave
        .run_until_cancelled(synced.wait_for(|synced| *synced))
        .await?
        .ok()?;
    health.is_synced.store(true, Ordering::Relaxed);
    let (mut held, takeover) = owner.acquire(&leave).await?;
    // The watches may be behind the Lease.
    if leave
        .run_until_cancelled(catch_up(
            &client,
            &namespaces,
            owner.identity(),
            &entrypoints,
        ))
        .await
        .is_some()
    {
        entrypoints.own(takeover);
        tracing::info!(?takeover, "became the owner");
    }
    owner.keep(&mut held, &leave).await.then_some((owner, held))
}

async fn owned(
    owning: tokio::task::JoinHandle<Option<(Owner, HeldLease)>>,
    lost: bool,
) -> anyhow::Result<Option<(Owner, HeldLease)>> {
    // Lost, it was awaited already.
    if lost {
        Ok(None)
    } else {
        owning.await.context("own")
    }
}

/// Waits until every accepted request is answered and every order carried out.
async fn drain(
    entrypoints: &Entrypoints,
    serving: tokio::task::JoinHandle<()>,
    tasks: TaskTracker,
    deadline: Instant,
) {
    let quiet = async {
        serving.await.ok();
        while !entrypoints.is_quiet() {
            sleep(LOOK).await;
        }
        // What the last invocations led to is ordered by now.
        sleep(LOOK).await;
        tasks.close();
        tasks.wait().await;
    };
    match timeout_at(deadline, quiet).await {
        Ok(()) => tracing::info!("drained"),
        Err(_) => tracing::warn!("--drain passed, cutting what still runs"),
    }
}
