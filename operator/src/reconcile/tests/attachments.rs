//! What a Function has besides its Deployments.

use super::*;
use crate::{
    apply::{Applied, Problem},
    attachment::{Attachment, Content, NETWORK_POLICY},
    desired::Plan,
    sweep::sweep,
};

const ONE: &str = "{image: a, entrypoints: [{name: web, path: /}]}";
const POLICIES: &str = "/apis/networking.k8s.io/v1/namespaces/prod/networkpolicies";
const POLICY: &str = "/apis/networking.k8s.io/v1/namespaces/prod/networkpolicies/thaw-shop";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/thaw-system/widgets";

impl Operator {
    /// An operator that knows widgets as well.
    fn with_widgets() -> Self {
        let mut operator = Self::of(ONE);
        let (caches, writers) = Caches::of(&[NETWORK_POLICY, fixtures::WIDGET]);
        let context = Arc::get_mut(&mut operator.context).expect("nobody else has it");
        context.caches = caches;
        operator.writers = writers;
        operator
    }

    fn change(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.double.get(path).expect("it is there");
        change(&mut object);
        self.double.put(path, object);
    }

    /// Applies a widget of this size and these annotations, alone.
    async fn apply_widget(&mut self, spec: Value, annotations: &[(&str, &str)]) -> Applied {
        self.fill_caches();
        let function = fixtures::function("shop", ONE);
        let annotations = annotations.iter();
        let content = Content {
            name: "shop--prod".to_owned(),
            annotations: annotations
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            spec,
        };
        let plan = Plan {
            wanted: Ok(Vec::new()),
            orphans: Vec::new(),
            attachments: vec![Attachment::new(
                fixtures::WIDGET,
                &function,
                "thaw-system",
                content,
            )],
            surplus: Vec::new(),
        };
        let observed = observe(&function, &self.context.caches, &self.context.memory);
        apply(&self.context.client, &function, &observed, &plan).await
    }

    fn widget(&self) -> Value {
        let widget = self.double.get(&format!("{WIDGETS}/shop--prod"));
        widget.expect("it is there")
    }
}

fn spec_of(object: Option<Value>) -> Value {
    object.expect("it is there")["spec"].clone()
}

