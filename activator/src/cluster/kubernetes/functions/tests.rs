use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::*;
use crate::{
    budget::Caps,
    engine::Takeover,
    entrypoint::{Entrypoint, Order},
    held::Limits,
    metrics::Metrics,
    proxy::TrustedProxies,
    server::Door,
};

type Ordered = UnboundedReceiver<(Arc<Entrypoint>, Order)>;

/// What Functions route to, seen by an owner of everything.
fn functions() -> (Functions, Arc<Entrypoints>, Ordered) {
    let (orders, ordered) = mpsc::unbounded_channel();
    let metrics = Arc::new(Metrics::default());
    let entrypoints = Arc::new(Entrypoints::new(
        metrics.clone(),
        orders,
        Caps::default(),
        Limits::default(),
    ));
    entrypoints.own(Takeover::Released);
    let proxy = Arc::new(Proxy {
        routes: Default::default(),
        metrics,
        body_rate: None,
        trusted: TrustedProxies::private(),
    });
    let nowhere = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
    let client = kube::Client::try_from(nowhere).unwrap();
    let (reports, _) = Reports::new(client);
    let hosts = Hosts::new("test".to_owned(), "cluster.local".to_owned());
    let functions = Functions::new(hosts, proxy, entrypoints.clone(), reports);
    (functions, entrypoints, ordered)
}

fn function(web: Value) -> DeserializeGuard<Function> {
    let mut entry = json!({"name": "web"});
    if let (Some(entry), Some(web)) = (entry.as_object_mut(), web.as_object()) {
        entry.extend(web.clone());
    }
    shop(
        json!({"image": "a", "entrypoints": [{"name": "web", "path": "/", "verify": {"path": "/healthz"}}]}),
        json!([entry]),
    )
}

fn shop(spec: Value, entrypoints: Value) -> DeserializeGuard<Function> {
    serde_json::from_value(json!({
        "apiVersion": "thaw.dev/v1alpha1",
        "kind": "Function",
        "metadata": {"name": "shop", "namespace": "prod", "uid": "u"},
        "spec": spec,
        "status": {"entrypoints": entrypoints},
    }))
    .unwrap()
}

fn key(revision: &str) -> Key {
    Key {
        namespace: "prod".to_owned(),
        function: "shop".to_owned(),
        entrypoint: "web".to_owned(),
        revision: revision.to_owned(),
    }
}

/// Instances that are asked for of each revision; permits are granted on the way, and Deployments are there.
fn replicas(entrypoints: &Entrypoints, ordered: &mut Ordered, revision: &str) -> u32 {
    let entrypoint = entrypoints.get_or_add(&key(revision));
    entrypoint.observed(Some(0));
    while let Ok((entrypoint, order)) = ordered.try_recv() {
        if let Order::Permit(boots) = order {
            entrypoint.permit(boots);
        }
    }
    entrypoint.replicas()
}

