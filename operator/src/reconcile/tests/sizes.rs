//! What `maxSize` lets boot.

use crds::conditions::Reason;

use super::*;
use crate::images::{self, Images, Question};

const LIMITED: &str =
    "{image: 'registry:5000/shop:1', maxSize: '10', entrypoints: [{name: web, path: /}]}";

/// An operator that may read Secrets and nodes.
fn operator() -> Operator {
    let mut operator = Operator::of(LIMITED);
    measuring(&mut operator);
    operator
}

fn measuring(operator: &mut Operator) {
    let settings = images::Settings {
        may_read_secrets: true,
        may_read_nodes: true,
        ..images::Settings::default()
    };
    let context = Arc::get_mut(&mut operator.context).expect("nothing runs");
    context.images = Images::new(settings).0;
}

fn question(image: &str) -> Question {
    Question {
        namespace: "prod".to_owned(),
        image: image.to_owned(),
        secrets: vec![],
        architecture: None,
    }
}

impl Operator {
    fn registry_says(&self, image: &str, layers: &[u64]) {
        self.context.images.told(&question(image), Some(layers));
    }

    /// And no node has it.
    fn registry_is_silent(&self, image: &str) {
        self.context.images.told(&question(image), None);
        self.context.images.told_by_nodes("another:1", 1);
    }

    fn change_image(&self, image: &str) {
        self.edit(|function| function["spec"]["image"] = json!(image));
    }

    fn limited(&self) -> Value {
        self.status()["entrypoints"][0].clone()
    }

    fn is(&self, type_: &str, status: &str, reason: Reason) -> bool {
        let condition = self.condition(type_);
        condition["status"] == status && condition["reason"] == reason.as_str()
    }

    /// One more pod, or none, of each Deployment of the entrypoint.
    fn run(&self, replicas: i32) {
        for deployment in self.deployments("web") {
            self.scale(&deployment, replicas);
        }
    }
}

#[tokio::test]
async fn nothing_is_created_before_the_image_is_measured() {
    let mut operator = operator();
    operator.settle().await;
    assert!(operator.deployments("web").is_empty());
    assert!(operator.is("Reconciling", "True", Reason::MeasuringImage));
    assert!(operator.is("Ready", "False", Reason::MeasuringImage));

    operator.registry_says("registry:5000/shop:1", &[4, 6]);
    operator.settle().await;
    assert_eq!(operator.deployments("web").len(), 1);
    assert!(operator.is("Ready", "True", Reason::Available));
    let measured = &operator.limited()["measured"];
    assert_eq!(
        (&measured["by"], &measured["bytes"]),
        (&json!("Registry"), &json!(10))
    );
}

#[tokio::test]
async fn an_image_over_the_limit_has_no_deployment_and_the_older_revision_serves_on() {
    let mut operator = operator();
    operator.registry_says("registry:5000/shop:1", &[10]);
    operator.settle().await;
    let old = operator.limited()["readyRevision"].clone();

    operator.change_image("registry:5000/shop:2");
    operator.registry_says("registry:5000/shop:2", &[10, 1]);
    operator.settle().await;
    assert_eq!(operator.deployments("web").len(), 1);
    assert!(operator.is("Stalled", "True", Reason::ImageTooLarge));
    assert!(operator.is("Ready", "True", Reason::Available));
    assert_eq!(operator.limited()["readyRevision"], old);
    assert_eq!(operator.limited()["verifying"], Value::Null);
    let told = operator.condition("Stalled")["message"].clone();
    let told = told.as_str().unwrap_or_default();
    assert!(
        told.contains("in layers of 10, 1") && told.contains("keeps the traffic"),
        "{told}"
    );

    // A process that has to ask anew knows what it was told, and tells nobody a second time.
    operator.restart();
    measuring(&mut operator);
    operator.settle().await;
    assert!(operator.is("Stalled", "True", Reason::ImageTooLarge));
    operator.registry_says("registry:5000/shop:2", &[10, 1]);
    operator.settle().await;
    let events = operator.events();
    assert_eq!(
        events
            .iter()
            .filter(|event| *event == "ImageTooLarge")
            .count(),
        1,
        "{events:?}"
    );

    operator.edit(|function| function["spec"]["maxSize"] = json!("11"));
    operator.settle().await;
    operator.answer(0, "");
    operator.settle().await;
    assert_ne!(operator.limited()["readyRevision"], old);
    assert!(operator.is("Stalled", "False", Reason::Available));
}

