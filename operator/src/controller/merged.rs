//! One watch made of a watch in each of several namespaces, for an operator that may not look at the others.

use std::{collections::HashSet, fmt::Debug, hash::Hash};

use futures::{Stream, StreamExt, stream, stream::BoxStream};
use kube::{
    Api, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{Store, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;

use super::patience::Patience;

/// An event of a watch.
pub(super) type Seen<K> = watcher::Result<Event<K>>;

/// What the operator may see of a kind: one watch of the whole cluster, or one of each namespace that it was told. The caller reflects the
/// events into `writer`.
pub(super) fn watched<K>(
    namespaces: &[String],
    writer: &Writer<K>,
    config: &watcher::Config,
    api: impl Fn(Option<&str>) -> Api<K>,
) -> BoxStream<'static, Seen<K>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Send + Sync,
{
    let events = |namespace: Option<&str>| {
        let watch = watcher(api(namespace), config.clone());
        watch.backoff(Patience::default()).boxed()
    };
    if namespaces.is_empty() {
        return events(None);
    }
    let watches = namespaces.iter();
    let watches = watches.map(|name| (name.clone(), events(Some(name))));
    merged(watches.collect(), writer.as_reader()).boxed()
}

/// The events of all watches, as one watch would send them: what it lists first is complete when every watch has listed. `store` is the
/// cache that they fill.
fn merged<K>(
    watches: Vec<(String, BoxStream<'static, Seen<K>>)>,
    store: Store<K>,
) -> impl Stream<Item = Seen<K>> + Send
where
    K: Resource + Clone + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Send + Sync,
{
    let mut lists = Lists {
        open: vec![None; watches.len()],
        is_listed: vec![false; watches.len()],
        namespaces: watches.iter().map(|(name, _)| name.clone()).collect(),
        store,
    };
    let numbered = watches
        .into_iter()
        .enumerate()
        .map(|(watch, (_, events))| events.map(move |event| (watch, event)).boxed());
    stream::select_all(numbered).flat_map(move |(watch, event)| {
        let events = match event {
            Ok(event) => lists.take(watch, event).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        stream::iter(events)
    })
}

/// How far each watch is.
struct Lists<K: Resource + 'static>
where
    K::DynamicType: Eq + Hash,
{
    namespaces: Vec<String>,
    /// Names listed since a watch started over; `None` outside such a list.
    open: Vec<Option<HashSet<String>>>,
    /// Whether each has listed once.
    is_listed: Vec<bool>,
    store: Store<K>,
}

impl<K> Lists<K>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    /// A list that starts over becomes what changed meanwhile, since the lists of the others stand.
    fn take(&mut self, watch: usize, event: Event<K>) -> Vec<Event<K>> {
        match event {
            Event::Apply(_) | Event::Delete(_) => vec![event],
            Event::Init => {
                self.open[watch] = Some(HashSet::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                let names = self.open[watch].get_or_insert_default();
                names.insert(object.name_any());
                vec![Event::Apply(object)]
            }
            Event::InitDone => {
                let mut events = self.missing(watch);
                let were_all_listed = self.is_listed.iter().all(|is_listed| *is_listed);
                self.is_listed[watch] = true;
                if !were_all_listed && self.is_listed.iter().all(|is_listed| *is_listed) {
                    events.extend(self.whole());
                }
                events
            }
        }
    }

    /// What the list that ended did not show.
    fn missing(&mut self, watch: usize) -> Vec<Event<K>> {
        let listed = self.open[watch].take().unwrap_or_default();
        let namespace = Some(&self.namespaces[watch]);
        let missing = self.store.state_filter(|object| {
            object.meta().namespace.as_ref() == namespace && !listed.contains(&object.name_any())
        });
        let missing = missing.iter();
        missing
            .map(|object| Event::Delete(K::clone(object)))
            .collect()
    }

    /// All that came before every watch had listed, as a list, which tells that the cache is complete.
    fn whole(&self) -> impl Iterator<Item = Event<K>> {
        let all = self.store.state().into_iter();
        let all = all.map(|object| Event::InitApply(K::clone(&object)));
        std::iter::once(Event::Init)
            .chain(all)
            .chain(std::iter::once(Event::InitDone))
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::reflector::store;

    use super::*;

    fn object(namespace: &str, name: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.namespace = Some(namespace.to_owned());
        object.metadata.name = Some(name.to_owned());
        object
    }

    /// Two namespaces, `a` and `b`, and the cache that their events fill.
    struct Two {
        watches: Vec<mpsc::UnboundedSender<Seen<ConfigMap>>>,
        events: BoxStream<'static, Seen<ConfigMap>>,
        store: Store<ConfigMap>,
    }

    impl Two {
        fn new() -> Self {
            let (store, writer) = store();
            let (a, from_a) = mpsc::unbounded();
            let (b, from_b) = mpsc::unbounded();
            let watches = vec![
                ("a".to_owned(), from_a.boxed()),
                ("b".to_owned(), from_b.boxed()),
            ];
            Self {
                watches: vec![a, b],
                events: merged(watches, store.clone()).reflect(writer).boxed(),
                store,
            }
        }

        /// Sends events of one watch, takes what comes of them, and says what is in the cache.
        fn send(&mut self, watch: usize, events: Vec<Event<ConfigMap>>) -> Vec<String> {
            for event in events {
                self.watches[watch].unbounded_send(Ok(event)).unwrap();
            }
            while let Some(Some(event)) = futures::FutureExt::now_or_never(self.events.next()) {
                event.unwrap();
            }
            let mut names: Vec<_> = self.store.state().iter().map(|o| o.name_any()).collect();
            names.sort();
            names
        }

        fn is_ready(&self) -> bool {
            futures::FutureExt::now_or_never(self.store.wait_until_ready()).is_some()
        }
    }

    #[test]
    fn the_cache_is_complete_when_every_namespace_was_listed() {
        let mut two = Two::new();
        two.send(
            0,
            vec![
                Event::Init,
                Event::InitApply(object("a", "1")),
                Event::InitDone,
            ],
        );
        two.send(
            0,
            vec![
                Event::Apply(object("a", "2")),
                Event::Delete(object("a", "1")),
            ],
        );
        assert!(!two.is_ready());
        two.send(1, vec![Event::Init, Event::InitApply(object("b", "3"))]);
        assert!(!two.is_ready());
        assert_eq!(two.send(1, vec![Event::InitDone]), ["2", "3"]);
        assert!(two.is_ready());
    }

    #[test]
    fn a_list_that_starts_over_removes_what_is_gone_from_its_own_namespace_alone() {
        let mut two = Two::new();
        for (watch, namespace, name) in [(0, "a", "1"), (1, "b", "2")] {
            let first = Event::InitApply(object(namespace, name));
            two.send(watch, vec![Event::Init, first, Event::InitDone]);
        }
        assert_eq!(
            two.send(0, vec![Event::Init]),
            ["1", "2"],
            "until it is known"
        );
        let again = vec![Event::InitApply(object("a", "3")), Event::InitDone];
        assert_eq!(two.send(0, again), ["2", "3"]);
        assert_eq!(two.send(1, vec![Event::Init, Event::InitDone]), ["3"]);
    }
}