#[tokio::test]
async fn a_revision_that_is_asked_about_has_one_instance_before_and_after_the_traffic_comes() {
    let (mut functions, entrypoints, mut ordered) = functions();
    let gone = functions.seen(function(
        json!({"readyRevision": "old", "verifying": "new"}),
    ));
    assert!(gone.is_empty());
    // Nothing has asked it yet: the instance is not there for that alone.
    assert_eq!(replicas(&entrypoints, &mut ordered, "new"), 1);
    assert_eq!(replicas(&entrypoints, &mut ordered, "old"), 0);
    assert!(functions.lead_to(&key("new")) && functions.lead_to(&key("old")));

    let gone = functions.seen(function(json!({"readyRevision": "new"})));
    assert_eq!(gone, [key("old")]);
    let routes = functions.proxy.routes.load();
    let host = routes.host("shop--prod.test", Door::Public).unwrap();
    let route = &host.paths["/"];
    let target = route.target.as_ref().unwrap().key.clone();
    assert_eq!(target, key("new"));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_overtakes_the_news_of_the_first_revision_waits_for_it() {
    let (mut functions, ..) = functions();
    functions.seen(function(json!({})));
    let proxy = functions.proxy.clone();
    let routed = tokio::spawn(async move {
        let found = proxy.settled("shop--prod.test", "/", Door::Public).await;
        let (_, route) = found.expect("there is a route");
        route.target.as_ref().map(|target| target.key.clone()).ok()
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!routed.is_finished());
    functions.seen(function(json!({"readyRevision": "first"})));
    assert_eq!(routed.await.unwrap(), Some(key("first")));

    // It does not wait for ever.
    functions.seen(function(json!({})));
    let proxy = functions.proxy.clone();
    let found = proxy.settled("shop--prod.test", "/", Door::Public).await;
    assert!(found.is_ok_and(|(_, route)| route.target.is_err()));
}

#[tokio::test]
async fn a_revision_that_is_asked_about_no_longer_is_abandoned() {
    let (mut functions, ..) = functions();
    functions.seen(function(
        json!({"readyRevision": "old", "verifying": "new"}),
    ));
    let gone = functions.seen(function(
        json!({"readyRevision": "old", "verifying": "newer"}),
    ));
    assert_eq!(gone, [key("new")]);
    assert_eq!(functions.verifications.keys(), [key("newer")]);
    let mut gone = functions.gone("prod", "shop");
    gone.sort_by(|a, b| a.revision.cmp(&b.revision));
    assert_eq!(gone, [key("newer"), key("old")]);
    assert_eq!(functions.verifications.keys(), []);
}

/// What answers each of these paths.
fn answering(functions: &Functions, paths: &[&str]) -> Vec<String> {
    let routes = functions.proxy.routes.load();
    let host = routes.host("shop--prod.test", Door::Public).unwrap();
    let name = |path: &&str| match &host.paths[*path].target {
        Ok(target) => format!("{}@{}", target.key.entrypoint, target.key.revision),
        Err(_) => "nothing".to_owned(),
    };
    paths.iter().map(name).collect()
}

fn bundle() -> Value {
    json!({
        "image": "a",
        "bundles": [{"name": "web", "scale": {"max": 7}, "entrypoints": ["home", "about"]}],
        "entrypoints": [{"name": "home", "path": "/"}, {"name": "about", "path": "/about"}],
    })
}

#[tokio::test]
async fn the_paths_of_a_bundle_lead_to_one_revision_of_it() {
    let (mut functions, entrypoints, _ordered) = functions();
    let url = |name: &str, path: &str| json!({"name": name, "url": format!("http://x{path}")});
    let members = json!([url("home", "/"), url("about", "/about")]);
    functions.seen(shop(
        bundle(),
        json!([{"name": "web", "entrypoints": members, "readyRevision": "w1"}]),
    ));
    assert_eq!(answering(&functions, &["/", "/about"]), ["web@w1"; 2]);
    assert_eq!(entrypoints.all().len(), 1);
    let routes = functions.proxy.routes.load();
    let host = routes.host("shop--prod.test", Door::Public).unwrap();
    assert_eq!(host.paths["/about"].entrypoint, "about");
}

#[tokio::test]
async fn a_path_that_a_bundle_takes_over_is_answered_by_what_had_it_until_the_status_says_otherwise()
 {
    let (mut functions, ..) = functions();
    let paths = ["/", "/about"];
    let alone = json!({
        "image": "a",
        "entrypoints": [{"name": "home", "path": "/"}, {"name": "about", "path": "/about"}],
    });
    let before = json!([
        {"name": "home", "url": "http://x/", "readyRevision": "h1"},
        {"name": "about", "url": "http://x/about", "readyRevision": "a1"},
    ]);
    functions.seen(shop(alone, before.clone()));
    assert_eq!(answering(&functions, &paths), ["home@h1", "about@a1"]);

    // The manifest has changed and the operator has not said anything yet.
    let gone = functions.seen(shop(bundle(), before));
    assert_eq!(
        (gone.len(), answering(&functions, &paths)),
        (0, vec!["home@h1".to_owned(), "about@a1".to_owned()])
    );

    let url = |name: &str, path: &str| json!({"name": name, "url": format!("http://x{path}")});
    let members = json!([url("home", "/"), url("about", "/about")]);
    let predecessor = |path: &str, name: &str, revision: &str| json!({"path": path, "entrypoint": name, "revision": revision});
    let predecessors = [
        predecessor("/", "home", "h1"),
        predecessor("/about", "about", "a1"),
    ];
    let gone = functions.seen(shop(
        bundle(),
        json!([{"name": "web", "entrypoints": members, "verifying": "w1", "predecessors": predecessors}]),
    ));
    assert!(gone.is_empty());
    assert_eq!(answering(&functions, &paths), ["home@h1", "about@a1"]);
    assert_eq!(functions.verifications.keys().len(), 1);

    let mut gone = functions.seen(shop(
        bundle(),
        json!([{"name": "web", "entrypoints": members, "readyRevision": "w1"}]),
    ));
    gone.sort_by(|a, b| a.entrypoint.cmp(&b.entrypoint));
    let gone: Vec<_> = gone.iter().map(|key| key.entrypoint.as_str()).collect();
    assert_eq!(gone, ["about", "home"]);
    assert_eq!(answering(&functions, &paths), ["web@w1"; 2]);
}
