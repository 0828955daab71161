//! A namespace of a story: applying manifests, calling functions and reading objects.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::{Function, names, status::EntrypointStatus};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{apps::v1::Deployment, core::v1::Pod, events::v1::Event},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    core::{ApiResource, DynamicObject},
};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    ingress::{Answer, Call},
    platform, until,
};

/// Field manager of what a story applies.
const STORY: &str = "thaw-story";
/// For everything that takes the cluster a second or two when it is not busy.
pub const SOON: Duration = Duration::from_secs(60);

/// A namespace of a story.
#[derive(Clone)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// A client of the cluster.
    pub client: Client,
}

impl Namespace {
    /// Objects of one type.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Functions. (`Function` is namespaced by a scope type of kube's own.)
    pub fn functions(&self) -> Api<Function> {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Server-side applies every document of `manifests`.
    ///
    /// # Errors
    /// What the API server says when it refuses one.
    pub async fn apply(&self, manifests: &str) -> Result<()> {
        let manifests = manifests.replace("dev.local/", &format!("{}/", platform::registry()));
        for document in serde_yaml::Deserializer::from_str(&manifests) {
            let object = DynamicObject::deserialize(document)?;
            let types = object.types.as_ref().context("apiVersion and kind")?;
            let resource = ApiResource::from_gvk(&types.try_into()?);
            let api: Api<DynamicObject> =
                Api::namespaced_with(self.client.clone(), &self.name, &resource);
            let name = object.name_any();
            api.patch(
                &name,
                &PatchParams::apply(STORY).force().validation_strict(),
                &Patch::Apply(&object),
            )
            .await
            .with_context(|| format!("apply {} {name}", resource.kind))?;
        }
        Ok(())
    }

    /// Waits until the Function is Ready at its present generation.
    ///
    /// # Errors
    /// When it is not soon.
    pub async fn ready(&self, function: &str) -> Result<Function> {
        until(&format!("{function} is Ready"), SOON, async || {
            let found = self.functions().get(function).await?;
            let (status, message) = condition(&found, "Ready");
            ensure!(status == "True", "Ready is {status}: {message}");
            Ok(found)
        })
        .await
    }

    /// Waits until a condition has this status at the present generation, and gives its `reason: message`.
    ///
    /// # Errors
    /// When it has not in time.
    pub async fn becomes(
        &self,
        function: &str,
        type_: &str,
        is: &str,
        within: Duration,
    ) -> Result<String> {
        until(&format!("{type_} is {is}"), within, async || {
            let found = self.functions().get(function).await?;
            let (status, message) = condition(&found, type_);
            ensure!(status == is, "it is {status}: {message}");
            Ok(message)
        })
        .await
    }

    /// Applies manifests and waits until `function` is Ready.
    ///
    /// # Errors
    /// When one is refused, or it is not soon.
    pub async fn apply_ready(&self, function: &str, manifests: &str) -> Result<Function> {
        self.apply(manifests).await?;
        self.ready(function).await
    }

    /// What the status says of one entrypoint.
    ///
    /// # Errors
    /// When it says nothing.
    pub async fn entrypoint(&self, function: &str, entrypoint: &str) -> Result<EntrypointStatus> {
        let status = self.functions().get(function).await?.status;
        let entrypoints = status.unwrap_or_default().entrypoints;
        let mut found = entrypoints.into_iter();
        found
            .find(|each| each.name == entrypoint)
            .with_context(|| format!("no status of entrypoint {entrypoint}"))
    }

    /// The host under which a function answers.
    pub fn host(&self, function: &str) -> String {
        names::default_host(function, &self.name, &platform::domain())
    }

    /// `GET path` of a function through the ingress.
    ///
    /// # Errors
    /// When no whole answer comes.
    pub async fn get(&self, function: &str, path: &str) -> Result<Answer> {
        Call::get(&self.host(function), path).send().await
    }

    /// `count` times `GET path` at once.
    ///
    /// # Errors
    /// When one gets no whole answer.
    pub async fn get_at_once(
        &self,
        count: usize,
        function: &str,
        path: &str,
    ) -> Result<Vec<Answer>> {
        futures::future::try_join_all((0..count).map(|_| self.get(function, path))).await
    }

    /// Pods that nobody asked to go, of all entrypoints.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        let mut pods = self.list::<Pod>("").await?;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        Ok(pods)
    }

    /// Deployments of an entrypoint.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn deployments(&self, entrypoint: &str) -> Result<Vec<Deployment>> {
        self.list(&format!("{}={entrypoint}", names::ENTRYPOINT))
            .await
    }

    /// Events of a Function, as `reason: note`.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn events(&self, function: &str) -> Result<Vec<String>> {
        let mut events = self.list::<Event>("").await?;
        events.retain(|event| {
            let regarding = event.regarding.clone().unwrap_or_default();
            regarding.kind.as_deref() == Some("Function")
                && regarding.name.as_deref() == Some(function)
        });
        Ok(events.iter().map(event_text).collect())
    }

    async fn list<K>(&self, labels: &str) -> Result<Vec<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let all = ListParams::default().labels(labels);
        Ok(self.api::<K>().list(&all).await?.items)
    }

    /// Waits until no pod is left, neither running nor on its way out.
    ///
    /// # Errors
    /// When one is left at the deadline.
    pub async fn no_pod_within(&self, deadline: Duration) -> Result<()> {
        until("no pod is left", deadline, async || {
            let left: Vec<_> = self.list::<Pod>("").await?;
            let left: Vec<_> = left.iter().map(ResourceExt::name_any).collect();
            ensure!(left.is_empty(), "there are {left:?}");
            Ok(())
        })
        .await
    }
}

/// Status and `reason: message` of a condition, as far as it speaks of the present generation.
pub fn condition(function: &Function, type_: &str) -> (String, String) {
    let status = function.status.clone().unwrap_or_default();
    if status.observed_generation != function.metadata.generation {
        let observed = status.observed_generation;
        return (
            "Unknown".into(),
            format!("status is of generation {observed:?}"),
        );
    }
    let mut conditions = status.conditions.into_iter();
    match conditions.find(|condition| condition.type_ == type_) {
        Some(found) => (found.status, format!("{}: {}", found.reason, found.message)),
        None => ("Unknown".into(), "no such condition".into()),
    }
}

/// `reason: note` of an Event.
pub fn event_text(event: &Event) -> String {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    format!("{}: {}", text(&event.reason), text(&event.note))
}
