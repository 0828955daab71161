//! From manifests to routes, and which revision an entrypoint is at.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crds::{
    entrypoint::{Entrypoint as Manifest, Route as Path},
    names,
};

use super::{Local, manifest::LocalFunction, program::Program};
use crate::{
    engine::Settings,
    entrypoint::{Entrypoint, Key},
    entrypoints::{Entrypoints, settings},
    proxy::Proxy,
    routes::{Host, Route, Routes},
};

/// Functions answer under `{function}--{namespace}` and this; every name below it is this machine (RFC 6761 §6.3).
const DOMAIN: &str = "localhost";

/// Namespace, function, and entrypoint or bundle.
pub(super) type Name = (String, String, String);

/// What the manifests say.
#[derive(Debug)]
pub struct Functions {
    local: Local,
    proxy: Arc<Proxy>,
    entrypoints: Arc<Entrypoints>,
    functions: Vec<LocalFunction>,
    /// How often each was restarted.
    restarts: HashMap<Name, u32>,
    /// What takes the traffic of each.
    targets: HashMap<Name, Key>,
    /// What no route leads to any more, until its last instance is gone.
    retired: Vec<Key>,
}

impl Functions {
    /// None yet.
    pub fn new(local: Local, proxy: Arc<Proxy>, entrypoints: Arc<Entrypoints>) -> Self {
        Self {
            local,
            proxy,
            entrypoints,
            functions: vec![],
            restarts: HashMap::new(),
            targets: HashMap::new(),
            retired: vec![],
        }
    }

    /// Routes to these and to no others. An entrypoint whose program is another than before gets a new revision; what runs is finished by
    /// the old one.
    pub fn apply(&mut self, functions: Vec<LocalFunction>) {
        self.functions = functions;
        if self.functions.len() > 1 {
            self.local.name_functions();
        }
        let before = std::mem::take(&mut self.targets);
        let (mut shown, mut hosts) = (Vec::new(), Vec::new());
        for function in &self.functions {
            let mut paths = BTreeMap::new();
            for (manifest, program) in &function.entrypoints {
                let name = name(function, manifest);
                let key = self.key(&name, manifest);
                let target = self.target(&key, manifest, program);
                for of in &manifest.routes {
                    let route = route(of, manifest, target.clone());
                    paths.insert(of.path.clone(), Arc::new(route));
                }
                shown.push(target);
                self.targets.insert(name, key);
            }
            hosts.push(Arc::new(Host {
                function: function.name.clone(),
                // The only door is one where every function answers.
                visibility: Default::default(),
                paths,
            }));
        }
        let routes = routes(&self.functions, &hosts);
        self.proxy.routes.store(Arc::new(routes));
        self.local.show(shown);
        self.retire(before.into_values());
    }

    /// Gives these entrypoints a new revision of the same program.
    pub(super) fn restart(&mut self, names: &[Name]) {
        for name in names {
            *self.restarts.entry(name.clone()).or_default() += 1;
        }
        self.apply(self.functions.clone());
    }

    /// Where each function answers, beginning with the address that any client understands, if there is one.
    pub fn urls(&self, port: u16) -> Vec<String> {
        let of = |host: &str| format!("http://{host}:{port}/");
        let any = (self.functions.len() == 1).then(|| of(DOMAIN));
        let own = self.functions.iter().map(|function| of(&host_of(function)));
        any.into_iter().chain(own).collect()
    }

    /// Every entrypoint and bundle with what it runs.
    pub(super) fn programs(&self) -> impl Iterator<Item = (Name, &Program)> {
        self.functions.iter().flat_map(|function| {
            let entrypoints = function.entrypoints.iter();
            entrypoints.map(move |(manifest, program)| (name(function, manifest), program))
        })
    }

    fn key(&self, name: &Name, manifest: &Manifest) -> Key {
        let (namespace, function, entrypoint) = name.clone();
        let mut revision = manifest.template.revision(&function, &entrypoint);
        if let Some(count) = self.restarts.get(name) {
            revision.push_str(&format!("-{count}"));
        }
        Key {
            namespace,
            function,
            entrypoint,
            revision,
        }
    }

    fn target(&self, key: &Key, manifest: &Manifest, program: &Program) -> Arc<Entrypoint> {
        let is_new = self.entrypoints.get(key).is_none();
        self.local.provide(key.clone(), program.clone());
        let target = self.entrypoints.get_or_add(key);
        if is_new {
            target.observed(Some(0));
        }
        target.configure(Settings {
            freeze_after: manifest.freeze_after,
            ..settings(&manifest.scale, &manifest.limits, &manifest.timeouts)
        });
        target
    }

    /// What no route leads to finishes and goes; what has gone is forgotten.
    fn retire(&mut self, before: impl Iterator<Item = Key>) {
        let is_target = |key: &Key| self.targets.values().any(|target| target == key);
        let abandoned: Vec<_> = before.filter(|key| !is_target(key)).collect();
        self.retired.retain(|key| !is_target(key));
        for key in &abandoned {
            if let Some(entrypoint) = self.entrypoints.get(key) {
                entrypoint.retire();
            }
        }
        self.retired.retain(|key| {
            let is_over =
                self.entrypoints.get(key).is_none_or(|e| e.is_quiet()) && self.local.forget(key);
            if is_over {
                self.entrypoints.remove(key);
            }
            !is_over
        });
        self.retired.extend(abandoned);
    }
}

/// Routes to the paths of each function.
fn routes(functions: &[LocalFunction], paths: &[Arc<Host>]) -> Routes {
    let mut routes = Routes::default();
    for (function, paths) in functions.iter().zip(paths) {
        for host in &function.hosts {
            routes = routes.with(host, Some(paths.clone()));
        }
    }
    // Last: nobody's custom host is in the way of another's default one.
    for (function, paths) in functions.iter().zip(paths) {
        routes = routes.with(&host_of(function), Some(paths.clone()));
    }
    match functions {
        [only] => routes.with_fallback(Some(&host_of(only))),
        _ => routes,
    }
}

fn name(function: &LocalFunction, manifest: &Manifest) -> Name {
    (
        function.namespace.clone(),
        function.name.clone(),
        manifest.name.clone(),
    )
}

fn host_of(function: &LocalFunction) -> String {
    names::default_host(&function.name, &function.namespace, DOMAIN)
}

fn route(of: &Path, manifest: &Manifest, target: Arc<Entrypoint>) -> Route {
    Route {
        path: of.path.clone(),
        path_match: of.path_match,
        entrypoint: of.entrypoint.clone(),
        target: Ok(target),
        limits: manifest.limits,
        timeouts: manifest.timeouts,
        on_disconnect: manifest.on_disconnect,
    }
}
