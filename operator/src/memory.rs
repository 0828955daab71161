//! What the operator did and the caches may not show yet.
//!
//! Without it, a reconcile that runs before the watch brings its own last status back would see a condition flip twice, and tell
//! people the same thing twice.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crds::FunctionStatus;
use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::Time};
use kube::{Resource, ResourceExt, runtime::reflector::ObjectRef};
use tokio::time::Instant;

use crate::{
    observe::{Caches, Guarded, reference},
    waits::Waits,
};

/// So many Functions are tried again at once, and then one every [`RETRY_SPACING`], however many fail.
const RETRIES_AT_ONCE: u32 = 100;
/// See [`RETRIES_AT_ONCE`].
const RETRY_SPACING: Duration = Duration::from_millis(100);
/// A reconcile that takes so long waited for answers, as behind a webhook that does not give one.
const SLOW: Duration = Duration::from_secs(5);
/// For so long after one of its Functions was slow, a namespace is: longer than the wait before a try again.
const SLOW_AFTERWARDS: Duration = Duration::from_secs(30);

/// One entry for each Function, forgotten with it.
#[derive(Default)]
pub struct Memory {
    entries: Mutex<HashMap<ObjectRef<Guarded>, Entry>>,
    /// When the next retry of all would be, were there one every [`RETRY_SPACING`].
    next_turn: Mutex<Option<Instant>>,
    /// Namespaces in which a Function was slow, and until when that counts.
    slow_namespaces: Mutex<HashMap<String, Instant>>,
}

#[derive(Default)]
struct Entry {
    uid: Option<String>,
    status: Option<FunctionStatus>,
    /// The version of the object on which the status was written.
    written_on: Option<String>,
    retries: Option<Waits>,
    counts_due: Option<Instant>,
    is_slow: bool,
    /// Deployments that could be removed, by UID, and since when.
    orphans: HashMap<String, Instant>,
    /// Entrypoints whose image no node has told of yet: the answer that came meanwhile, and since when.
    unmeasured: HashMap<String, (Option<Time>, Instant)>,
}

impl Memory {
    /// The status that was last written for this very object.
    pub fn status<K: Resource>(&self, of: &K) -> Option<FunctionStatus> {
        self.entry(of, |entry| entry.status.clone())
    }

    /// The status that was last written, as long as the cache shows the object as it was then.
    pub fn unseen_status<K: Resource>(&self, of: &K) -> Option<FunctionStatus> {
        let version = &of.meta().resource_version;
        self.entry(of, |entry| {
            let is_unseen = version.is_some() && entry.written_on == *version;
            entry.status.clone().filter(|_| is_unseen)
        })
    }

    /// Remembers what was written.
    pub fn reported<K: Resource>(&self, of: &K, status: FunctionStatus) {
        self.entry(of, |entry| {
            entry.status = Some(status);
            entry.written_on = of.meta().resource_version.clone();
            entry.counts_due = None;
        });
    }

    /// Something failed: a status may have been written without an answer, so what stands on the object counts and not what was written
    /// before. Otherwise an entrypoint whose question to the activator had no answer of the API server would count as not asked.
    pub fn doubt<K: Resource>(&self, of: &K) {
        self.entry(of, |entry| entry.status = None);
    }

    /// How long a write of instance counts, wanted now, still has to wait so that there is at most one every `delay`.
    pub fn until_counts_are_due<K: Resource>(&self, of: &K, delay: Duration) -> Duration {
        let now = Instant::now();
        self.entry(of, |entry| *entry.counts_due.get_or_insert(now + delay)) - now
    }

    /// Leaves only the orphans that have been ones for this long, and says when to look at the others again.
    pub fn let_linger<K: Resource>(
        &self,
        of: &K,
        orphans: &mut Vec<Arc<Deployment>>,
        delay: Duration,
    ) -> Option<Duration> {
        let now = Instant::now();
        let uids: Vec<_> = orphans.iter().filter_map(|orphan| orphan.uid()).collect();
        let since = self.entry(of, |entry| {
            entry.orphans.retain(|uid, _| uids.contains(uid));
            for uid in uids {
                entry.orphans.entry(uid).or_insert(now);
            }
            entry.orphans.clone()
        });
        let age = |orphan: &Deployment| {
            let since = orphan.uid().and_then(|uid| since.get(&uid).copied());
            since.map_or(Duration::ZERO, |since| now - since)
        };
        let next = orphans
            .iter()
            .map(|orphan| age(orphan))
            .filter(|age| *age < delay)
            .max();
        orphans.retain(|orphan| age(orphan) >= delay);
        next.map(|age| delay - age)
    }

    /// How long an entrypoint has waited for the word of a node; from the start again when the activator has an answer, from which on
    /// that word matters.
    pub fn waited<K: Resource>(
        &self,
        of: &K,
        entrypoint: &str,
        answered: Option<&Time>,
    ) -> Duration {
        let now = Instant::now();
        self.entry(of, |entry| {
            let begun = || (answered.cloned(), now);
            let waits = entry.unmeasured.entry(entrypoint.to_owned());
            let waits = waits.or_insert_with(begun);
            if waits.0.as_ref() != answered {
                *waits = begun();
            }
            now - waits.1
        })
    }

    /// An entrypoint waits for the word of a node no more.
    pub fn waits_no_more<K: Resource>(&self, of: &K, entrypoint: &str) {
        self.entry(of, |entry| entry.unmeasured.remove(entrypoint));
    }

