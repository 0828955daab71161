//! Thousands of Functions on a cluster whose node is this machine: how long until all are ready, what memory one costs, what is written
//! when nothing happens, and how soon an edit is reconciled.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Args;
use crds::Function;
use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Namespace};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use procfs::process::all_processes;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::statistics::quantile;
use crate::{namespace::condition, platform, until};

/// Writes of this program at once.
const AT_ONCE: usize = 16;
/// Between two looks at an edited Function: a tenth of the least that is of interest.
const LOOK: Duration = Duration::from_millis(5);
/// After the last change, so that what follows it is over: counts in statuses are reported late, old revisions linger.
const CALM: Duration = Duration::from_secs(45);
/// For all Functions to become ready, or one edit to be reconciled.
const PATIENCE: Duration = Duration::from_secs(1800);
const MANAGER: &str = "thaw-bench";
/// Kinds that Thaw, and what follows from its writes, would change. Leases are renewed by design.
const KINDS: [&str; 10] = [
    "functions",
    "deployments",
    "replicasets",
    "pods",
    "services",
    "endpointslices",
    "networkpolicies",
    "ingresses",
    "httproutes",
    "events",
];
const WRITES: [&str; 6] = [
    "POST",
    "PUT",
    "PATCH",
    "APPLY",
    "DELETE",
    "DELETECOLLECTION",
];

/// How much of it.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Functions, each with three entrypoints.
    #[arg(long, default_value_t = 1000)]
    functions: usize,
    /// Namespaces that they are spread over.
    #[arg(long, default_value_t = 10)]
    namespaces: usize,
    /// How long nothing happens.
    #[arg(long, default_value = "10m")]
    rest: humantime::Duration,
    /// Edits, one after the other.
    #[arg(long, default_value_t = 200)]
    edits: usize,
}

/// Measures and prints. What it made is deleted in the end, unless it fails.
///
/// # Errors
/// Something was not written or not ready.
pub async fn run(settings: &Settings) -> Result<()> {
    let client = Client::try_default().await?;
    let namespaces = make_namespaces(&client, settings.namespaces).await?;
    let before = memory()?;
    let begun = Instant::now();
    make_functions(&client, &namespaces, settings.functions).await?;
    let applied = begun.elapsed();
    let all = all_ready(&client, settings.functions).await?;
    println!(
        "{} Functions of 3 entrypoints: applied in {applied:.1?}, all ready after {:.1?}",
        settings.functions,
        begun.elapsed()
    );
    followed(&client, &namespaces).await?;
    println!(
        "Kubernetes' controllers have followed after {:.1?}",
        begun.elapsed()
    );
    sleep(CALM).await;
    print_memory(&before, settings.functions)?;
    rest(&client, settings.rest.into()).await?;
    edits(&client, &all, settings.edits).await?;
    print_memory(&before, settings.functions)?;
    remove(&client, &namespaces).await
}

async fn make_namespaces(client: &Client, count: usize) -> Result<Vec<String>> {
    let api = Api::<Namespace>::all(client.clone());
    let names: Vec<_> = (0..count).map(|n| format!("scale-{n}")).collect();
    for name in &names {
        let object = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        api.create(&PostParams::default(), &object).await?;
    }
    Ok(names)
}

async fn make_functions(client: &Client, namespaces: &[String], count: usize) -> Result<()> {
    let one = |number: usize| async move {
        let namespace = &namespaces[number % namespaces.len()];
        apply(client, namespace, &manifest(&format!("f{number}"), 0)).await
    };
    let all = stream::iter((0..count).map(one)).buffer_unordered(AT_ONCE);
    all.try_for_each(|_| async { Ok(()) }).await
}

/// A Function as a team would write it. Another `edit` is another revision of the first entrypoint, and takes the traffic unseen: nothing
/// here boots.
fn manifest(name: &str, edit: usize) -> Value {
    let entrypoint = |name: &str, edit: usize| {
        json!({
            "name": name,
            "path": format!("/api/{name}"),
            "command": ["node", format!("{name}.js")],
            "env": [{"name": "EDIT", "value": edit.to_string()}],
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
            "verify": {"when": "Never"},
        })
    };
    json!({
        "apiVersion": "thaw.dev/v1alpha1",
        "kind": "Function",
        "metadata": {"name": name},
        "spec": {
            "image": "registry.example.com/shop:1.4.2",
            "entrypoints": [entrypoint("orders", edit), entrypoint("items", 0), entrypoint("search", 0)],
        },
    })
}

async fn apply(client: &Client, namespace: &str, manifest: &Value) -> Result<Function> {
    let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
    let params = PatchParams::apply(MANAGER).force();
    let api = Api::<Function>::namespaced(client.clone(), namespace);
    Ok(api.patch(name, &params, &Patch::Apply(manifest)).await?)
}

async fn all_ready(client: &Client, count: usize) -> Result<Vec<Function>> {
    let api = Api::<Function>::all(client.clone());
    until("all Functions are ready", PATIENCE, async || {
        let all = api.list(&ListParams::default()).await?.items;
        let unready = all.iter().filter(|f| condition(f, "Ready").0 != "True");
        let unready = unready.count();
        ensure!(
            all.len() >= count && unready == 0,
            "{unready} of {} are not",
            all.len()
        );
        Ok(all)
    })
    .await
}

