use tokio::sync::{mpsc, watch};

use super::*;
use crate::{budget::Caps, held, metrics::Metrics};

const A: Watch = Watch {
    kind: FUNCTIONS,
    scope: 0,
};
const B: Watch = Watch {
    kind: FUNCTIONS,
    scope: 1,
};

/// A world of the namespaces `a` and `b`, and whether it is synced.
fn world() -> (World, watch::Receiver<bool>) {
    let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
    let (reports, _) = Reports::new(Client::try_from(nowhere).unwrap());
    let metrics = Arc::new(Metrics::default());
    let (orders, _) = mpsc::unbounded_channel();
    let limits = held::Limits::default();
    let entrypoints = Entrypoints::new(metrics.clone(), orders, Caps::default(), limits);
    let proxy = Proxy {
        routes: Default::default(),
        metrics,
        body_rate: None,
        trusted: Default::default(),
    };
    let (is_synced, synced) = watch::channel(false);
    let mut world = World::new(
        "me".to_owned(),
        Hosts::new("example.com".to_owned(), "cluster.local".to_owned()),
        Arc::new(proxy),
        Arc::new(entrypoints),
        reports,
        Arc::default(),
        is_synced,
    );
    world.begin(vec!["a".to_owned(), "b".to_owned()], 6);
    (world, synced)
}

/// One list of Functions.
fn list(world: &mut World, watch: Watch, namespace: &str, names: &[&str]) {
    let spec = "{image: a, entrypoints: [{name: web, path: /}]}";
    let mut events = vec![Event::Init];
    for name in names {
        let mut function = Function::new(name, serde_yaml::from_str(spec).unwrap());
        function.metadata.namespace = Some(namespace.to_owned());
        events.push(Event::InitApply(DeserializeGuard(Ok(function))));
    }
    events.push(Event::InitDone);
    for event in events {
        world.take(watch, event, World::function, World::function_gone);
    }
}

fn known(world: &World) -> Vec<String> {
    let mut known = [world.known(A), world.known(B)].concat();
    known.sort();
    known
}

#[tokio::test]
async fn a_list_tells_nothing_about_other_namespaces() {
    let (mut world, _) = world();
    list(&mut world, A, "a", &["f", "g"]);
    list(&mut world, B, "b", &["f"]);
    assert_eq!(known(&world), ["a/f", "a/g", "b/f"]);
    list(&mut world, A, "a", &["g"]);
    assert_eq!(known(&world), ["a/g", "b/f"]);
    list(&mut world, B, "b", &[]);
    assert_eq!(known(&world), ["a/g"]);
}

#[tokio::test]
async fn it_is_synced_when_every_watch_has_listed() {
    let (mut world, synced) = world();
    for scope in 0..2 {
        for kind in [FUNCTIONS, DEPLOYMENTS, PODS] {
            assert!(!*synced.borrow(), "before {kind} of {scope}");
            world.note_synced(Watch { kind, scope }.place());
        }
    }
    assert!(*synced.borrow());
}