#[tokio::test]
async fn a_lower_limit_takes_nothing_down() {
    let mut operator = operator();
    operator.registry_says("registry:5000/shop:1", &[10]);
    operator.settle().await;
    operator.edit(|function| function["spec"]["maxSize"] = json!("1"));
    operator.settle().await;
    assert!(operator.is("Ready", "True", Reason::Available));
    assert_eq!(operator.deployments("web").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_first_image_that_nobody_knows_boots_and_goes_when_a_node_says_that_it_is_too_large() {
    let mut operator = operator();
    operator.registry_is_silent("registry:5000/shop:1");
    operator.settle().await;
    assert!(operator.is("Ready", "True", Reason::Available));
    assert_eq!(operator.limited()["measured"]["by"], "Nobody");
    assert!(operator.events().contains(&"ImageUnmeasured".to_owned()));

    operator.run(1);
    operator
        .context
        .images
        .told_by_nodes("registry:5000/shop:1", 11);
    operator.settle().await;
    assert!(operator.is("Ready", "False", Reason::ImageTooLarge));
    assert_eq!(operator.limited()["readyRevision"], Value::Null);
    assert_eq!(
        operator.deployments("web").len(),
        1,
        "the activator has not drained it"
    );

    operator.run(0);
    operator.settle().await;
    tokio::time::advance(LINGER).await;
    operator.settle().await;
    assert!(operator.deployments("web").is_empty());
    assert!(operator.is("Stalled", "True", Reason::ImageTooLarge));
}

#[tokio::test]
async fn traffic_does_not_move_to_an_unmeasured_revision_before_its_node_can_have_told() {
    let mut operator = operator();
    operator.registry_says("registry:5000/shop:1", &[10]);
    operator.settle().await;
    let old = operator.limited()["readyRevision"].clone();
    operator.change_image("registry:5000/shop:2");
    operator.registry_is_silent("registry:5000/shop:2");
    operator.settle().await;
    operator.run(1);
    let now = k8s_openapi::jiff::Timestamp::now().to_string();
    operator.answer_at(0, &now);
    operator.settle().await;
    assert_eq!(operator.limited()["readyRevision"], old);
    let action = operator.reconcile().await.unwrap();
    assert_ne!(action, Action::await_change(), "nodes are asked again");

    operator
        .context
        .images
        .told_by_nodes("registry:5000/shop:2", 11);
    operator.settle().await;
    assert!(operator.is("Stalled", "True", Reason::ImageTooLarge));
    assert_eq!(operator.limited()["readyRevision"], old);

    // The same, with a node that never says it.
    operator.change_image("registry:5000/shop:3");
    operator.registry_is_silent("registry:5000/shop:3");
    operator.settle().await;
    operator.answer(0, "");
    operator.settle().await;
    assert_ne!(
        operator.limited()["readyRevision"],
        old,
        "it answered long ago"
    );
}

#[tokio::test(start_paused = true)]
async fn an_old_revision_goes_in_time_although_something_else_is_waited_for_longer() {
    let mut operator = operator();
    operator.edit(|function| function["spec"]["revisionHistoryLimit"] = json!(0));
    operator.registry_says("registry:5000/shop:1", &[10]);
    operator.settle().await;
    operator.run(0);
    operator.change_image("registry:5000/shop:2");
    operator.registry_says("registry:5000/shop:2", &[10]);
    operator.settle().await;
    operator.change_image("registry:5000/shop:3");
    operator.registry_says("registry:5000/shop:3", &[11]);
    operator.settle().await;
    assert!(operator.is("Stalled", "True", Reason::ImageTooLarge));
    operator.run(0);
    let action = operator.reconcile().await.unwrap();
    assert_eq!(action, Action::requeue(LINGER), "the second one goes");
}

#[tokio::test(start_paused = true)]
async fn nodes_that_never_have_a_word_are_asked_ever_more_rarely() {
    let mut operator = operator();
    operator.registry_is_silent("registry:5000/shop:1");
    operator.settle().await;
    for _ in 0..2 {
        operator.run(1);
        // The number of instances is told a second later.
        operator.reconcile().await.unwrap();
        for (seconds, wait) in [(1, 5), (34, 5), (15, 20), (250, 270), (600, 300)] {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            let action = operator.reconcile().await.unwrap();
            assert_eq!(action, Action::requeue(Duration::from_secs(wait)));
        }
        operator.run(0);
        operator.reconcile().await.unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(operator.reconcile().await.unwrap(), Action::await_change());
    }
}

#[tokio::test]
async fn what_a_function_uses_makes_a_revision_only_where_that_is_asked_for_and_allowed() {
    let spec = "{image: a, entrypoints: [{name: web, path: /, envFrom: [{secretRef: {name: login}}]}, {name: api, path: /api}]}";
    let mut operator = Operator::of(spec);
    let put = |operator: &Operator, value: &str| {
        let secret =
            json!({"metadata": {"name": "login", "namespace": "prod"}, "data": {"a": value}});
        operator
            .double
            .put("/api/v1/namespaces/prod/secrets/login", secret);
    };
    put(&operator, "MQ==");
    operator.settle().await;
    let revision =
        |operator: &Operator, nth: usize| operator.status()["entrypoints"][nth]["revision"].clone();
    let plain = (revision(&operator, 0), revision(&operator, 1));

    operator
        .edit(|f| f["metadata"]["annotations"] = json!({"thaw.dev/roll-on-config-change": "true"}));
    operator.settle().await;
    assert!(operator.is("Stalled", "True", Reason::ConfigUnreadable));
    assert_eq!(revision(&operator, 0), plain.0);

    Arc::get_mut(&mut operator.context).unwrap().configs = Configs::readable();
    operator.settle().await;
    let hashed = revision(&operator, 0);
    assert_ne!(hashed, plain.0);
    assert_eq!(revision(&operator, 1), plain.1, "it uses nothing");
    operator.answer(0, "");
    operator.settle().await;

    put(&operator, "Mg==");
    let object = crate::configs::Object {
        kind: crate::configs::Kind::Secret,
        namespace: "prod".to_owned(),
        name: "login".to_owned(),
    };
    assert_eq!(operator.context.configs.changed(&object).len(), 1);
    operator.settle().await;
    assert_ne!(revision(&operator, 0), hashed);
    assert_eq!(
        operator.status()["entrypoints"][0]["readyRevision"],
        hashed,
        "it has to answer first"
    );

    operator
        .double
        .refuse(Method::GET, "/secrets/", 403, "Forbidden");
    put(&operator, "Mw==");
    operator.context.configs.changed(&object);
    let before = operator.status()["entrypoints"].clone();
    operator.edit(|function| function["spec"]["entrypoints"][1]["image"] = json!("b"));
    operator.settle().await;
    assert!(operator.is("Reconciling", "True", Reason::ConfigUnreadable));
    let after = operator.status()["entrypoints"].clone();
    assert_eq!(after[0], before[0], "what cannot be read is no change");
    assert_ne!(after[1]["revision"], before[1]["revision"]);

    // After a restart nobody knows what it said.
    Arc::get_mut(&mut operator.context).unwrap().configs = Configs::readable();
    operator.edit(|function| function["spec"]["entrypoints"][1]["image"] = json!("c"));
    operator.settle().await;
    assert!(operator.is("Reconciling", "True", Reason::ConfigUnreadable));
    assert_eq!(operator.status()["entrypoints"], after);

    operator.double.allow_all();
    operator.settle().await;
    assert!(!operator.is("Reconciling", "True", Reason::ConfigUnreadable));
    let mended = operator.status()["entrypoints"].clone();
    assert_ne!(mended[0]["revision"], after[0]["revision"]);
    assert_ne!(mended[1]["revision"], after[1]["revision"]);
}