    /// The wait before the next try; it grows with each one until [`Self::succeeded`], and with the number of Functions that fail.
    pub fn next_retry<K: Resource>(&self, of: &K) -> Duration {
        let own = self.entry(of, |entry| {
            let retries = entry.retries.get_or_insert_default();
            retries.next_wait()
        });
        own.max(self.turn())
    }

    /// How long until there is a turn among all Functions that fail.
    fn turn(&self) -> Duration {
        let now = Instant::now();
        let mut next = self
            .next_turn
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let turn = next.map_or(now, |next| next.max(now));
        *next = Some(turn + RETRY_SPACING);
        (turn - now).saturating_sub(RETRIES_AT_ONCE * RETRY_SPACING)
    }

    /// Nothing is left to try again.
    pub fn succeeded<K: Resource>(&self, of: &K) {
        self.entry(of, |entry| entry.retries = None);
    }

    /// Whether its last reconcile, or one in its namespace of late, took so long that it must not hold up others. What makes one slow, such
    /// as a webhook, is often in the way of all in its namespace, and those that are new there have no last one.
    pub fn is_slow<K: Resource>(&self, of: &K) -> bool {
        let now = Instant::now();
        let mut slow = self.slow_namespaces();
        slow.retain(|_, until| *until > now);
        let namespace = of.meta().namespace.as_deref().unwrap_or_default();
        slow.contains_key(namespace) || self.entry(of, |entry| entry.is_slow)
    }

    /// Remembers how long a reconcile took.
    pub fn took<K: Resource>(&self, of: &K, time: Duration) {
        let is_slow = time >= SLOW;
        self.entry(of, |entry| entry.is_slow = is_slow);
        if is_slow {
            let namespace = of.meta().namespace.clone().unwrap_or_default();
            let until = Instant::now() + SLOW_AFTERWARDS;
            self.slow_namespaces().insert(namespace, until);
        }
    }

    /// Drops an object that is gone.
    pub fn forget(&self, gone: &ObjectRef<Guarded>) {
        self.entries().remove(gone);
    }

    /// Drops all that are gone, for deletions that no watch event told.
    pub fn forget_missing(&self, caches: &Caches) {
        self.entries()
            .retain(|known, _| caches.functions.get(known).is_some());
    }

    fn entry<K: Resource, T>(&self, of: &K, with: impl FnOnce(&mut Entry) -> T) -> T {
        let meta = of.meta();
        let name = meta.name.as_deref().unwrap_or_default();
        let key = reference(name, meta.namespace.as_deref());
        let mut entries = self.entries();
        let entry = entries.entry(key).or_default();
        if entry.uid != meta.uid {
            *entry = Entry {
                uid: meta.uid.clone(),
                ..Entry::default()
            };
        }
        with(entry)
    }

    fn slow_namespaces(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        let namespaces = self.slow_namespaces.lock();
        namespaces.unwrap_or_else(PoisonError::into_inner)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<ObjectRef<Guarded>, Entry>> {
        // A panic inside one of the short closures above leaves plain values behind.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        double::fixtures,
        waits::{LONGEST, SHORTEST},
    };

    #[test]
    fn retries_grow_more_rare_and_start_again_after_a_success() {
        let (memory, function) = (Memory::default(), fixtures::function("hello", "{}"));
        let waits: Vec<_> = (0..12).map(|_| memory.next_retry(&function)).collect();
        assert!(waits[0] >= SHORTEST && waits[0] < Duration::from_secs(3));
        assert!(waits[11] >= LONGEST);
        assert!(waits.iter().all(|wait| *wait <= 2 * LONGEST));
        memory.succeeded(&function);
        assert!(memory.next_retry(&function) < Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_fail_only_so_many_are_tried_again() {
        let memory = Memory::default();
        let wait = |n| memory.next_retry(&fixtures::function(&format!("f{n}"), "{}"));
        let waits: Vec<_> = (0..700).map(wait).collect();
        let within = |time| waits.iter().filter(|wait| **wait <= time).count();
        assert!(within(2 * SHORTEST) >= 100, "some are tried soon");
        assert!(within(Duration::from_secs(30)) <= 401);
        assert_eq!(within(Duration::from_secs(61)), 700);
    }

    #[tokio::test(start_paused = true)]
    async fn a_namespace_is_slow_until_none_of_its_functions_has_been_for_a_while() {
        let (memory, shop) = (Memory::default(), fixtures::function("shop", "{}"));
        let mut elsewhere = fixtures::function("hello", "{}");
        let hello = elsewhere.clone();
        elsewhere.metadata.namespace = Some("elsewhere".to_owned());
        memory.took(&shop, SLOW);
        assert!(memory.is_slow(&shop) && memory.is_slow(&hello));
        assert!(!memory.is_slow(&elsewhere));
        memory.took(&hello, SLOW / 2);
        assert!(memory.is_slow(&hello), "the webhook may be for some alone");
        tokio::time::advance(SLOW_AFTERWARDS).await;
        assert!(memory.is_slow(&shop) && !memory.is_slow(&hello));
    }

    #[test]
    fn a_function_made_anew_under_the_same_name_is_not_taken_for_the_old_one() {
        let (memory, mut function) = (Memory::default(), fixtures::function("hello", "{}"));
        memory.reported(&function, FunctionStatus::default());
        assert!(memory.status(&function).is_some());
        function.metadata.uid = Some("another".to_owned());
        assert!(memory.status(&function).is_none());
    }
}
