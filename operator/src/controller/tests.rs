use http::Method;
use kube::runtime::events::Recorder;
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;

use super::*;
use crate::{
    attachment::{self, Kind},
    configs::Configs,
    double::{Double, Trouble, Verb, fixtures},
    hosts::Claims,
    images::Images,
    memory::Memory,
    platform::Platform,
};

const FUNCTIONS: &str = "/apis/thaw.dev/v1alpha1/namespaces/prod/functions/";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/thaw-system/widgets/";
const WAIT: Duration = Duration::from_secs(5);

/// What runs until it is told to stop.
fn start(double: &Double, kinds: &[Kind]) -> (JoinHandle<()>, CancellationToken) {
    start_in(double, kinds, &[])
}

fn start_in(
    double: &Double,
    kinds: &[Kind],
    namespaces: &[&str],
) -> (JoinHandle<()>, CancellationToken) {
    let (caches, writers) = Caches::of(kinds);
    let metrics = Metrics::new(&mut Registry::default(), caches.clone());
    let client = double.client();
    let (images, inquiries) = Images::new(images::Settings::default());
    let context = Context {
        configs: Configs::default(),
        images,
        recorder: Recorder::new(client.clone(), "thaw-operator".into()),
        client,
        caches,
        memory: Memory::default(),
        claims: Claims::default(),
        platform: Platform {
            namespaces: namespaces.iter().map(|name| (*name).to_owned()).collect(),
            ..fixtures::platform()
        },
    };
    let health = Health::new(tokio::sync::watch::Sender::new(None).subscribe(), WAIT);
    let stop = CancellationToken::new();
    let context = Arc::new(context);
    let run = run(context, writers, inquiries, metrics, health, stop.clone());
    (tokio::spawn(run), stop)
}

const GOOD: &str = "{image: a, entrypoints: [{name: web, path: /}]}";
/// It changes nothing.
const BAD: &str = "{entrypoints: [{name: web, path: /}]}";

fn put_function(double: &Double, name: &str, spec: &str) {
    let function = fixtures::function(name, spec);
    double.put(&format!("{FUNCTIONS}{name}"), fixtures::stored(&function));
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let poll = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(WAIT, poll).await.expect(what);
}

fn are_ready(double: &Double) -> bool {
    let is_ready = |f: &serde_json::Value| f["status"]["conditions"][0]["status"] == "True";
    double.list(FUNCTIONS).iter().all(is_ready)
}

/// More Functions than are reconciled at once, all there before the operator, and read before the Deployments are.
#[tokio::test(start_paused = true)]
async fn everything_that_stood_before_the_start_is_reconciled_and_a_stop_ends_it() {
    let double = Double::default();
    for number in 0..3 * CONCURRENCY {
        put_function(&double, &format!("f{number}"), GOOD);
    }
    double.slow_down("/apps/v1/deployments");
    let (running, stop) = start(&double, attachment::ALL);
    until("all are ready", || are_ready(&double)).await;
    stop.cancel();
    let end = timeout(WAIT, running).await.expect("it ends");
    end.expect("it did not panic");
}

#[tokio::test(start_paused = true)]
async fn an_operator_of_some_namespaces_asks_for_nothing_beyond_them() {
    let double = Double::default();
    put_function(&double, "shop", GOOD);
    start_in(&double, attachment::ALL, &["other", "prod"]);
    until("it is ready", || are_ready(&double)).await;
    for call in double.take_requests() {
        let is_inside = ["/namespaces/other/", "/namespaces/prod/"];
        let is_inside = is_inside.iter().any(|part| call.path.contains(part));
        assert!(is_inside, "{call:?}");
    }
}

