//! One story in its own namespace. When it goes wrong, what the cluster knows about it is printed before the namespace goes.

use std::{env, panic::AssertUnwindSafe, time::Duration};

use anyhow::{Context, Result};
use futures::FutureExt;
use k8s_openapi::api::core::v1::Namespace as Object;
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde_json::json;
use tokio::time::Instant;

use crate::{Namespace, platform, program::attempt};

/// A pod that ignores SIGTERM holds its namespace this long at most, with time to spare.
const EMPTIED: Duration = Duration::from_secs(90);

/// Tells a story in a namespace of its own, whose name begins with `name`, and removes it afterwards. The namespace enforces the
/// restricted Pod Security Standard. `THAW_E2E_KEEP=1` keeps it.
///
/// # Errors
/// What the story says.
///
/// # Panics
/// When the story does, after having printed what the cluster knows.
pub async fn story(name: &str, tell: impl AsyncFnOnce(&Namespace) -> Result<()>) -> Result<()> {
    let client = Client::try_default()
        .await
        .context("connect to the cluster that KUBECONFIG names: see e2e/README.md")?;
    platform::serving().await?;
    let namespace = make(client, name).await?;

    let begun = Instant::now();
    let told = AssertUnwindSafe(tell(&namespace)).catch_unwind().await;
    if !matches!(told, Ok(Ok(()))) {
        report(&namespace.name).await;
    }
    eprintln!("{name} took {:?}", begun.elapsed());
    if env::var("THAW_E2E_KEEP").is_err()
        && let Err(error) = remove(&namespace).await
    {
        // What went wrong in the story is what a person has to read.
        if matches!(told, Ok(Ok(()))) {
            return Err(error);
        }
        eprintln!("{} is still there: {error:#}", namespace.name);
    }
    told.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

async fn make(client: Client, name: &str) -> Result<Namespace> {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let name = format!("{name}-{}", &unique[..6]);
    let object: Object = serde_json::from_value(json!({
        "metadata": {
            "name": name,
            "labels": {
                "thaw-story": "true",
                "pod-security.kubernetes.io/enforce": "restricted",
            },
        },
    }))?;
    Api::all(client.clone())
        .create(&PostParams::default(), &object)
        .await?;
    Ok(Namespace { name, client })
}

/// Deletes the namespace and waits until its pods are gone, so that the next story has the nodes for itself.
async fn remove(namespace: &Namespace) -> Result<()> {
    Api::<Object>::all(namespace.client.clone())
        .delete(&namespace.name, &DeleteParams::default())
        .await?;
    namespace.no_pod_within(EMPTIED).await
}

/// Prints what a person would look at first.
async fn report(namespace: &str) {
    const LOOKS: [(&str, &str); 6] = [
        ("Functions", "get functions -o yaml"),
        ("objects", "get deployments,replicasets,pods -o wide"),
        ("events", "get events --sort-by=.lastTimestamp"),
        ("pods", "describe pods"),
        (
            "operator",
            "-n thaw-system logs --tail=60 deployment/thaw-operator",
        ),
        (
            "activator",
            "-n thaw-system logs --tail=60 deployment/thaw-activator",
        ),
    ];
    for (title, look) in LOOKS {
        let mut arguments = vec!["-n", namespace];
        arguments.extend(look.split(' '));
        match attempt("kubectl", &arguments, "").await {
            Ok(said) => eprintln!("---- {title} of {namespace}\n{}{}", said.out, said.err),
            Err(error) => eprintln!("---- {title} of {namespace}: {error:#}"),
        }
    }
}
