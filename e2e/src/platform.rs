//! Thaw itself: its pods, its metrics, its Helm release. The stories find it installed.

use std::{collections::BTreeMap, env};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams},
};
use tempfile::NamedTempFile;

use crate::{ingress::Call, namespace::SOON, program::run, until};

/// Name of the Helm release.
pub const RELEASE: &str = "thaw";
/// Namespace of the Helm release.
pub const NAMESPACE: &str = "thaw-system";

/// The domain that Thaw was installed with; `THAW_E2E_DOMAIN` says another.
pub fn domain() -> String {
    env::var("THAW_E2E_DOMAIN").unwrap_or_else(|_| "thaw.test".to_owned())
}

/// Where the images are; `THAW_E2E_REGISTRY` says another place.
pub fn registry() -> String {
    env::var("THAW_E2E_REGISTRY").unwrap_or_else(|_| "dev.local".to_owned())
}

/// Whether the cluster is somebody else's, so that its control plane must be left alone.
pub fn is_external() -> bool {
    env::var("THAW_E2E_EXTERNAL").is_ok_and(|external| external == "1")
}

/// Running pods of `operator` or `activator` that nobody asked to go.
///
/// # Errors
/// When they cannot be listed.
pub async fn pods(client: &Client, component: &str) -> Result<Vec<Pod>> {
    let labels = format!("app.kubernetes.io/name=thaw,app.kubernetes.io/component={component}");
    let api = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
    let mut pods = api
        .list(&ListParams::default().labels(&labels))
        .await?
        .items;
    pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    Ok(pods)
}

/// Waits until the ingress controller hands requests for Thaw's domain to the activator.
///
/// # Errors
/// When it does not soon.
pub async fn serving() -> Result<()> {
    let host = format!("nobody--nowhere.{}", domain());
    until("Thaw answers through the ingress", SOON, async || {
        let answer = Call::get(&host, "/").send().await?;
        let code = answer.header("thaw-error");
        ensure!(code == "NoRoute", "{} {}", answer.status, answer.text());
        Ok(())
    })
    .await
    .context("is Thaw installed? See e2e/README.md")
}

/// Kills a component: SIGKILL for its containers, which the kubelet then starts again. On somebody else's cluster its pods are
/// deleted without a grace period, which comes close.
///
/// # Errors
/// When there is none, or it cannot be killed.
pub async fn kill(client: &Client, component: &str) -> Result<()> {
    let api = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
    for pod in pods(client, component).await? {
        if is_external() {
            let at_once = DeleteParams::default().grace_period(0);
            api.delete(&pod.name_any(), &at_once).await?;
            continue;
        }
        signal(&pod, "SIGKILL").await?;
    }
    Ok(())
}

/// Sends a signal to the containers of a pod, whose node is this machine.
///
/// # Errors
/// When one of them is gone.
pub async fn signal(pod: &Pod, signal: &str) -> Result<()> {
    let statuses = pod.status.iter();
    let containers = statuses.flat_map(|status| status.container_statuses.iter().flatten());
    for id in containers.filter_map(|container| container.container_id.as_deref()) {
        let id = id.trim_start_matches("containerd://");
        let socket = format!("{}/containerd.sock", cluster_run());
        let kill = ["tasks", "kill", "--signal", signal, id];
        let at = ["-a", &socket, "-n", "k8s.io"];
        run("ctr", &[at.as_slice(), kill.as_slice()].concat()).await?;
    }
    Ok(())
}

/// Where e2e/cluster keeps its sockets and pid files.
pub fn cluster_run() -> String {
    env::var("KB_RUN").unwrap_or_else(|_| "/run/kubebox".to_owned())
}

/// Samples of a metric of the activator by their labels, through the API server.
///
/// # Errors
/// When no activator tells them.
pub async fn metric(client: &Client, name: &str) -> Result<BTreeMap<String, f64>> {
    let pods = pods(client, "activator").await?;
    let pod = pods.first().context("there is no activator")?.name_any();
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:9090/proxy/metrics");
    let text = client
        .request_text(http::Request::get(path).body(Vec::new())?)
        .await?;
    Ok(samples(&text, name))
}

/// Samples of one metric in the text format. Labels are as they stand there.
pub(crate) fn samples(text: &str, name: &str) -> BTreeMap<String, f64> {
    let of_name = text.lines().filter_map(|line| line.strip_prefix(name));
    of_name
        .filter(|rest| rest.starts_with(['{', ' ']))
        .filter_map(|rest| {
            let (labels, value) = rest.rsplit_once(' ')?;
            Some((labels.to_owned(), value.parse().ok()?))
        })
        .collect()
}

/// Runs `helm` on the release's namespace.
///
/// # Errors
/// With all it said, when it fails.
pub async fn helm(arguments: &[&str]) -> Result<String> {
    let mut all = vec!["-n", NAMESPACE];
    all.extend(arguments);
    run("helm", &all).await
}

/// Upgrades the release with other values, as `--set-json` takes them, for as long as `tell` takes; afterwards it has those that it had
/// before, whatever came of it.
///
/// # Errors
/// What `tell` says, or `helm`.
pub async fn with<T>(values: &str, tell: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
    let file = values_file().await?;
    let before = file.path().display().to_string();
    let told = match upgrade(&["--reset-then-reuse-values", "--set-json", values]).await {
        Ok(()) => tell().await,
        Err(error) => Err(error),
    };
    upgrade(&["--reset-values", "-f", &before]).await?;
    told
}

/// Upgrades the release to the chart of this repository, and waits until it serves.
///
/// # Errors
/// What `helm` says.
pub async fn upgrade(arguments: &[&str]) -> Result<()> {
    let always = ["upgrade", RELEASE, "charts/thaw", "--wait"];
    helm(&[always.as_slice(), arguments].concat()).await?;
    serving().await
}

/// A file of the values that the release was installed with, for `helm -f`.
///
/// # Errors
/// What `helm` says.
pub async fn values_file() -> Result<NamedTempFile> {
    let file = NamedTempFile::with_suffix(".yaml")?;
    let said = helm(&["get", "values", RELEASE, "-o", "yaml"]).await?;
    tokio::fs::write(file.path(), said).await?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_of_the_whole_name_only() {
        let text = "# TYPE a gauge\na{x=\"1\"} 2\na_total{x=\"1\"} 3\na 4\n";
        let found = samples(text, "a");
        assert_eq!(found.get("{x=\"1\"}"), Some(&2.0));
        assert_eq!(found.get(""), Some(&4.0));
        assert_eq!(found.len(), 2);
    }
}
