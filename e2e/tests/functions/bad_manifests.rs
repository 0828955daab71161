//! Manifests that are wrong are refused, or reported on the Function, with a message that names the field; none harms another Function.

use anyhow::{Context, Result, bail, ensure};
use crds::Function;
use e2e::{
    Namespace,
    namespace::{SOON, condition},
    story, until,
};
use http::Request;
use serde::Deserialize;
use serde_json::{Value, json};

const TABLE: &str = include_str!("bad_manifests.yaml");

/// A row of the table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bad {
    /// What is wrong.
    case: String,
    /// `metadata.name`; one that is good when absent.
    name: Option<String>,
    /// `spec`; absent when the whole is.
    spec: Option<Value>,
    /// Texts that the message has.
    says: Vec<String>,
}

/// What the API server answers to `kubectl create --validate=strict`.
async fn create(namespace: &Namespace, manifest: &Value) -> kube::Result<Function> {
    let path = format!(
        "/apis/thaw.dev/v1alpha1/namespaces/{}/functions?fieldValidation=Strict",
        namespace.name
    );
    let request = Request::post(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(manifest.to_string().into_bytes())
        .expect("a valid request");
    namespace.client.request(request).await
}

/// Why the manifest does not become true.
async fn refusal(namespace: &Namespace, manifest: &Value) -> Result<String> {
    let created = match create(namespace, manifest).await {
        Ok(created) => created,
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => {
            return Ok(status.message);
        }
        Err(error) => return Err(error.into()),
    };
    let name = created
        .metadata
        .name
        .context("a created object has a name")?;
    until("the operator reports it", SOON, async || {
        let function = namespace.functions().get(&name).await?;
        let (stalled, message) = condition(&function, "Stalled");
        let (ready, _) = condition(&function, "Ready");
        ensure!(ready == "False", "accepted, and Ready is {ready}");
        ensure!(stalled == "True", "accepted, and Stalled is {stalled}");
        Ok(message)
    })
    .await
}

#[tokio::test]
async fn each_is_refused_or_reported_by_field_and_none_stops_another_function() -> Result<()> {
    let table: Vec<Bad> = serde_yaml::from_str(TABLE)?;
    ensure!(table.len() >= 30, "{} rows", table.len());
    let good = |name: &str| {
        let fields = json!({"image": format!("{}/thaw-fixture:dev", e2e::platform::registry()),
            "entrypoints": [{"name": "work", "path": "/", "resources": {"requests": {"cpu": "5m"}}}]});
        json!({"apiVersion": "thaw.dev/v1alpha1", "kind": "Function", "metadata": {"name": name}, "spec": fields})
    };
    story("bad", async |namespace| {
        create(namespace, &good("before")).await?;
        let mut wrong = Vec::new();
        for (row, bad) in table.iter().enumerate() {
            let name = bad.name.clone().unwrap_or(format!("bad-{row}"));
            let mut manifest = json!({"apiVersion": "thaw.dev/v1alpha1", "kind": "Function", "metadata": {"name": name}});
            if let Some(spec) = &bad.spec {
                manifest["spec"] = spec.clone();
            }
            let told = refusal(namespace, &manifest).await;
            match told {
                Ok(message) if bad.says.iter().all(|says| message.contains(says)) => {
                    eprintln!("{}: {message}", bad.case);
                }
                Ok(message) => wrong.push(format!("{}: does not say {:?}: {message}", bad.case, bad.says)),
                Err(error) => wrong.push(format!("{}: {error:#}", bad.case)),
            }
        }
        create(namespace, &good("after")).await?;
        for name in ["before", "after"] {
            namespace.ready(name).await?;
            namespace.get(name, "/").await?.ok()?;
        }
        if !wrong.is_empty() {
            bail!("{} of {} manifests:\n{}", wrong.len(), table.len(), wrong.join("\n"));
        }
        Ok(())
    })
    .await
}