#[tokio::test]
async fn only_the_activator_is_let_in_before_there_is_anything_to_reach() {
    let mut operator = Operator::of(TWO);
    operator.reconcile().await.unwrap();
    let requests = operator.double.take_requests();
    let first = |path: &str| requests.iter().position(|call| call.path.starts_with(path));
    let applied = requests
        .iter()
        .position(|call| call.path == POLICY && call.method == Method::PATCH);
    assert!(applied.is_some() && applied < first(DEPLOYMENTS));
    let created = &requests[first(POLICIES).unwrap()];
    assert_eq!(
        created.body["spec"],
        json!({"podSelector": {"matchLabels": {"thaw.dev/function": "shop"}}}),
        "which lets nobody in"
    );
    insta::assert_yaml_snapshot!(spec_of(operator.double.get(POLICY)), @r#"
    egress:
      - {}
    ingress:
      - from:
          - namespaceSelector:
              matchLabels:
                kubernetes.io/metadata.name: thaw-system
            podSelector:
              matchLabels:
                app: activator
        ports:
          - port: http
            protocol: TCP
          - port: h2c
            protocol: TCP
    podSelector:
      matchLabels:
        thaw.dev/function: shop
    policyTypes:
      - Ingress
      - Egress
    "#);
    let pod = &operator.deployments("web")[0]["spec"]["template"];
    assert_eq!(pod["metadata"]["labels"]["thaw.dev/function"], "shop");
    let port = &pod["spec"]["containers"][0]["ports"][0];
    assert_eq!(
        (&port["name"], &port["protocol"]),
        (&json!("http"), &json!("TCP"))
    );
}

#[tokio::test]
async fn no_deployment_is_created_before_its_network_policy_but_what_serves_goes_on() {
    let mut operator = Operator::of(ONE);
    for (method, code) in [(Method::POST, 403), (Method::PATCH, 422)] {
        operator
            .double
            .refuse(method, POLICIES, code, "exceeded quota");
        operator.reconcile().await.unwrap();
        assert!(operator.double.list(DEPLOYMENTS).is_empty());
        let stalled = operator.condition("Stalled");
        assert_eq!(stalled["reason"], "ChildRefused");
        let message = stalled["message"].as_str().unwrap();
        assert_eq!(
            message,
            "the API server refused NetworkPolicy thaw-shop: exceeded quota"
        );
        operator.double.allow_all();
    }
    operator.settle().await;
    assert_eq!(operator.condition("Ready")["status"], "True");

    operator.double.remove(POLICY);
    operator.double.refuse(Method::POST, POLICIES, 500, "down");
    operator.edit(|function| function["spec"]["image"] = json!("b"));
    let error = operator.reconcile().await.unwrap_err();
    assert_eq!(error.to_string(), "create NetworkPolicy thaw-shop");
    assert_eq!(operator.deployments("web").len(), 1, "no new one");
    assert_eq!(operator.condition("Ready")["status"], "True");
    assert_eq!(operator.condition("Reconciling")["status"], "True");

    operator.double.allow_all();
    operator.settle().await;
    assert_eq!(operator.deployments("web").len(), 2);
    assert!(operator.double.get(POLICY).is_some());
}

#[tokio::test]
async fn what_somebody_changes_in_a_network_policy_is_put_back() {
    let mut operator = Operator::of(ONE);
    operator.settle().await;
    let wanted = spec_of(operator.double.get(POLICY));
    let changes: [fn(&mut Value); 6] = [
        |policy| policy["spec"]["ingress"] = json!([{}]),
        |policy| {
            policy["spec"]["ingress"]
                .as_array_mut()
                .unwrap()
                .push(json!({}))
        },
        |policy| policy["spec"]["ingress"][0]["from"][0]["podSelector"] = json!({}),
        |policy| policy["spec"]["podSelector"]["matchLabels"]["a"] = json!("b"),
        |policy| policy["spec"]["policyTypes"] = json!(["Egress"]),
        |policy| policy["metadata"]["labels"]["thaw.dev/function"] = json!("other"),
    ];
    for change in changes {
        operator.change(POLICY, change);
        operator.double.take_requests();
        operator.reconcile().await.unwrap();
        let requests = operator.double.take_requests();
        let [put_back] = writes(&requests)[..] else {
            panic!("one write: {requests:?}");
        };
        assert_eq!(
            (&put_back.method, put_back.path.as_str()),
            (&Method::PATCH, POLICY)
        );
        assert_eq!(put_back.body["spec"], wanted);
        // The double merges maps, where the API server replaces a selector as a whole.
        operator.change(POLICY, |policy| policy["spec"] = wanted.clone());
    }
    operator.double.remove(POLICY);
    operator.settle().await;
    assert_eq!(spec_of(operator.double.get(POLICY)), wanted);
}

#[tokio::test]
async fn a_network_policy_of_somebody_else_is_left_alone_and_in_the_way() {
    let mut operator = Operator::of(ONE);
    let foreign = json!({"metadata": {"name": "thaw-shop", "namespace": "prod", "uid": "x"}, "spec": {"podSelector": {}}});
    operator.double.put(POLICY, foreign);
    let before = operator.double.get(POLICY);
    operator.reconcile().await.unwrap();
    assert_eq!(operator.double.get(POLICY), before);
    let stalled = operator.condition("Stalled");
    assert_eq!(stalled["reason"], "NameConflict");
    let message = stalled["message"].as_str().unwrap();
    assert!(
        message.starts_with("NetworkPolicy thaw-shop exists"),
        "{message}"
    );
    assert!(operator.double.list(DEPLOYMENTS).is_empty());
    operator.double.remove(POLICY);
    operator.settle().await;
    assert_eq!(operator.condition("Ready")["status"], "True");
}

#[tokio::test]
async fn a_switch_that_is_off_removes_what_was_written_and_nothing_else() {
    let mut operator = Operator::of(ONE);
    operator.settle().await;
    let own = format!("{POLICIES}/mine");
    let labels = json!({"app.kubernetes.io/managed-by": "thaw", "thaw.dev/function": "shop"});
    operator.double.put(
        &own,
        json!({"metadata": {"name": "mine", "namespace": "prod", "uid": "x", "labels": labels}}),
    );
    let context = Arc::get_mut(&mut operator.context).expect("nobody else has it");
    context.platform.network_policy = None;
    operator.settle().await;
    assert_eq!(operator.double.get(POLICY), None);
    assert!(operator.double.get(&own).is_some());
    assert_eq!(operator.condition("Ready")["status"], "True");
}

#[tokio::test]
async fn what_is_wanted_no_longer_in_an_attachment_is_taken_back_and_defaults_stay() {
    let mut operator = Operator::with_widgets();
    let spec = json!({"size": 1, "list": [{"a": 1}]});
    let applied = operator
        .apply_widget(spec.clone(), &[("x", "1"), ("y", "2")])
        .await;
    assert!(applied.attachments[0].is_new && applied.error.is_none());
    let requests = operator.double.take_requests();
    let created = writes(&requests)[0];
    assert_eq!(created.body["spec"], json!({"size": 1}));
    assert_eq!(created.body["metadata"].get("annotations"), None);
    assert_eq!(
        operator.widget()["metadata"]["labels"]["thaw.dev/namespace"],
        "prod"
    );
    assert_eq!(operator.widget()["metadata"].get("ownerReferences"), None);

    operator.change(&format!("{WIDGETS}/shop--prod"), |widget| {
        widget["spec"]["list"][0]["defaulted"] = json!(true);
    });
    operator
        .apply_widget(spec.clone(), &[("x", "1"), ("y", "2")])
        .await;
    assert!(operator.double.take_requests().is_empty());
    operator.apply_widget(spec, &[("x", "1")]).await;
    let requests = operator.double.take_requests();
    assert_eq!(requests.len(), 1);
    let annotations = &requests[0].body["metadata"]["annotations"];
    assert_eq!(
        (&annotations["x"], annotations.get("y")),
        (&json!("1"), None)
    );
}

#[tokio::test]
async fn beside_the_activator_labels_tell_whose_an_object_is() {
    let mut operator = Operator::with_widgets();
    operator.apply_widget(json!({"size": 1}), &[]).await;
    for (label, value) in [
        ("thaw.dev/function", "other"),
        ("thaw.dev/namespace", "other"),
        ("app.kubernetes.io/managed-by", "Helm"),
    ] {
        let path = format!("{WIDGETS}/shop--prod");
        let own = operator.widget();
        operator.change(&path, |widget| {
            widget["metadata"]["labels"][label] = json!(value)
        });
        let before = operator.widget();
        let applied = operator.apply_widget(json!({"size": 2}), &[]).await;
        assert_eq!(
            applied.attachments[0].problem,
            Some(Problem::Foreign),
            "{label}"
        );
        assert_eq!(operator.widget(), before);
        operator.double.put(&path, own);
    }
    let applied = operator.apply_widget(json!({"size": 2}), &[]).await;
    assert_eq!(applied.attachments[0].problem, None);
    assert_eq!(operator.widget()["spec"]["size"], 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_function_left_beside_the_activator_is_removed_once_it_is_gone() {
    let mut operator = Operator::with_widgets();
    operator.apply_widget(json!({"size": 1}), &[]).await;
    let foreign = json!({"metadata": {"name": "foreign", "namespace": "thaw-system", "uid": "x", "labels": {"app.kubernetes.io/managed-by": "thaw", "thaw.dev/function": "shop", "thaw.dev/namespace": "other"}}});
    operator.double.put(&format!("{WIDGETS}/foreign"), foreign);
    operator.fill_caches();
    let function = fixtures::function("shop", ONE);
    let gone = kube::runtime::reflector::ObjectRef::new("shop").within("prod");
    operator
        .writers
        .functions
        .apply_watcher_event(&Event::Apply(Guarded(Ok(function.clone()))));
    sweep(&gone, &operator.context).await;
    assert_eq!(operator.double.list(WIDGETS).len(), 2, "it is there");

    operator
        .writers
        .functions
        .apply_watcher_event(&Event::Delete(Guarded(Ok(function))));
    operator.double.refuse(Method::DELETE, WIDGETS, 500, "down");
    let context = operator.context.clone();
    let sweeping = tokio::spawn(async move { sweep(&gone, &context).await });
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(operator.double.list(WIDGETS).len(), 2);
    assert!(!sweeping.is_finished(), "it goes on trying");
    operator.double.allow_all();
    sweeping.await.unwrap();
    let left = operator.double.list(WIDGETS);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["metadata"]["name"], "foreign");
}
