//! Who has which host: the claims of all Functions, by host, and what the platform allows.
//!
//! # Guarantees
//! - A host has one Function, the one whose [`Claim`] is the least, in whatever order Functions were seen.
//! - Looking at one Function costs as much as it has hosts, however many Functions there are.

mod allowed;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crds::{
    conditions::Reason,
    entrypoint::resolve,
    function::Function,
    hosts::{self, Claim, Kind},
    names,
};
use kube::{Resource, ResourceExt, runtime::reflector::ObjectRef};

use crate::{observe::Guarded, platform::Platform};
pub use allowed::Allowed;

/// The hosts of one Function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// Its default host. It lacks it only if an older Function's, cut to 63 characters, is the same.
    pub default: Option<String>,
    /// Those of the manifest that it has, in its order.
    pub custom: Vec<String>,
    /// Those that it has not.
    pub refused: Vec<Refused>,
}

/// A host that a Function has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The host.
    pub host: String,
    /// Why.
    pub why: Refusal,
}

/// Why a Function has not a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another Function has it.
    Taken,
    /// It has the form of a default host.
    DefaultHost,
    /// It is a name inside the cluster.
    InsideName,
    /// The chart does not give it to the namespace.
    NotAllowed,
}

/// A Function's namespace and name.
type Name = (String, String);

/// The claims of all Functions.
#[derive(Debug, Default)]
pub struct Claims(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Who claims a host.
    hosts: HashMap<String, BTreeSet<Claim>>,
    /// What each Function claims.
    functions: HashMap<Name, Vec<(String, Claim)>>,
}

impl Hosts {
    /// Every host that the Function has, the default one first.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.default.iter().chain(&self.custom).map(String::as_str)
    }
}

impl Refused {
    /// The reason of the condition.
    pub fn reason(&self) -> Reason {
        match self.why {
            Refusal::Taken | Refusal::DefaultHost | Refusal::InsideName => Reason::HostConflict,
            Refusal::NotAllowed => Reason::HostNotAllowed,
        }
    }

    /// What a person should read. It names no other Function: whose host it is may be none of the reader's business.
    pub fn message(&self) -> String {
        let host = &self.host;
        match self.why {
            Refusal::Taken => format!(
                "{host} belongs to another Function, which is older; use another host, or have that Function give it up"
            ),
            Refusal::DefaultHost => format!(
                "{host} has the form of a default host, which only the Function of that name has; use another host"
            ),
            Refusal::InsideName => format!(
                "{host} is a name inside the cluster, which only the Service of that name has; use another host"
            ),
            Refusal::NotAllowed => format!(
                "{host} is not among the hosts that this namespace may have; use another host, or have it added to hosts.allowed of Thaw's chart"
            ),
        }
    }
}

impl Claims {
    /// The Function is there and wants these hosts. Returns the others whose hosts are not the same any more.
    ///
    /// A manifest that cannot be read or breaks a rule changes nothing: the Function keeps the hosts that it has. If it was never seen with
    /// another one, as after a restart, those are in its status.
    pub fn seen(&self, object: &Guarded, platform: &Platform) -> Vec<ObjectRef<Guarded>> {
        let name = name_of(object);
        let mut state = self.state();
        let custom = match &object.0 {
            Ok(function) if resolve(&function.spec).is_ok() => {
                let wanted = wanted(function, platform).into_iter();
                wanted.filter_map(Result::ok).collect()
            }
            _ if state.functions.contains_key(&name) => return vec![],
            _ => reported(object, platform),
        };
        let custom = custom.into_iter().map(|host| (Kind::Custom, host));
        let default = (Kind::Default, default_host(object, platform));
        let claims = std::iter::once(default).chain(custom);
        let claims = claims.map(|(kind, host)| (host, Claim::new(kind, object.meta())));
        state.replace(name, claims.collect())
    }

    /// The Function is gone. Returns the others whose hosts are not the same any more.
    pub fn gone(&self, object: &Guarded) -> Vec<ObjectRef<Guarded>> {
        self.state().replace(name_of(object), vec![])
    }

    /// These are all Functions that there are.
    pub fn listed(&self, all: &[Arc<Guarded>], platform: &Platform) {
        let there: HashSet<Name> = all.iter().map(|object| name_of(&**object)).collect();
        let mut state = self.state();
        let known = state.functions.keys();
        let gone: Vec<Name> = known
            .filter(|name| !there.contains(*name))
            .cloned()
            .collect();
        for name in gone {
            state.replace(name, vec![]);
        }
        drop(state);
        for object in all {
            self.seen(object, platform);
        }
    }

    /// The hosts that a Function has now.
    pub fn hosts(&self, function: &Function, platform: &Platform) -> Hosts {
        match resolve(&function.spec) {
            Ok(_) => self.granted(function, wanted(function, platform), platform),
            Err(_) => self.kept(function, platform),
        }
    }

    /// The same for one whose manifest says nothing that could be followed.
    pub fn kept<K: Resource<DynamicType = ()>>(&self, object: &K, platform: &Platform) -> Hosts {
        let claims = self.state().functions.get(&name_of(object)).cloned();
        let claims = claims.into_iter().flatten();
        let custom = claims.filter(|(_, claim)| claim.kind == Kind::Custom);
        let custom = custom.map(|(host, _)| Ok(host)).collect();
        self.granted(object, custom, platform)
    }

