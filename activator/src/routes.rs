//! Which entrypoint answers a host and a path: an immutable snapshot, replaced when a Function changes. The next one shares with it
//! what did not change, so that a change costs the same however many Functions there are.

use std::{collections::BTreeMap, sync::Arc};

use crds::{
    entrypoint::{Limits, Timeouts},
    function::{OnDisconnect, PathMatch, Visibility},
};

use foldhash::fast::RandomState;
use rpds::HashTrieMapSync;

use crate::{entrypoint::Entrypoint, proxy::head::path, server::Door};

/// No path of an entrypoint is longer (the Function's own limit). Looking at longer prefixes would let a client with 64 KiB of slashes buy
/// seconds of ours.
const PATH_BYTES: usize = 255;

/// The snapshot.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    hosts: Hosts,
    /// Hosts that only callers inside the cluster have, such as `shop.prod.svc`.
    inside: Hosts,
    /// The host that answers for every other one, if one does.
    fallback: Option<String>,
}

/// With a hash that is quick for short texts, since every request is looked up here.
type Hosts = HashTrieMapSync<String, Arc<Host>, RandomState>;

/// Why nothing answers a host and a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrouted {
    /// No function has the host, or none of its entrypoints the path.
    Nowhere,
    /// Two servers may read the path as those of two entrypoints.
    Ambiguous,
}

/// The paths of one function.
#[derive(Debug, Default)]
pub struct Host {
    /// Name of the Function.
    pub function: String,
    /// Who may call it.
    pub visibility: Visibility,
    /// By path.
    pub paths: BTreeMap<String, Arc<Route>>,
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
    pub fn with(&self, host: &str, paths: Option<Arc<Host>>) -> Self {
        Self {
            hosts: replaced(&self.hosts, host, paths),
            ..self.clone()
        }
    }

    /// The same for a host that only callers inside the cluster have.
    pub fn with_inside(&self, host: &str, paths: Option<Arc<Host>>) -> Self {
        Self {
            inside: replaced(&self.inside, host, paths),
            ..self.clone()
        }
    }

    /// A copy in which this host answers for every other one; with `None`, none does.
    pub fn with_fallback(&self, host: Option<&str>) -> Self {
        Self {
            fallback: host.map(str::to_owned),
            ..self.clone()
        }
    }

    /// The function that answers a host, in lower case and without port, at a door.
    ///
    /// Inside the cluster `shop.dev` is the Service `shop` of namespace `dev`, even if somebody has that name in public DNS: a caller who
    /// means his neighbour does not reach a stranger.
    pub fn host(&self, host: &str, door: Door) -> Option<&Arc<Host>> {
        let inside = match door {
            Door::Internal => self.inside.get(host),
            Door::Public => None,
        };
        let fallback = || self.hosts.get(self.fallback.as_deref()?);
        let found = inside.or_else(|| self.hosts.get(host)).or_else(fallback);
        found.filter(|host| host.answers_at(door))
    }

    /// What answers a path of a host at a door.
    ///
    /// # Errors
    /// Why nothing does.
    pub fn find(
        &self,
        host: &str,
        path: &str,
        door: Door,
    ) -> Result<(&Arc<Host>, &Arc<Route>), Unrouted> {
        let host = self.host(host, door).ok_or(Unrouted::Nowhere)?;
        Ok((host, host.route(path)?))
    }
}

fn replaced(hosts: &Hosts, host: &str, paths: Option<Arc<Host>>) -> Hosts {
    match paths {
        Some(paths) => hosts.insert(host.to_owned(), paths),
        None => hosts.remove(host),
    }
}

impl Host {
    /// Whether requests that come in at this door are answered.
    fn answers_at(&self, door: Door) -> bool {
        match (self.visibility, door) {
            (Visibility::Public, _) | (Visibility::Cluster, Door::Internal) => true,
            (Visibility::Cluster, Door::Public) => false,
        }
    }

    /// The route of a path: the longest one that matches by whole segments, byte for byte. It is the same for every server that reads the path
    /// in its own way, with escapes decoded, empty segments merged or parameters left out.
    ///
    /// # Errors
    /// Why there is none.
    pub fn route(&self, path: &str) -> Result<&Arc<Route>, Unrouted> {
        let route = self.longest(path).ok_or(Unrouted::Nowhere)?;
        if path::is_plain(path) || !self.has_another(route, path) {
            Ok(route)
        } else {
            Err(Unrouted::Ambiguous)
        }
    }

    /// The longest route that matches, whatever else the path may be read as.
    pub(crate) fn longest(&self, path: &str) -> Option<&Arc<Route>> {
        let exact = self.paths.get(path);
        exact.or_else(|| {
            prefixes(path)
                .filter_map(|prefix| self.paths.get(prefix))
                .find(|route| route.covers(path))
        })
    }

    /// Whether a reading of the path below this route leads to a route below it. A route's own path is read as it is written, so none leads
    /// elsewhere.
    fn has_another(&self, route: &Route, path: &str) -> bool {
        let reading = path::reading(below(&route.path, path).unwrap_or_default());
        let routes = self.paths.values();
        let mut others = routes.filter(|other| other.path != route.path);
        others.any(|other| {
            below(&route.path, &other.path).is_some_and(|rest| other.is_read_in(rest, &reading))
        })
    }
}

impl Route {
    fn covers(&self, path: &str) -> bool {
        self.path_match == PathMatch::Prefix || self.path == path
    }

    /// Whether this route, whose path ends with `rest`, may answer this reading.
    fn is_read_in(&self, rest: &str, text: &[u8]) -> bool {
        let mut read = path::segments(text);
        path::segments(rest.as_bytes()).all(|segment| read.next() == Some(segment))
            && (self.path_match == PathMatch::Prefix || read.next().is_none())
    }
}