/// The younger one is read first.
#[tokio::test(start_paused = true)]
async fn of_two_functions_that_want_a_host_the_older_one_has_it_at_the_start() {
    let double = Double::default();
    for (name, created) in [("a", "2030-01-02T00:00:00Z"), ("b", "2030-01-01T00:00:00Z")] {
        let spec = "{image: a, hosts: [shop.example.org], entrypoints: [{name: web, path: /}]}";
        let mut function = fixtures::stored(&fixtures::function(name, spec));
        function["metadata"]["creationTimestamp"] = created.into();
        double.put(&format!("{FUNCTIONS}{name}"), function);
    }
    start(&double, attachment::ALL);
    until("both are ready", || are_ready(&double)).await;
    let hosts = |nth: usize| double.list(FUNCTIONS)[nth]["status"]["hosts"].clone();
    assert_eq!(hosts(0), serde_json::Value::Null);
    assert_eq!(hosts(1), serde_json::json!(["shop.example.org"]));
}

#[tokio::test(start_paused = true)]
async fn a_kind_whose_api_is_not_there_holds_nothing_up() {
    let double = Double::default();
    put_function(&double, "shop", GOOD);
    double.refuse(Method::GET, "/widgets", 404, "NotFound");
    start(&double, &[fixtures::WIDGET]);
    until("it is ready", || are_ready(&double)).await;
    double.take_requests();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let mut asked = double.take_requests();
    asked.retain(|call| call.path.contains("/widgets"));
    assert!(asked.len() <= 12, "asked {} times", asked.len());
}

/// The Functions are read last: until they are, none of them may be taken for one that is gone.
#[tokio::test(start_paused = true)]
async fn what_was_left_before_the_start_is_removed_and_what_is_in_use_is_not() {
    let double = Double::default();
    put_function(&double, "shop", BAD);
    for name in ["shop", "gone"] {
        let labels = serde_json::json!({"app.kubernetes.io/managed-by": "thaw", "thaw.dev/function": name, "thaw.dev/namespace": "prod"});
        double.put(
            &format!("{WIDGETS}{name}"),
            serde_json::json!({"metadata": {"name": name, "namespace": "thaw-system", "uid": name, "labels": labels}}),
        );
    }
    double.slow_down("/functions");
    start(&double, &[fixtures::WIDGET]);
    until("it is removed", || double.list(WIDGETS).len() == 1).await;
    assert_eq!(double.list(WIDGETS)[0]["metadata"]["name"], "shop");
}

/// As long as nothing is left to do about a Function that is gone, each word of what it left, and each new list, speaks of it again.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_removed_is_tried_by_one_alone() {
    let double = Double::default();
    let labels = serde_json::json!({"app.kubernetes.io/managed-by": "thaw", "thaw.dev/function": "gone", "thaw.dev/namespace": "prod"});
    let left = serde_json::json!({"metadata": {"name": "left", "namespace": "thaw-system", "uid": "left", "labels": labels}});
    double.refuse(Method::DELETE, "/widgets", 403, "Forbidden");
    start(&double, &[fixtures::WIDGET]);
    for _ in 0..20 {
        double.put(&format!("{WIDGETS}left"), left.clone());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    double.take_requests();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let mut tried = double.take_requests();
    tried.retain(|call| call.verb == Verb::Delete);
    assert!((5..=15).contains(&tried.len()), "{} times", tried.len());

    double.allow_all();
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert!(double.list(WIDGETS).is_empty(), "it is removed");
    double.put(&format!("{WIDGETS}left"), left);
    until("another is removed", || double.list(WIDGETS).is_empty()).await;
}

/// As behind a webhook of their namespace that does not answer. None of them is known to be slow before the first is.
#[tokio::test(start_paused = true)]
async fn a_namespace_that_hangs_leaves_the_rest_to_others_after_one_round() {
    let double = Double::default();
    double.break_down(&[Verb::Create, Verb::Patch], "/stuck", Trouble::Lost);
    for number in 0..100 {
        put_function(&double, &format!("stuck{number}"), GOOD);
    }
    start(&double, attachment::ALL);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut other = fixtures::function("shop", GOOD);
    other.metadata.namespace = Some("other".to_owned());
    let path = "/apis/thaw.dev/v1alpha1/namespaces/other/functions/shop";
    double.put(path, fixtures::stored(&other));
    let begun = Instant::now();
    while !double
        .get(path)
        .is_some_and(|f| f["status"]["conditions"][0]["status"] == "True")
    {
        assert!(begun.elapsed() < OVERDUE + WAIT, "it waits for the others");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