/// Waits until Kubernetes' own controllers are done with every Deployment, which takes them minutes at their default rates.
async fn followed(client: &Client, namespaces: &[String]) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    for name in namespaces {
        let api = Api::<Deployment>::namespaced(client.clone(), name);
        loop {
            let all = api.list(&ListParams::default()).await?.items;
            let observed = |it: &Deployment| it.status.as_ref()?.observed_generation;
            let behind = all
                .iter()
                .filter(|it| observed(it) < it.metadata.generation);
            let behind = behind.count();
            if behind == 0 {
                break;
            }
            ensure!(
                Instant::now() < end,
                "{behind} Deployments of {name} are left"
            );
            sleep(Duration::from_secs(5)).await;
        }
    }
    Ok(())
}

/// Resident memory of both components, in bytes.
fn memory() -> Result<BTreeMap<&'static str, u64>> {
    let mut found = BTreeMap::new();
    for process in all_processes()? {
        // One that has just gone is none of ours.
        let Ok(stat) = process.and_then(|process| process.stat()) else {
            continue;
        };
        for component in ["thaw-operator", "thaw-activator"] {
            if stat.comm == component {
                *found.entry(component).or_default() += stat.rss * procfs::page_size();
            }
        }
    }
    ensure!(
        found.len() == 2,
        "operator and activator run on another machine: {found:?}"
    );
    Ok(found)
}

fn print_memory(before: &BTreeMap<&'static str, u64>, functions: usize) -> Result<()> {
    for (component, now) in memory()? {
        let before = before[component];
        let each = now.saturating_sub(before) as f64 / functions as f64 / 1024.0;
        let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
        println!(
            "{component}: {:.1} MiB, {:.1} before: {each:.1} KiB for each Function",
            mib(now),
            mib(before)
        );
    }
    Ok(())
}

/// Nothing happens, and nothing may be written.
async fn rest(client: &Client, time: Duration) -> Result<()> {
    let before = writes(client).await?;
    sleep(time).await;
    let mut after = writes(client).await?;
    after.retain(|what, count| *count > before.get(what).copied().unwrap_or_default());
    let count = after
        .iter()
        .map(|(what, count)| count - before.get(what).copied().unwrap_or_default())
        .fold(0.0, |sum, count| sum + count);
    println!("at rest for {time:?}: {count} writes {after:?}");
    Ok(())
}

/// What the API server was asked to write so far, by its own count.
async fn writes(client: &Client) -> Result<BTreeMap<String, f64>> {
    let request = http::Request::get("/metrics").body(Vec::new())?;
    let text = client.request_text(request).await?;
    let mut all = platform::samples(&text, "apiserver_request_total");
    all.retain(|labels, _| {
        let is = |label: &str, values: &[&str]| {
            let mut values = values.iter();
            values.any(|value| labels.contains(&format!("{label}=\"{value}\"")))
        };
        is("verb", &WRITES) && is("resource", &KINDS)
    });
    ensure!(!all.is_empty(), "the API server counts no writes");
    Ok(all)
}

/// Edits random-looking Functions, each a new revision, and waits until the status speaks of it.
async fn edits(client: &Client, all: &[Function], count: usize) -> Result<()> {
    let mut times = vec![];
    for edit in 1..=count {
        // A prime step visits them in no order that a cache would like.
        let function = &all[edit * 7919 % all.len()];
        let namespace = function.namespace().context("it is namespaced")?;
        let manifest = manifest(&function.name_any(), edit);
        let begun = Instant::now();
        let edited = apply(client, &namespace, &manifest).await?;
        reconciled(client, &namespace, &edited).await?;
        times.push(begun.elapsed().as_secs_f64());
    }
    println!(
        "{count} edits, one after the other: reconciled after p50 {:.3} s, p99 {:.3} s, max {:.3} s",
        quantile(&times, 0.5),
        quantile(&times, 0.99),
        quantile(&times, 1.0)
    );
    Ok(())
}

/// Until traffic goes to what was edited.
async fn reconciled(client: &Client, namespace: &str, edited: &Function) -> Result<()> {
    let api = Api::<Function>::namespaced(client.clone(), namespace);
    let end = Instant::now() + PATIENCE;
    loop {
        let found = api.get(&edited.name_any()).await?;
        let status = found.status.unwrap_or_default();
        let is_observed = status.observed_generation >= edited.metadata.generation;
        let mut entrypoints = status.entrypoints.iter();
        if is_observed && entrypoints.all(|e| e.revision == e.ready_revision) {
            return Ok(());
        }
        ensure!(
            Instant::now() < end,
            "{} is not reconciled",
            edited.name_any()
        );
        sleep(LOOK).await;
    }
}

async fn remove(client: &Client, namespaces: &[String]) -> Result<()> {
    let api = Api::<Namespace>::all(client.clone());
    let params = DeleteParams::default();
    try_join_all(namespaces.iter().map(|name| api.delete(name, &params))).await?;
    until("the namespaces are gone", PATIENCE, async || {
        for name in namespaces {
            ensure!(api.get_opt(name).await?.is_none(), "{name} is there");
        }
        Ok(())
    })
    .await
}
