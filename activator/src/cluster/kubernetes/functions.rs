//! From Functions to routes.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use crds::{
    Function,
    entrypoint::{Entrypoint as Manifest, read, resolve},
    pod::PodFields,
    status::EntrypointStatus,
};
use kube::{ResourceExt, core::DeserializeGuard};

use super::{hosts::Hosts, reports::Reports, verifications::Verifications};
use crate::{
    engine::Settings,
    entrypoint::{Entrypoint, Key},
    entrypoints::{Entrypoints, settings, verifying},
    proxy::Proxy,
    routes::{Host, Route},
    verification::Check,
};

/// Longest wait for a good answer where `timeouts.boot` sets no limit.
const VERIFIED_WITHIN: Duration = Duration::from_secs(60);

/// A Function's namespace and name.
pub(super) type Name = (String, String);

/// The revisions that routes of a Function lead to.
type Targets = HashMap<Key, Arc<Entrypoint>>;

/// What Functions route to.
pub(super) struct Functions {
    hosts: Hosts,
    proxy: Arc<Proxy>,
    entrypoints: Arc<Entrypoints>,
    reports: Reports,
    verifications: Verifications,
    /// The revisions that take the traffic of each Function, and those that are verified.
    targets: HashMap<Name, Vec<Key>>,
}

impl Functions {
    pub(super) fn new(
        hosts: Hosts,
        proxy: Arc<Proxy>,
        entrypoints: Arc<Entrypoints>,
        reports: Reports,
    ) -> Self {
        Self {
            hosts,
            proxy,
            entrypoints,
            verifications: Verifications::new(reports.clone()),
            reports,
            targets: HashMap::new(),
        }
    }

    /// Routes what the Function says, and verifies what it is asked to. Returns the revisions that it leads to no longer.
    ///
    /// One event says both, so that a revision that was verified and takes the traffic now is never one that nobody wants.
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
        let manifests = read(&function.spec);
        let mut targets = Targets::new();
        let paths = Host {
            function: name.clone(),
            visibility: function.spec.visibility.unwrap_or_default(),
            paths: self.routes(&function, &manifests, &mut targets),
        };
        let verified = self.verify(&namespace, &name, &manifests, &function, &targets);
        let targets = targets.into_keys().chain(verified).collect();
        let name = (namespace, name);
        let routes = self.proxy.routes.load();
        let routes = self.hosts.seen(&name, &function, paths, &routes);
        self.proxy.routes.store(Arc::new(routes));
        self.retarget(name, targets)
    }

    /// Ends the routes of a Function that is gone. Returns the revisions that it led to.
    pub(super) fn gone(&mut self, namespace: &str, name: &str) -> Vec<Key> {
        self.reports.function_gone(namespace, name);
        self.verifications.keep(namespace, name, vec![]);
        let name = (namespace.to_owned(), name.to_owned());
        let routes = self.hosts.gone(&name, &self.proxy.routes.load());
        self.proxy.routes.store(Arc::new(routes));
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

    /// A route for each path, and what they lead to.
    fn routes(
        &self,
        function: &Function,
        manifests: &[Manifest],
        targets: &mut Targets,
    ) -> BTreeMap<String, Arc<Route>> {
        let mut routes = BTreeMap::new();
        for manifest in manifests {
            for route in &manifest.routes {
                let target = self.target(function, (manifest, &route.path), manifests, targets);
                let path = route.path.clone();
                let route = Route {
                    path: path.clone(),
                    path_match: route.path_match,
                    entrypoint: route.entrypoint.clone(),
                    target,
                    limits: manifest.limits,
                    timeouts: manifest.timeouts,
                    on_disconnect: manifest.on_disconnect,
                };
                routes.insert(path, Arc::new(route));
            }
        }
        routes
    }

    /// What answers a path of an entrypoint, or why nothing does.
    fn target(
        &self,
        function: &Function,
        (manifest, path): (&Manifest, &str),
        manifests: &[Manifest],
        targets: &mut Targets,
    ) -> Result<Arc<Entrypoint>, Option<String>> {
        let status = function.status.as_ref();
        let answering = status.and_then(|status| status.answering(&manifest.name, path));
        let (name, revision) = answering.ok_or_else(|| why_not_ready(function))?;
        let key = Key {
            namespace: function.namespace().unwrap_or_default(),
            function: function.name_any(),
            entrypoint: name.to_owned(),
            revision: revision.to_owned(),
        };
        let target = targets.entry(key).or_insert_with_key(|key| {
            let target = self.entrypoints.get_or_add(key);
            // What had the path before and is not in the manifest any more: what takes its place says how it goes on.
            let own = manifests.iter().find(|manifest| manifest.name == name);
            target.configure(settings_of(own.unwrap_or(manifest)));
            target
        });
        Ok(target.clone())
    }

    /// Keeps one instance of each revision that the operator asks about, and asks it. Returns these revisions.
    fn verify(
        &mut self,
        namespace: &str,
        function: &str,
        manifests: &[Manifest],
        object: &Function,
        targets: &Targets,
    ) -> Vec<Key> {
        let name = (namespace.to_owned(), function.to_owned());
        let host = self.hosts.default_host(&name);
        let mut wanted = Vec::new();
        for manifest in manifests {
            let Some(status) = reported(object, manifest) else {
                continue;
            };
            let asked = status.verifying.clone();
            let Some(revision) =
                asked.filter(|asked| status.ready_revision.as_ref() != Some(asked))
            else {
                continue;
            };
            let key = Key {
                namespace: namespace.to_owned(),
                function: function.to_owned(),
                entrypoint: manifest.name.clone(),
                revision,
            };
            let entrypoint = self.entrypoints.get_or_add(&key);
            if !targets.contains_key(&key) {
                entrypoint.configure(verifying(settings_of(manifest)));
            }
            let check = Check {
                path: manifest.verify.path.clone(),
                host: host.clone(),
                within: manifest.timeouts.boot.unwrap_or(VERIFIED_WITHIN),
            };
            wanted.push((entrypoint, check));
        }
        let keys = wanted.iter().map(|(entrypoint, _)| entrypoint.key.clone());
        let keys = keys.collect();
        self.verifications.keep(namespace, function, wanted);
        keys
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

/// What the operator says about an entrypoint.
fn reported<'a>(object: &'a Function, manifest: &Manifest) -> Option<&'a EntrypointStatus> {
    let mut statuses = object.status.as_ref()?.entrypoints.iter();
    statuses.find(|status| status.name == manifest.name)
}

fn settings_of(manifest: &Manifest) -> Settings {
    Settings {
        pool: pool(&manifest.template.pod),
        ..settings(&manifest.scale, &manifest.limits, &manifest.timeouts)
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

#[cfg(test)]
mod tests;
