use crds::names;
use http::Method;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    ResourceExt,
    api::DynamicObject,
    runtime::{events::Recorder, watcher::Event},
};
use serde_json::{Value, json};

mod attachments;
mod bundles;
mod hosts;
mod obstacles;
mod rollouts;
mod sizes;
mod slow;

use super::*;
use crate::{
    double::{Call, Double, Trouble, Verb, fixtures},
    observe::Writers,
};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/prod/deployments";
const FUNCTION: &str = "/apis/thaw.dev/v1alpha1/namespaces/prod/functions/shop";
const TWO: &str = "{image: a, entrypoints: [{name: web, path: /}, {name: api, path: /api}]}";

/// An operator without watches: the caches are filled by hand.
struct Operator {
    double: Double,
    context: Arc<Context>,
    writers: Writers,
    function: Value,
}

impl Operator {
    fn of(spec: &str) -> Self {
        let double = Double::default();
        double.put(
            FUNCTION,
            fixtures::stored(&fixtures::function("shop", spec)),
        );
        let (caches, writers) = Caches::new();
        let client = double.client();
        let context = Context {
            recorder: Recorder::new(client.clone(), "thaw-operator".into()),
            client,
            caches,
            memory: Memory::default(),
            claims: Claims::default(),
            configs: Configs::default(),
            images: Images::default(),
            platform: fixtures::platform(),
        };
        Self {
            double,
            context: Arc::new(context),
            writers,
            function: Value::Null,
        }
    }

    fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut function = self.double.get(FUNCTION).expect("the function is there");
        change(&mut function);
        let generation = function["metadata"]["generation"].as_i64().unwrap_or(0);
        function["metadata"]["generation"] = json!(generation + 1);
        self.double.put(FUNCTION, function);
    }

    /// What a watch would do.
    fn fill_caches(&mut self) {
        self.function = self.double.get(FUNCTION).expect("the function is there");
        let cache = &mut self.writers.deployments;
        cache.apply_watcher_event(&Event::Init);
        for deployment in self.double.list(DEPLOYMENTS) {
            let deployment: Deployment = serde_json::from_value(deployment).unwrap();
            cache.apply_watcher_event(&Event::InitApply(deployment));
        }
        cache.apply_watcher_event(&Event::InitDone);
        for (kind, cache) in &mut self.writers.attachments {
            cache.apply_watcher_event(&Event::Init);
            let part = format!("/{}/", kind.plural);
            for object in self.double.list_where(|path| path.contains(&part)) {
                let object: DynamicObject = serde_json::from_value(object).unwrap();
                if object.labels().get(names::MANAGED_BY).is_some() {
                    cache.apply_watcher_event(&Event::InitApply(object));
                }
            }
            cache.apply_watcher_event(&Event::InitDone);
        }
    }

    /// One reconcile of what the API server holds.
    async fn reconcile(&mut self) -> Result<Action, Error> {
        self.fill_caches();
        self.reconcile_with_these_caches().await
    }

    async fn reconcile_with_these_caches(&mut self) -> Result<Action, Error> {
        let function = self.function.clone();
        let function: Guarded = serde_json::from_value(function).unwrap();
        reconcile(Arc::new(function), self.context.clone()).await
    }

    /// Reconciles until nothing is left to do.
    async fn settle(&mut self) {
        for _ in 0..5 {
            self.double.take_requests();
            self.reconcile().await.unwrap();
            if writes(&self.double.take_requests()).is_empty() {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn deployments(&self, entrypoint: &str) -> Vec<Value> {
        let mut all = self.double.list(DEPLOYMENTS);
        all.retain(|d| d["metadata"]["labels"]["thaw.dev/entrypoint"] == entrypoint);
        all
    }

    /// As the activator and the Deployment controller would.
    fn scale(&self, deployment: &Value, replicas: i32) {
        let mut deployment = deployment.clone();
        deployment["spec"]["replicas"] = json!(replicas);
        deployment["status"] = json!({"replicas": replicas, "observedGeneration": 1});
        let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
        self.double
            .put(&format!("{DEPLOYMENTS}/{name}"), deployment.clone());
    }

    /// As the activator would, when it is asked: what became of the revision that entrypoint `nth` wants verified.
    fn answer(&self, nth: usize, reason: &str) {
        self.answer_of(nth, reason, "2020-01-01T00:00:00Z");
    }

    /// The same, good, and at a time that matters.
    fn answer_at(&self, nth: usize, at: &str) {
        self.answer_of(nth, "", at);
    }

    fn answer_of(&self, nth: usize, reason: &str, at: &str) {
        let mut function = self.double.get(FUNCTION).expect("the function is there");
        let entrypoint = &mut function["status"]["entrypoints"][nth];
        let revision = entrypoint["verifying"].clone();
        assert!(revision.is_string(), "it is not asked: {entrypoint}");
        let outcome = if reason.is_empty() {
            "Succeeded"
        } else {
            "Failed"
        };
        entrypoint["verified"] = json!({"at": at, "revision": revision, "outcome": outcome, "reason": reason, "message": "said the cluster"});
        self.double.put(FUNCTION, function);
    }

    /// A process that knows nothing but what the API server holds.
    fn restart(&mut self) {
        let (caches, writers) = Caches::new();
        let client = self.double.client();
        self.context = Arc::new(Context {
            recorder: Recorder::new(client.clone(), "thaw-operator".into()),
            client,
            caches,
            memory: Memory::default(),
            claims: Claims::default(),
            configs: Configs::default(),
            images: Images::default(),
            platform: fixtures::platform(),
        });
        self.writers = writers;
    }

    fn status(&self) -> Value {
        self.double.get(FUNCTION).expect("the function is there")["status"].clone()
    }

    fn condition(&self, type_: &str) -> Value {
        let status = self.status();
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.into_iter().find(|c| c["type"] == type_);
        found.unwrap_or_default()
    }

    fn events(&self) -> Vec<String> {
        let events = self.double.list("/apis/events.k8s.io/");
        let reason = |event: &Value| event["reason"].as_str().unwrap_or_default().to_owned();
        events.iter().map(reason).collect()
    }
}

fn writes(requests: &[Call]) -> Vec<&Call> {
    requests
        .iter()
        .filter(|call| call.method != Method::GET)
        .collect()
}

#[tokio::test]
async fn a_deployment_is_created_with_no_replicas_which_are_never_written_again() {
    let mut operator = Operator::of(TWO);
    operator.reconcile().await.unwrap();
    let requests = operator.double.take_requests();
    let created: Vec<_> = requests
        .iter()
        .filter(|call| call.method == Method::POST && call.path == DEPLOYMENTS)
        .collect();
    assert_eq!(created.len(), 2);
    for call in created {
        assert_eq!(call.body["spec"]["replicas"], 0);
        assert_eq!(call.manager.as_deref(), Some("thaw-operator-create"));
    }

    operator.scale(&operator.deployments("web")[0], 3);
    let mut drifted = operator.deployments("web").remove(0);
    drifted["spec"]["template"]["spec"]["containers"][0]["image"] = json!("drifted");
    operator.scale(&drifted, 3);
    operator.reconcile().await.unwrap();
    let requests = operator.double.take_requests();
    let applied = requests
        .iter()
        .find(|call| call.path.starts_with(DEPLOYMENTS));
    let applied = applied.expect("drift is put back");
    assert_eq!(applied.manager.as_deref(), Some("thaw-operator"));
    assert_eq!(applied.body["spec"].get("replicas"), None);
    let web = operator.deployments("web").remove(0);
    assert_eq!(web["spec"]["replicas"], 3);
    assert_eq!(
        web["spec"]["template"]["spec"]["containers"][0]["image"],
        "a"
    );
}

#[tokio::test]
async fn a_function_at_rest_is_ready_and_costs_no_write() {
    let mut operator = Operator::of(TWO);
    operator.settle().await;
    assert_eq!(operator.condition("Ready")["status"], "True");
    assert_eq!(operator.status()["url"], "http://shop--prod.example.com");
    assert_eq!(
        operator.status()["entrypoints"][1]["url"],
        "http://shop--prod.example.com/api"
    );
    assert_eq!(operator.events(), ["RevisionCreated", "RevisionCreated"]);
    operator.reconcile().await.unwrap();
    let requests = operator.double.take_requests();
    assert!(requests.is_empty(), "{requests:?}");
}

#[tokio::test]
async fn a_cache_that_lags_behind_makes_nothing_and_tells_nothing_twice() {
    let mut operator = Operator::of("{entrypoints: [{name: web, path: /}]}");
    operator.settle().await;
    operator.edit(|function| function["spec"]["image"] = json!("a"));
    operator.fill_caches();
    operator.reconcile_with_these_caches().await.unwrap();
    let told = operator.events();
    operator.double.take_requests();
    operator.reconcile_with_these_caches().await.unwrap();
    let requests = operator.double.take_requests();
    let written = writes(&requests);
    let creations = written.iter().filter(|call| call.method == Method::POST);
    assert_eq!(
        (written.len(), creations.count()),
        (2, 2),
        "only creations are tried again: {written:?}"
    );
    assert_eq!(operator.double.list(DEPLOYMENTS).len(), 1);
    assert_eq!(operator.condition("Ready")["status"], "True");
    assert_eq!(operator.events(), told);

    operator.fill_caches();
    operator
        .double
        .refuse(Method::POST, "events", 500, "nothing to tell");
    operator.edit(|function| function["spec"]["image"] = Value::Null);
    operator.reconcile().await.unwrap();
    operator.double.take_requests();
    operator.reconcile_with_these_caches().await.unwrap();
    let requests = operator.double.take_requests();
    assert!(
        requests.is_empty(),
        "the bad edit was told once: {requests:?}"
    );
}

#[tokio::test]
async fn a_created_deployment_is_then_applied() {
    let mut operator = Operator::of(TWO);
    operator.reconcile().await.unwrap();
    let managers = &operator.deployments("web")[0]["metadata"]["managedFields"];
    let mut all = managers.as_array().unwrap().iter();
    let is_apply =
        |entry: &Value| entry["manager"] == "thaw-operator" && entry["operation"] == "Apply";
    assert!(all.any(is_apply), "{managers}");
}

#[tokio::test(start_paused = true)]
async fn an_old_revision_is_removed_a_moment_after_its_last_instance() {
    let mut operator = Operator::of(TWO);
    operator.settle().await;
    let old = operator.deployments("web").remove(0);
    operator.scale(&old, 2);
    operator.edit(|function| {
        function["spec"]["revisionHistoryLimit"] = json!(0);
        function["spec"]["entrypoints"][0]["image"] = json!("b");
    });
    operator.settle().await;
    operator.answer(0, "");
    operator.settle().await;
    assert_eq!(operator.deployments("web").len(), 2, "the old one drains");
    assert_eq!(
        operator.deployments("api").len(),
        1,
        "the other entrypoint is left alone"
    );
    let status = operator.status();
    let web = &status["entrypoints"][0];
    assert_eq!(web["readyRevision"], web["revision"]);
    assert_ne!(
        web["revision"],
        old["metadata"]["labels"]["thaw.dev/revision"]
    );

    operator.scale(&old, 0);
    operator.settle().await;
    assert_eq!(
        operator.deployments("web").len(),
        2,
        "requests may still come"
    );
    tokio::time::advance(LINGER).await;
    operator.settle().await;
    assert_eq!(operator.deployments("web").len(), 1);
    assert!(operator.events().contains(&"RevisionRemoved".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_old_revision_that_is_asked_for_at_the_last_moment_is_not_removed() {
    let mut operator = Operator::of(TWO);
    operator.settle().await;
    let old = operator.deployments("web").remove(0);
    operator.scale(&old, 0);
    operator.edit(|function| {
        function["spec"]["revisionHistoryLimit"] = json!(0);
        function["spec"]["entrypoints"][0]["image"] = json!("b");
    });
    operator.settle().await;
    operator.answer(0, "");
    operator.settle().await;
    tokio::time::advance(LINGER).await;
    operator.fill_caches();
    operator.scale(&old, 1);
    operator.reconcile_with_these_caches().await.unwrap();
    let requests = operator.double.take_requests();
    let deletions = requests.iter().filter(|call| call.method == Method::DELETE);
    assert_eq!(deletions.count(), 1, "it was tried");
    assert_eq!(operator.deployments("web").len(), 2);
    assert!(!operator.events().contains(&"RevisionRemoved".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn instance_counts_are_written_a_moment_later() {
    let mut operator = Operator::of(TWO);
    operator.settle().await;
    operator.scale(&operator.deployments("web")[0], 1);
    operator.double.take_requests();
    let action = operator.reconcile().await.unwrap();
    assert_ne!(action, Action::await_change());
    assert!(writes(&operator.double.take_requests()).is_empty());
    tokio::time::advance(Duration::from_secs(1)).await;
    operator.reconcile().await.unwrap();
    assert_eq!(operator.status()["instances"], 1);
}

#[tokio::test]
async fn a_function_that_is_being_deleted_is_left_to_the_garbage_collector() {
    let mut operator = Operator::of(TWO);
    operator.edit(|function| {
        function["metadata"]["deletionTimestamp"] = json!("2030-01-01T00:00:00Z");
    });
    operator.reconcile().await.unwrap();
    assert!(operator.double.take_requests().is_empty());
}
