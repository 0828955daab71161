//! What the Secrets and ConfigMaps that entrypoints use say, as hashes, so that a change of it can make a new revision.
//!
//! Contents are read when a Function that asked for this is reconciled, and once: two watches, of metadata alone, say which of them have
//! changed since. Hashes of contents and not resource versions, so that an object that is written anew with the same contents rolls
//! nothing.

mod uses;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crds::{Entrypoint, Function, names};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, ResourceExt, runtime::reflector::ObjectRef};
use serde::Serialize;

use crate::{
    controller::chain,
    observe::{self, Guarded},
};
pub use uses::Kind;
use uses::{Use, uses};

/// Secrets and ConfigMaps that one Function may use: each is a request to the API server.
const MOST: usize = 100;

/// A Secret or ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Hashes of an object's values by key; `None`: there is no such object.
type Contents = Option<BTreeMap<String, String>>;

/// Contents that are in use.
#[derive(Default)]
pub struct Configs {
    is_on: bool,
    known: Mutex<HashMap<Object, Entry>>,
}

/// What there is to know about the configuration of one Function.
#[derive(Debug, Default)]
pub struct Hashes {
    /// A hash for each entrypoint that uses something.
    pub by_entrypoint: HashMap<String, String>,
    /// Why they may be old: what cannot be read counts as it was read last.
    pub unread: Option<Problem>,
}

#[derive(Default)]
struct Entry {
    /// As they were read last.
    contents: Option<Contents>,
    /// Whether there was no change since.
    is_fresh: bool,
    /// Counts changes, so that what was read before one is not taken for what is there after it.
    changes: u64,
    users: HashSet<ObjectRef<Guarded>>,
}

/// Why contents are not part of revisions although a Function asks for it.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The operator may not read them.
    #[error(
        "annotation {annotation}: the operator may not read Secrets and ConfigMaps; set configRolls in the values of Thaw's chart, or remove the annotation",
        annotation = names::ROLL_ON_CONFIG_CHANGE
    )]
    Off,
    /// They are too many.
    #[error(
        "annotation {annotation}: {0} Secrets and ConfigMaps are in use, and changes are followed of at most {MOST}; use fewer, or remove the annotation",
        annotation = names::ROLL_ON_CONFIG_CHANGE
    )]
    TooMany(usize),
    /// Another try may mend it.
    #[error(
        "annotation {annotation}: read {kind:?} {name}: {}", told(source),
        annotation = names::ROLL_ON_CONFIG_CHANGE
    )]
    Unread {
        /// What it is.
        kind: Kind,
        /// Its name.
        name: String,
        /// What happened.
        source: kube::Error,
    },
}

impl Configs {
    /// Contents that may be read.
    pub fn readable() -> Self {
        Self {
            is_on: true,
            ..Self::default()
        }
    }

    /// Whether contents may be read.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// A hash for each entrypoint that uses something, if the Function asks for it.
    ///
    /// # Errors
    /// Why there is none. What could not be read must not look like a change, so an object that was never read before is an error, and
    /// others are as they were.
    pub async fn hashes(
        &self,
        client: &Client,
        function: &Function,
        entrypoints: &[Entrypoint],
    ) -> Result<Hashes, Problem> {
        let annotation = function.annotations().get(names::ROLL_ON_CONFIG_CHANGE);
        let user = reference(function);
        if annotation.is_none_or(|value| value != "true") {
            self.forget(&user);
            return Ok(Hashes::default());
        }
        if !self.is_on {
            return Err(Problem::Off);
        }
        let all: Vec<_> = entrypoints.iter().map(|e| uses(&e.template)).collect();
        let namespace = function.namespace().unwrap_or_default();
        // In an order, so that of several that cannot be read the same one is told each time.
        let objects: BTreeSet<_> = all.iter().flatten().map(|u| u.object(&namespace)).collect();
        if objects.len() > MOST {
            self.forget(&user);
            return Err(Problem::TooMany(objects.len()));
        }
        self.used(&user, &objects);
        let (contents, unread) = self.all_contents(client, objects).await?;
        let hashes = entrypoints
            .iter()
            .zip(all)
            .filter(|(_, uses)| !uses.is_empty());
        let hash = |(entrypoint, uses): (&Entrypoint, BTreeSet<Use>)| {
            let said: Vec<_> = uses
                .iter()
                .map(|u| said(u, &contents[&u.object(&namespace)]))
                .collect();
            let bytes = serde_json::to_vec(&said).expect("hashes are plain data");
            (entrypoint.name.clone(), names::hash(&bytes, 16))
        };
        Ok(Hashes {
            by_entrypoint: hashes.map(hash).collect(),
            unread,
        })
    }

    /// An object changed, came or went. Gives back the Functions that use it.
    pub fn changed(&self, object: &Object) -> Vec<ObjectRef<Guarded>> {
        let mut known = self.known();
        let Some(entry) = known.get_mut(object) else {
            return vec![];
        };
        entry.change();
        entry.users.iter().cloned().collect()
    }