/// What of a path is below another one.
fn below<'a>(above: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(above.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// The paths above `path`, longest first: `/a/b/c` → `/a/b`, `/a`, `/`.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    let end = path.floor_char_boundary(PATH_BYTES + 1);
    let ends = path[..end]
        .rmatch_indices('/')
        .map(|(at, _)| &path[..at.max(1)]);
    ends.filter(move |prefix| *prefix != path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(paths: &[(&str, PathMatch)]) -> Arc<Host> {
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
        Arc::new(Host {
            paths,
            ..Host::default()
        })
    }

    #[test]
    fn the_longest_path_wins_by_whole_segments() {
        let host = host(&[
            ("/", PathMatch::Exact),
            ("/api", PathMatch::Prefix),
            ("/api/orders", PathMatch::Prefix),
            ("/api/orders/export", PathMatch::Exact),
        ]);
        let route = |path| host.route(path).ok().map(|route| route.entrypoint.as_str());
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
        let paths = |routes: &Routes, name| {
            let host = routes.host(name, Door::Public);
            host.map(|host| host.paths.len())
        };
        assert_eq!(paths(&routes, "c.test"), None);
        let routes = routes.with_fallback(Some("a.test"));
        assert_eq!(paths(&routes, "b.test"), Some(0));
        assert_eq!(paths(&routes, "c.test"), Some(1));
        assert_eq!(paths(&routes.with("a.test", None), "c.test"), None);
    }

    #[test]
    fn a_name_inside_the_cluster_answers_there_alone_and_before_a_host_of_that_name() {
        let paths = |count| host(&[("/a", PathMatch::Exact), ("/b", PathMatch::Exact)][..count]);
        let routes = Routes::default()
            .with("shop.dev", Some(paths(1)))
            .with_inside("shop.dev", Some(paths(2)))
            .with_inside("shop.prod", Some(paths(2)));
        let count = |host, door| routes.host(host, door).map(|host| host.paths.len());
        assert_eq!(count("shop.dev", Door::Internal), Some(2));
        assert_eq!(count("shop.dev", Door::Public), Some(1));
        assert_eq!(count("shop.prod", Door::Internal), Some(2));
        assert_eq!(count("shop.prod", Door::Public), None);
        let routes = routes.with_inside("shop.dev", None);
        let host = routes.host("shop.dev", Door::Internal).unwrap();
        assert_eq!(host.paths.len(), 1);
    }

    #[test]
    fn a_function_for_the_cluster_answers_at_no_public_host() {
        let host = Arc::new(Host {
            visibility: Visibility::Cluster,
            ..Host::default()
        });
        let routes = Routes::default()
            .with("shop.test", Some(host.clone()))
            .with_inside("shop.prod", Some(host))
            .with_fallback(Some("shop.test"));
        for name in ["shop.test", "shop.prod", "other.test"] {
            assert!(routes.host(name, Door::Public).is_none(), "{name}");
            assert!(routes.host(name, Door::Internal).is_some(), "{name}");
        }
    }

    #[test]
    fn who_reads_a_snapshot_sees_no_change_of_it() {
        let before = Routes::default().with("a.test", Some(host(&[("/", PathMatch::Prefix)])));
        let after = before
            .with("a.test", None)
            .with("b.test", Some(host(&[("/", PathMatch::Prefix)])));
        let known = |routes: &Routes| {
            ["a.test", "b.test"].map(|host| routes.host(host, Door::Public).is_some())
        };
        assert_eq!(known(&before), [true, false]);
        assert_eq!(known(&after), [false, true]);
    }

    #[test]
    fn a_prefix_at_the_root_takes_everything() {
        let host = host(&[("/", PathMatch::Prefix)]);
        for path in ["/", "/a", "/a/b/", "//"] {
            assert!(host.route(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn a_path_that_servers_read_as_two_entrypoints_is_nobodys() {
        let host = host(&[
            ("/", PathMatch::Prefix),
            ("/api", PathMatch::Prefix),
            ("/api/orders", PathMatch::Prefix),
            ("/exact", PathMatch::Exact),
        ]);
        for path in [
            "//api",
            "/%61pi",
            "/api%2Forders",
            "/api/%6Frders",
            "/api//orders/7",
            "/api;v=1",
            "/api;v=1/orders",
            "/api/orders%3bx",
            "/api%5corders",
            "/;/api",
            "/exact;x",
            "/exact/%2f",
            "/%65xact/",
        ] {
            assert_eq!(host.route(path).unwrap_err(), Unrouted::Ambiguous, "{path}");
        }
        for (path, entrypoint) in [
            ("/api/a%2Fb", "/api"),
            ("/a%2Fapi", "/"),
            ("/api/orders/;v=1", "/api/orders"),
            ("/api/orders//%41", "/api/orders"),
            ("/%61pis", "/"),
            ("/exact%2fx", "/"),
            ("/J%C3%B6rg//", "/"),
        ] {
            let route = host.route(path).map(|route| route.entrypoint.as_str());
            assert_eq!(route, Ok(entrypoint), "{path}");
        }
    }

    #[test]
    fn a_path_of_slashes_is_soon_looked_at() {
        let path = "/".repeat(60_000);
        assert!(prefixes(&path).count() <= PATH_BYTES + 1);
        let longest = format!("/{}", "a".repeat(PATH_BYTES - 1));
        let host = host(&[(&longest, PathMatch::Prefix)]);
        assert!(host.route(&format!("{longest}/b")).is_ok());
    }
}
