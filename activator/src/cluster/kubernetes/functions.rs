//! From Functions to routes.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use crds::{
    Function,
    entrypoint::{Entrypoint as Manifest, read, resolve},
    names,
    pod::PodFields,
};
use kube::{ResourceExt, core::DeserializeGuard};

use super::reports::Reports;
use crate::{
    engine::Settings,
    entrypoint::Key,
    entrypoints::{Entrypoints, settings},
    proxy::Proxy,
    routes::{Host, Route},
};

/// A Function's namespace and name.
type Name = (String, String);

/// What Functions route to.
pub(super) struct Functions {
    domain: String,
    proxy: Arc<Proxy>,
    entrypoints: Arc<Entrypoints>,
    reports: Reports,
    /// The revisions that take the traffic of each Function.
    targets: HashMap<Name, Vec<Key>>,
}

impl Functions {
    pub(super) fn new(
        domain: String,
        proxy: Arc<Proxy>,
        entrypoints: Arc<Entrypoints>,
        reports: Reports,
    ) -> Self {
        let targets = HashMap::new();
        Self {
            domain,
            proxy,
            entrypoints,
            reports,
            targets,
        }
    }

    /// Routes what the Function says. Returns the revisions that it leads to no longer.
    pub(super) fn seen(&mut self, object: DeserializeGuard<Function>) -> Vec<Key> {
        let function = match object.0 {
            Ok(function) => function,
            Err(error) => {
                let name = error.metadata.name.unwrap_or_default();
                tracing::warn!(function = name, error = %error.error, "cannot read a Function, its routes stay as they are");
                return vec![];
            }
        };
        let (Some(namespace), name) = (function.namespace(), function.name_any()) else {
            return vec![];
        };
        self.reports.function(&function);
        let is_known = self
            .targets
            .contains_key(&(namespace.clone(), name.clone()));
        if is_known && let Err(error) = resolve(&function.spec) {
            // The operator says so in the status. Only after a restart of ours is an invalid manifest better than none.
            tracing::debug!(namespace, function = name, %error, "invalid Function, its routes stay as they are");
            return vec![];
        }
        let routes: Vec<_> = read(&function.spec)
            .iter()
            .map(|manifest| Arc::new(self.route(&namespace, &name, manifest, &function)))
            .collect();
        let targets = routes
            .iter()
            .filter_map(|route| Some(route.target.as_ref().ok()?.key.clone()));
        let targets = targets.collect();
        let paths = routes
            .into_iter()
            .map(|route| (route.path.clone(), route))
            .collect();
        self.publish(
            &namespace,
            &name,
            Some(Host {
                function: name.clone(),
                visibility: function.spec.visibility.unwrap_or_default(),
                paths,
            }),
        );
        self.retarget((namespace, name), targets)
    }

    /// Ends the routes of a Function that is gone. Returns the revisions that it led to.
    pub(super) fn gone(&mut self, namespace: &str, name: &str) -> Vec<Key> {
        self.publish(namespace, name, None);
        self.reports.function_gone(namespace, name);
        let name = (namespace.to_owned(), name.to_owned());
        let abandoned = self.retarget(name.clone(), vec![]);
        self.targets.remove(&name);
        abandoned
    }

    /// Namespace and name of every Function.
    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        self.targets.keys()
    }

    /// Whether some Function leads there.
    pub(super) fn lead_to(&self, key: &Key) -> bool {
        let name = (key.namespace.clone(), key.function.clone());
        self.targets
            .get(&name)
            .is_some_and(|targets| targets.contains(key))
    }

    fn route(
        &self,
        namespace: &str,
        function: &str,
        manifest: &Manifest,
        object: &Function,
    ) -> Route {
        let statuses = object
            .status
            .as_ref()
            .map(|status| status.entrypoints.as_slice());
        let mut statuses = statuses.unwrap_or_default().iter();
        let status = statuses.find(|status| status.name == manifest.name);
        let target = match status.and_then(|status| status.ready_revision.clone()) {
            None => Err(why_not_ready(object)),
            Some(revision) => {
                let key = Key {
                    namespace: namespace.to_owned(),
                    function: function.to_owned(),
                    entrypoint: manifest.name.clone(),
                    revision,
                };
                let entrypoint = self.entrypoints.get_or_add(&key);
                entrypoint.configure(Settings {
                    pool: pool(&manifest.template.pod),
                    ..settings(&manifest.scale, &manifest.limits, &manifest.timeouts)
                });
                Ok(entrypoint)
            }
        };
        Route {
            path: manifest.path.clone(),
            path_match: manifest.path_match,
            entrypoint: manifest.name.clone(),
            target,
            limits: manifest.limits,
            timeouts: manifest.timeouts,
            on_disconnect: manifest.on_disconnect,
        }
    }

    fn publish(&self, namespace: &str, function: &str, host: Option<Host>) {
        let name = names::default_host(function, namespace, &self.domain);
        let routes = self.proxy.routes.load().with(&name, host);
        self.proxy.routes.store(Arc::new(routes));
    }

    fn retarget(&mut self, name: Name, targets: Vec<Key>) -> Vec<Key> {
        let before = self
            .targets
            .insert(name, targets.clone())
            .unwrap_or_default();
        before
            .into_iter()
            .filter(|key| !targets.contains(key))
            .collect()
    }
}

/// The nodes that a pod may boot on, as far as its nodeSelector says.
fn pool(pod: &PodFields) -> u64 {
    let mut hasher = DefaultHasher::new();
    pod.node_selector.hash(&mut hasher);
    hasher.finish()
}

/// What the operator says about a Function without a ready revision; nothing before it has said something.
fn why_not_ready(function: &Function) -> Option<String> {
    let conditions = &function.status.as_ref()?.conditions;
    let ready = conditions
        .iter()
        .find(|condition| condition.type_ == crds::conditions::READY)?;
    Some(format!("{}: {}", ready.reason, ready.message))
}
