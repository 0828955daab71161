//! Which Function answers each host. The operator gives a host to one Function; while it passes from one to another the statuses of two
//! may name it, and then the older one answers, in whatever order they are seen.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crds::{
    function::Function,
    hosts::{self, Claim, Kind},
    names,
};

use super::functions::Name;
use crate::routes::{Host, Routes};

/// The hosts of all Functions.
#[derive(Debug)]
pub struct Hosts {
    domain: String,
    cluster_domain: String,
    /// Who claims a host and what it would lead to; the first one has it.
    claimants: HashMap<String, BTreeMap<Claim, Arc<Host>>>,
    /// What each Function claims.
    claims: HashMap<Name, Vec<(String, Claim)>>,
}

impl Hosts {
    /// Nobody claims anything.
    pub fn new(domain: String, cluster_domain: String) -> Self {
        Self {
            domain,
            cluster_domain,
            claimants: HashMap::new(),
            claims: HashMap::new(),
        }
    }

    /// The default host of a Function.
    pub(super) fn default_host(&self, (namespace, name): &Name) -> String {
        names::default_host(name, namespace, &self.domain)
    }

    /// Routes in which the hosts of a Function lead to these paths.
    pub(super) fn seen(
        &mut self,
        name: &Name,
        function: &Function,
        paths: Host,
        routes: &Routes,
    ) -> Routes {
        let claim = |kind, host| (host, Claim::new(kind, &function.metadata));
        let granted = hosts::granted(function).into_iter();
        let custom = granted.map(|host| claim(Kind::Custom, host));
        let default = claim(Kind::Default, self.default_host(name));
        let claims = std::iter::once(default).chain(custom).collect();
        self.lead(name, claims, Some(Arc::new(paths)), routes)
    }

    /// Routes in which nothing leads to a Function.
    pub(super) fn gone(&mut self, name: &Name, routes: &Routes) -> Routes {
        self.lead(name, vec![], None, routes)
    }

    fn lead(
        &mut self,
        name: &Name,
        claims: Vec<(String, Claim)>,
        to: Option<Arc<Host>>,
        routes: &Routes,
    ) -> Routes {
        let before = self.claims.remove(name).unwrap_or_default();
        for (host, claim) in &before {
            if let Some(claimants) = self.claimants.get_mut(host) {
                claimants.remove(claim);
            }
        }
        for ((host, claim), to) in claims.iter().zip(to.iter().cycle()) {
            let claimants = self.claimants.entry(host.clone()).or_default();
            claimants.insert(claim.clone(), to.clone());
        }
        let mut routes = routes.clone();
        for (host, _) in before.iter().chain(&claims) {
            let first = self.claimants.get(host).and_then(BTreeMap::first_key_value);
            routes = routes.with(host, first.map(|(_, paths)| paths.clone()));
            if first.is_none() {
                self.claimants.remove(host);
            }
        }
        if !claims.is_empty() {
            self.claims.insert(name.clone(), claims);
        }
        let (namespace, function) = name;
        for host in names::inside_hosts(function, namespace, &self.cluster_domain) {
            routes = routes.with_inside(&host, to.clone());
        }
        routes
    }
}

#[cfg(test)]
mod tests;