    /// Any object of a kind may have changed while nobody watched. Gives back the Functions that use some.
    pub fn all_changed(&self, kind: Kind) -> Vec<ObjectRef<Guarded>> {
        let mut known = self.known();
        let of_kind = known.iter_mut().filter(|(object, _)| object.kind == kind);
        let users: HashSet<_> = of_kind
            .flat_map(|(_, entry)| {
                entry.change();
                entry.users.iter().cloned()
            })
            .collect();
        users.into_iter().collect()
    }

    /// A Function that uses nothing any more.
    pub fn forget(&self, function: &ObjectRef<Guarded>) {
        self.used(function, &BTreeSet::new());
    }

    fn used(&self, function: &ObjectRef<Guarded>, objects: &BTreeSet<Object>) {
        let mut known = self.known();
        for object in objects {
            let entry = known.entry(object.clone()).or_default();
            entry.users.insert(function.clone());
        }
        known.retain(|object, entry| {
            if !objects.contains(object) {
                entry.users.remove(function);
            }
            !entry.users.is_empty()
        });
    }

    /// What these objects say. After one that cannot be read, those that were read before count as they were: each could take as long to fail.
    async fn all_contents(
        &self,
        client: &Client,
        objects: BTreeSet<Object>,
    ) -> Result<(HashMap<Object, Contents>, Option<Problem>), Problem> {
        let mut all = HashMap::new();
        let mut unread = None;
        for object in objects {
            let (last, is_fresh) = self.last(&object);
            let contents = match last {
                Some(last) if is_fresh || unread.is_some() => last,
                last => match (self.contents(client, &object).await, last) {
                    (Ok(contents), _) => contents,
                    (Err(problem), Some(last)) => {
                        unread = Some(problem);
                        last
                    }
                    (Err(problem), None) => return Err(problem),
                },
            };
            all.insert(object, contents);
        }
        Ok((all, unread))
    }

    /// What an object said when it was read last, and whether it says that still.
    fn last(&self, object: &Object) -> (Option<Contents>, bool) {
        let known = self.known();
        let entry = known.get(object);
        entry.map_or((None, false), |entry| {
            (entry.contents.clone(), entry.is_fresh)
        })
    }

    async fn contents(&self, client: &Client, object: &Object) -> Result<Contents, Problem> {
        let before = self.known().get(object).map(|entry| entry.changes);
        let contents = read(client, object).await?;
        self.keep(object, before, &contents);
        Ok(contents)
    }

    /// Keeps what was read, unless there was a change since the reading began, after so many.
    fn keep(&self, object: &Object, changes: Option<u64>, contents: &Contents) {
        if let Some(entry) = self.known().get_mut(object)
            && Some(entry.changes) == changes
        {
            entry.contents = Some(contents.clone());
            entry.is_fresh = true;
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Object, Entry>> {
        // A panic inside one of the short sections leaves plain values behind.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn change(&mut self) {
        self.is_fresh = false;
        self.changes += 1;
    }
}

/// What one use of an object depends on.
#[derive(Serialize)]
struct Said<'a> {
    of: &'a Use,
    /// `None`: no such object, or no such key.
    values: Option<Vec<(&'a str, &'a str)>>,
}

fn said<'a>(of: &'a Use, contents: &'a Contents) -> Said<'a> {
    let values = contents.as_ref().map(|contents| {
        let wanted = contents
            .iter()
            .filter(|(key, _)| of.key.as_ref().is_none_or(|wanted| wanted == *key));
        wanted
            .map(|(key, hash)| (key.as_str(), hash.as_str()))
            .collect()
    });
    Said { of, values }
}

async fn read(client: &Client, object: &Object) -> Result<Contents, Problem> {
    let Object {
        kind,
        namespace,
        name,
    } = object;
    let found = match kind {
        Kind::Secret => {
            let api = Api::<Secret>::namespaced(client.clone(), namespace);
            let found = api.get_opt(name).await;
            found.map(|found| found.map(|secret| of_secret(&secret)))
        }
        Kind::ConfigMap => {
            let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
            let found = api.get_opt(name).await;
            found.map(|found| found.map(|map| of_config_map(&map)))
        }
    };
    found.map_err(|source| Problem::Unread {
        kind: *kind,
        name: name.clone(),
        source,
    })
}

/// What a person should read of an error.
fn told(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => chain(other),
    }
}

fn of_secret(secret: &Secret) -> BTreeMap<String, String> {
    let data = secret.data.iter().flatten();
    data.map(|(key, value)| (key.clone(), names::hash(&value.0, 64)))
        .collect()
}

fn of_config_map(map: &ConfigMap) -> BTreeMap<String, String> {
    let texts = map.data.iter().flatten();
    let texts = texts.map(|(key, value)| (key.clone(), names::hash(value.as_bytes(), 64)));
    let binaries = map.binary_data.iter().flatten();
    let binaries = binaries.map(|(key, value)| (key.clone(), names::hash(&value.0, 64)));
    texts.chain(binaries).collect()
}

/// How a Function is known to the controller.
pub(crate) fn reference(function: &Function) -> ObjectRef<Guarded> {
    observe::reference(&function.name_any(), function.namespace().as_deref())
}

#[cfg(test)]
mod tests;
