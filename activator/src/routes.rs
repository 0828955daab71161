//! Which entrypoint answers a host and a path: an immutable snapshot, replaced whole when a Function changes.

use std::{collections::HashMap, sync::Arc};

use crds::{
    entrypoint::{Limits, Timeouts},
    function::{OnDisconnect, PathMatch, Visibility},
};

use crate::{entrypoint::Entrypoint, server::Door};

/// The snapshot.
#[derive(Debug, Default)]
pub struct Routes {
    hosts: HashMap<String, Arc<Host>>,
    /// The host that answers for every other one, if one does.
    fallback: Option<String>,
}

/// The paths of one function.
#[derive(Debug, Default)]
pub struct Host {
    /// Name of the Function.
    pub function: String,
    /// Who may call it.
    pub visibility: Visibility,
    /// By path.
    pub paths: HashMap<String, Arc<Route>>,
}

/// What answers a path.
#[derive(Debug)]
pub struct Route {
    /// The path, without what comes below it.
    pub path: String,
    /// Whether paths below belong to it.
    pub path_match: PathMatch,
    /// Name of the entrypoint.
    pub entrypoint: String,
    /// The revision that takes traffic, or why there is none as far as the operator has said it.
    pub target: Result<Arc<Entrypoint>, Option<String>>,
    /// Of the request's body.
    pub limits: Limits,
    /// The clocks of an invocation.
    pub timeouts: Timeouts,
    /// What becomes of an invocation whose client leaves.
    pub on_disconnect: OnDisconnect,
}

impl Routes {
    /// A copy with the paths of one host replaced; `None` removes them.
    pub fn with(&self, host: &str, paths: Option<Host>) -> Self {
        let mut hosts = self.hosts.clone();
        match paths {
            Some(paths) => hosts.insert(host.to_owned(), Arc::new(paths)),
            None => hosts.remove(host),
        };
        let fallback = self.fallback.clone();
        Self { hosts, fallback }
    }

    /// A copy in which this host answers for every other one; with `None`, none does.
    pub fn with_fallback(&self, host: Option<&str>) -> Self {
        let hosts = self.hosts.clone();
        let fallback = host.map(str::to_owned);
        Self { hosts, fallback }
    }

    /// The function of a host, in lower case and without port.
    pub fn host(&self, host: &str) -> Option<&Arc<Host>> {
        let fallback = || self.hosts.get(self.fallback.as_deref()?);
        self.hosts.get(host).or_else(fallback)
    }
}

impl Host {
    /// Whether requests that come in at this door are answered.
    pub fn answers_at(&self, door: Door) -> bool {
        match (self.visibility, door) {
            (Visibility::Public, _) | (Visibility::Cluster, Door::Internal) => true,
            (Visibility::Cluster, Door::Public) => false,
        }
    }

    /// The route of a path: the longest one that matches by whole segments.
    pub fn route(&self, path: &str) -> Option<&Arc<Route>> {
        let exact = self.paths.get(path);
        exact.or_else(|| {
            prefixes(path)
                .filter_map(|prefix| self.paths.get(prefix))
                .find(|route| route.covers(path))
        })
    }
}

impl Route {
    fn covers(&self, path: &str) -> bool {
        self.path_match == PathMatch::Prefix || self.path == path
    }
}

/// The paths above `path`, longest first: `/a/b/c` → `/a/b`, `/a`, `/`.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.rmatch_indices('/').map(|(at, _)| &path[..at.max(1)]);
    ends.filter(move |prefix| *prefix != path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(paths: &[(&str, PathMatch)]) -> Host {
        let route = |(path, path_match): &(&str, PathMatch)| Route {
            path: (*path).to_owned(),
            path_match: *path_match,
            entrypoint: (*path).to_owned(),
            target: Err(None),
            limits: Limits {
                queue: 1,
                request_bytes: 0,
                buffer_bytes: 0,
            },
            on_disconnect: OnDisconnect::Finish,
            timeouts: Timeouts {
                queue: None,
                boot: None,
                first_byte: None,
                idle: None,
                duration: None,
            },
        };
        let paths = paths
            .iter()
            .map(|entry| (entry.0.to_owned(), Arc::new(route(entry))))
            .collect();
        Host {
            paths,
            ..Host::default()
        }
    }

    #[test]
    fn the_longest_path_wins_by_whole_segments() {
        let host = host(&[
            ("/", PathMatch::Exact),
            ("/api", PathMatch::Prefix),
            ("/api/orders", PathMatch::Prefix),
            ("/api/orders/export", PathMatch::Exact),
        ]);
        let route = |path| host.route(path).map(|route| route.entrypoint.as_str());
        assert_eq!(route("/"), Some("/"));
        assert_eq!(route("/about"), None);
        assert_eq!(route("/api"), Some("/api"));
        assert_eq!(route("/api/"), Some("/api"));
        assert_eq!(route("/apis"), None);
        assert_eq!(route("/api/orders/7"), Some("/api/orders"));
        assert_eq!(route("/api/orders/export"), Some("/api/orders/export"));
        assert_eq!(route("/api/orders/export/x"), Some("/api/orders"));
        assert_eq!(route(""), None);
    }

    #[test]
    fn one_host_may_answer_for_all() {
        let routes = Routes::default()
            .with("a.test", Some(host(&[("/", PathMatch::Prefix)])))
            .with("b.test", Some(host(&[])));
        let paths = |routes: &Routes, name| routes.host(name).map(|host| host.paths.len());
        assert_eq!(paths(&routes, "c.test"), None);
        let routes = routes.with_fallback(Some("a.test"));
        assert_eq!(paths(&routes, "b.test"), Some(0));
        assert_eq!(paths(&routes, "c.test"), Some(1));
        assert_eq!(paths(&routes.with("a.test", None), "c.test"), None);
    }

    #[test]
    fn a_prefix_at_the_root_takes_everything() {
        let host = host(&[("/", PathMatch::Prefix)]);
        for path in ["/", "/a", "/a/b/", "//"] {
            assert!(host.route(path).is_some(), "{path}");
        }
    }
}
