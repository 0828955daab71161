//! A Function goes through a hundred changes, good, bad and hostile: each becomes true, or is refused or reported with a reason, and the
//! end is that of its last manifest alone.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use crds::{
    Function,
    transitions::{End, Transition, Transitions},
};
use e2e::{
    Namespace,
    namespace::{SOON, condition},
    platform, story, until,
};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::Status,
};
use serde_json::{Value, json};

const CHANGES: usize = 100;
const SEED: u64 = 6;
const NAME: &str = "shop";

/// Functions without their types: some of these manifests have none.
fn api(namespace: &Namespace) -> Api<DynamicObject> {
    let functions = ApiResource::erase::<Function>(&());
    Api::namespaced_with(namespace.client.clone(), &namespace.name, &functions)
}

/// Replaces the whole manifest, as `kubectl replace` does. The answer is why it was refused.
async fn put(namespace: &Namespace, transition: &Transition) -> Result<Option<Box<Status>>> {
    let api = api(namespace);
    if transition.is_new {
        api.delete(NAME, &DeleteParams::default()).await?;
        until("it is gone", SOON, async || {
            ensure!(api.get_opt(NAME).await?.is_none(), "it is there");
            Ok(())
        })
        .await?;
    }
    let mut manifest = json!({"apiVersion": "thaw.dev/v1alpha1", "kind": "Function", "metadata": {"name": NAME, "annotations": {}}, "spec": transition.spec});
    if let Some(rollback) = &transition.rollback {
        manifest["metadata"]["annotations"]["thaw.dev/rollback"] = json!(rollback);
    }
    let put = if api.get_opt(NAME).await?.is_none() {
        api.create(&PostParams::default(), &serde_json::from_value(manifest)?)
            .await
    } else {
        // A JSON patch replaces the spec as a whole, whatever version it is of.
        let patch = json!([
            {"op": "add", "path": "/metadata/annotations", "value": manifest["metadata"]["annotations"]},
            {"op": "replace", "path": "/spec", "value": manifest["spec"]},
        ]);
        let patch = Patch::Json::<Value>(serde_json::from_value(patch)?);
        api.patch(NAME, &PatchParams::default(), &patch).await
    };
    match put {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => Ok(Some(status)),
        Err(error) => Err(error.into()),
    }
}

async fn ends(namespace: &Namespace, transition: &Transition) -> Result<()> {
    until(transition.change, SOON, async || {
        let function = namespace.functions().get(NAME).await?;
        let (ready, why) = condition(&function, "Ready");
        let (reconciling, what) = condition(&function, "Reconciling");
        let (stalled, reason) = condition(&function, "Stalled");
        match transition.end {
            End::True => {
                ensure!(ready == "True", "Ready is {ready}: {why}");
                ensure!(
                    reconciling == "False",
                    "Reconciling is {reconciling}: {what}"
                );
                let is_well = stalled == "False" || reason.starts_with("InvalidRollback");
                ensure!(is_well, "Stalled is {stalled}: {reason}");
            }
            End::Reported | End::Refused => {
                let is_told = stalled == "True" && reason.starts_with("InvalidSpec");
                ensure!(is_told, "Stalled is {stalled}: {reason}");
            }
        }
        Ok(())
    })
    .await
}

/// What serves now, without older revisions and without what differs between namespaces.
async fn end_state(namespace: &Namespace) -> Result<BTreeMap<String, String>> {
    let function = namespace.functions().get(NAME).await?;
    let status = function.status.context("a status")?;
    let mut state = BTreeMap::new();
    let deployments = namespace.api::<Deployment>();
    for entrypoint in status.entrypoints {
        let revision = entrypoint.revision.clone().context("a revision")?;
        let name = crds::names::deployment(NAME, &entrypoint.name, &revision);
        let mut deployment = deployments.get(&name).await?;
        if let Some(spec) = &mut deployment.spec {
            spec.replicas = None;
        }
        let what = (
            entrypoint.ready_revision,
            deployment.labels().clone(),
            deployment.spec,
        );
        let text = serde_json::to_string(&what)?.replace(&namespace.name, "NAMESPACE");
        state.insert(name, text);
    }
    Ok(state)
}

#[tokio::test]
async fn a_hundred_changes_end_where_the_last_alone_would() -> Result<()> {
    let image = format!("{}/thaw-fixture:dev", platform::registry());
    let mut transitions = Transitions::new(SEED, &[&image]);
    story("changes", async |namespace| {
        let (mut refused, mut reported) = (0, 0);
        for _ in 0..CHANGES {
            let transition = transitions.next().context("another one")?;
            let refusal = put(namespace, &transition).await?;
            match (&refusal, transition.end) {
                (None, End::Refused) => anyhow::bail!("not refused: {transition:?}"),
                (Some(why), End::True) => anyhow::bail!("refused: {why:?}: {transition:?}"),
                (Some(_), _) => refused += 1,
                (None, end) => {
                    reported += usize::from(end == End::Reported);
                    if !transition.is_hasty {
                        ends(namespace, &transition)
                            .await
                            .with_context(|| format!("{transition:?}"))?;
                    }
                }
            }
        }
        eprintln!("{CHANGES} changes, {refused} refused, {reported} reported");
        let last = Transition {
            change: "the last one",
            spec: transitions.good().clone(),
            rollback: None,
            end: End::True,
            is_new: false,
            is_hasty: false,
        };
        put(namespace, &last).await?;
        ends(namespace, &last).await?;
        let found = end_state(namespace).await?;
        story("fresh", async |other| {
            put(other, &last).await?;
            ends(other, &last).await?;
            let wanted = end_state(other).await?;
            ensure!(found == wanted, "{found:#?} instead of {wanted:#?}");
            Ok(())
        })
        .await
    })
    .await
}
