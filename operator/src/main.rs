//! `thaw-operator`: waits to lead, then turns Functions into Deployments until it is told to stop.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;
use clap::Parser;
use kube::runtime::events::{Recorder, Reporter};
use operator::{
    admin::{Admin, Health},
    client, controller,
    hosts::Claims,
    images::Images,
    leader::{self, Leader},
    memory::Memory,
    metrics::Metrics,
    observe::Caches,
    reconcile::Context,
    run::run,
    settings::Settings,
};
use prometheus_client::registry::Registry;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let settings = Settings::parse();
    settings.log_format.start();
    let (namespace, identity) = (&settings.namespace, &settings.identity);
    let name = crds::names::OPERATOR;
    let plain = client::connect().await.context("find the API server")?;

    let platform = settings.clone().platform();
    let (caches, writers) = Caches::of(&platform.kinds());
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry, caches.clone());
    // Its renewals wait for nothing.
    let leader = Leader::new(plain.clone(), namespace, name, identity);
    let client = client::polite(leader.fence().around(plain));
    let health = Health::new(leader.renewed(), leader::DURATION);
    let admin = Admin::bind(settings.admin_listen, health.clone(), registry);
    let admin = tokio::spawn(admin.await.context("listen for probes")?.serve());

    let reporter = Reporter {
        controller: name.to_owned(),
        instance: Some(identity.clone()),
    };
    let (images, inquiries) = Images::new(settings.images());
    let context = Arc::new(Context {
        configs: settings.configs(),
        images,
        recorder: Recorder::new(client.clone(), reporter),
        client,
        caches,
        memory: Memory::default(),
        claims: Claims::default(),
        platform,
    });
    let work = |stop| controller::run(context, writers, inquiries, metrics, health, stop);
    let end = run(leader, work).await.context("listen for signals")?;
    admin.abort();
    Ok(end)
}