    fn granted<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        wanted: Vec<Result<String, Refused>>,
        platform: &Platform,
    ) -> Hosts {
        let state = self.state();
        let has = |kind, host: &str| state.has(&Claim::new(kind, object.meta()), host);
        let taken = |host| Refused {
            host,
            why: Refusal::Taken,
        };
        let mut hosts = Hosts::default();
        let default = default_host(object, platform);
        if has(Kind::Default, &default) {
            hosts.default = Some(default);
        } else {
            hosts.refused.push(taken(default));
        }
        for host in wanted {
            match host {
                Ok(host) if has(Kind::Custom, &host) => hosts.custom.push(host),
                Ok(host) => hosts.refused.push(taken(host)),
                Err(refused) => hosts.refused.push(refused),
            }
        }
        hosts
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock panics; if it did, every Function is looked at again when a watch starts over.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn default_host<K: Resource<DynamicType = ()>>(object: &K, platform: &Platform) -> String {
    let (namespace, name) = name_of(object);
    names::default_host(&name, &namespace, &platform.domain)
}

/// Each custom host that a Function asks for, unless the platform refuses it.
fn wanted(function: &Function, platform: &Platform) -> Vec<Result<String, Refused>> {
    let namespace = function.namespace().unwrap_or_default();
    let default = default_host(function, platform);
    let asked = hosts::custom(&function.spec).into_iter();
    let asked = asked.filter(|host| *host != default);
    let judged = asked.map(|host| match refusal(&namespace, &host, platform) {
        None => Ok(host),
        Some(why) => Err(Refused { host, why }),
    });
    judged.collect()
}

/// The custom hosts that a Function was given, as far as the platform still allows them.
fn reported(object: &Guarded, platform: &Platform) -> Vec<String> {
    let namespace = object.namespace().unwrap_or_default();
    let hosts = object.reported_hosts().iter();
    let allowed = hosts.filter(|host| refusal(&namespace, host, platform).is_none());
    allowed.cloned().collect()
}

fn refusal(namespace: &str, host: &str, platform: &Platform) -> Option<Refusal> {
    let below = host.strip_suffix(&platform.cluster_domain);
    let is_inside =
        host.ends_with(".svc") || below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if names::may_be_default_host(host, &platform.domain) {
        return Some(Refusal::DefaultHost);
    }
    if is_inside {
        return Some(Refusal::InsideName);
    }
    let allowed = platform.allowed_hosts.as_ref();
    let is_allowed = allowed.is_none_or(|allowed| allowed.allow(namespace, host));
    (!is_allowed).then_some(Refusal::NotAllowed)
}

impl State {
    /// Gives a Function these claims in place of those it had. Returns the others that lost or got a host by it.
    fn replace(&mut self, name: Name, claims: Vec<(String, Claim)>) -> Vec<ObjectRef<Guarded>> {
        if self.functions.get(&name) == Some(&claims) {
            return vec![];
        }
        let before = match claims.is_empty() {
            true => self.functions.remove(&name),
            false => self.functions.insert(name.clone(), claims.clone()),
        };
        let before = before.unwrap_or_default();
        let mut touched: Vec<&String> =
            before.iter().chain(&claims).map(|(host, _)| host).collect();
        touched.sort_unstable();
        touched.dedup();
        let holders = |state: &Self| -> Vec<Option<Claim>> {
            let holder = |host: &&String| state.hosts.get(*host)?.first().cloned();
            touched.iter().map(holder).collect()
        };
        let had = holders(self);
        for (host, claim) in &before {
            self.remove(host, claim);
        }
        for (host, claim) in &claims {
            let claimants = self.hosts.entry(host.clone()).or_default();
            claimants.insert(claim.clone());
        }
        let have = holders(self);
        let changed = had.into_iter().zip(have).filter(|(had, has)| had != has);
        let concerned = changed.flat_map(|(had, has)| [had, has]).flatten();
        let others =
            concerned.filter(|claim| (&claim.namespace, &claim.name) != (&name.0, &name.1));
        let others: HashSet<Name> = others.map(|claim| (claim.namespace, claim.name)).collect();
        let reference = |(namespace, name): Name| ObjectRef::new(&name).within(&namespace);
        others.into_iter().map(reference).collect()
    }

    fn remove(&mut self, host: &str, claim: &Claim) {
        if let Some(claimants) = self.hosts.get_mut(host) {
            claimants.remove(claim);
            if claimants.is_empty() {
                self.hosts.remove(host);
            }
        }
    }

    /// Whether a claim is the least of its host's. One that was not seen yet counts as seen.
    fn has(&self, claim: &Claim, host: &str) -> bool {
        let holder = self.hosts.get(host).and_then(BTreeSet::first);
        let is_own =
            |holder: &Claim| (&holder.namespace, &holder.name) == (&claim.namespace, &claim.name);
        holder.is_none_or(|holder| claim <= holder || is_own(holder))
    }
}

fn name_of<K: Resource>(object: &K) -> Name {
    (object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests;
