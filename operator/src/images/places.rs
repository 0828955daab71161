//! How many questions are asked at the same time: a registry that hangs, or a namespace with many images, takes its own share of the places
//! and leaves the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Questions of all. Each may hold an answer of a registry in memory.
const AT_ONCE: usize = 32;
/// Of those, questions of one namespace.
const OF_A_NAMESPACE: usize = 4;
/// Of those, questions to one registry.
const OF_A_REGISTRY: usize = 16;

/// The places of everybody who asks.
pub(super) struct Places {
    all: Arc<Semaphore>,
    namespaces: Shares<OF_A_NAMESPACE>,
    registries: Shares<OF_A_REGISTRY>,
}

/// The places of each namespace or registry, as long as somebody has or wants one.
#[derive(Default)]
struct Shares<const SIZE: usize>(Mutex<HashMap<String, Weak<Semaphore>>>);

impl Places {
    /// Waits for a place, which is free again when what is returned is dropped. Whoever waits for the share of its namespace takes nothing
    /// from a registry's, and nobody who waits for a share takes a place from all.
    pub(super) async fn take(&self, namespace: &str, registry: &str) -> [OwnedSemaphorePermit; 3] {
        let namespace = permit(self.namespaces.of(namespace)).await;
        let registry = permit(self.registries.of(registry)).await;
        [namespace, registry, permit(self.all.clone()).await]
    }
}

impl Default for Places {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(AT_ONCE)),
            namespaces: Shares::default(),
            registries: Shares::default(),
        }
    }
}

impl<const SIZE: usize> Shares<SIZE> {
    fn of(&self, whose: &str) -> Arc<Semaphore> {
        // A panic inside this short section leaves plain values behind.
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(whose).and_then(Weak::upgrade) {
            return share;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(SIZE));
        shares.insert(whose.to_owned(), Arc::downgrade(&share));
        share
    }
}

async fn permit(of: Arc<Semaphore>) -> OwnedSemaphorePermit {
    of.acquire_owned().await.expect("nobody closes it")
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_namespace_takes_its_own_share_alone() {
        let places = Places::default();
        let mut taken = Vec::new();
        for _ in 0..OF_A_NAMESPACE {
            taken.push(places.take("many", "docker.io").await);
        }
        let mut next = Box::pin(places.take("many", "ghcr.io"));
        assert!((&mut next).now_or_never().is_none());
        assert!(places.take("few", "docker.io").now_or_never().is_some());
        taken.pop();
        assert!(next.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_registry_that_hangs_leaves_places_to_others_and_nothing_is_kept_of_those_that_are_done()
     {
        let places = Places::default();
        let mut taken = Vec::new();
        for number in 0..OF_A_REGISTRY {
            let namespace = format!("n{number}");
            taken.push(places.take(&namespace, "hangs.test").await);
        }
        let late = places.take("late", "hangs.test");
        assert!(late.now_or_never().is_none());
        let other = places.take("late", "docker.io").now_or_never();
        assert!(other.is_some());
        drop((taken, other));
        drop(places.take("next", "next.test").await);
        assert_eq!(places.namespaces.0.lock().unwrap().len(), 1);
        assert_eq!(places.registries.0.lock().unwrap().len(), 1);
    }
}
