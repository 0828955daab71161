//! What stands in the way of children: it is told, it keeps nothing else from going on, and it takes nothing down.

use super::*;
use crate::double::{Trouble, Verb};

#[tokio::test]
async fn what_a_deleted_function_of_the_same_name_left_is_waited_for() {
    let mut operator = Operator::of(TWO);
    operator.settle().await;
    operator.double.put(
        FUNCTION,
        fixtures::stored(&{
            let mut anew = fixtures::function("shop", TWO);
            anew.metadata.uid = Some("another".to_owned());
            anew
        }),
    );
    let error = operator.reconcile().await.unwrap_err();
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    assert!(
        cause.is_some_and(|cause| cause.contains("deleted Function")),
        "{error:?}"
    );
    assert_eq!(operator.condition("Stalled")["status"], "False");
}

#[tokio::test]
async fn an_object_of_somebody_else_is_left_alone() {
    let mut operator = Operator::of(TWO);
    operator.reconcile().await.unwrap();
    let name = operator.deployments("web")[0]["metadata"]["name"].clone();
    let path = format!("{DEPLOYMENTS}/{}", name.as_str().unwrap());
    let foreign = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "prod", "uid": "x"}});
    operator.double.put(&path, foreign);
    let before = operator.double.get(&path);
    operator.reconcile().await.unwrap();
    assert_eq!(operator.double.get(&path), before);
    let stalled = operator.condition("Stalled");
    assert_eq!(
        (&stalled["status"], &stalled["reason"]),
        (&json!("True"), &json!("NameConflict"))
    );
    assert_eq!(operator.condition("Ready")["status"], "False");
    assert!(operator.events().contains(&"NameConflict".to_owned()));
}

#[tokio::test]
async fn a_refusal_is_reported_and_the_other_entrypoint_goes_on() {
    let mut operator = Operator::of(TWO);
    let why = "exceeded quota: count/deployments.apps";
    operator.double.refuse(Method::POST, DEPLOYMENTS, 403, why);
    operator.reconcile().await.unwrap();
    let ready = operator.condition("Ready");
    assert_eq!(ready["reason"], "ChildRefused");
    assert!(ready["message"].as_str().unwrap().contains(why), "{ready}");
    assert!(operator.events().contains(&"ChildRefused".to_owned()));

    operator.double.allow_all();
    operator.settle().await;
    assert_eq!(operator.condition("Ready")["status"], "True");
    assert_eq!(operator.condition("Stalled")["status"], "False");

    operator
        .double
        .refuse(Method::POST, DEPLOYMENTS, 422, "bad quantity");
    operator.edit(|function| function["spec"]["entrypoints"][0]["image"] = json!("b"));
    operator.reconcile().await.unwrap();
    assert_eq!(
        operator.condition("Ready")["status"],
        "True",
        "the older revision serves"
    );
    assert_eq!(operator.condition("Stalled")["reason"], "ChildRefused");
    let status = operator.status();
    assert_ne!(
        status["entrypoints"][0]["revision"],
        status["entrypoints"][0]["readyRevision"]
    );
    let old = operator.deployments("web");
    assert_eq!(old.len(), 1, "what serves stays");
}

#[tokio::test]
async fn a_server_error_is_tried_again_and_says_so_meanwhile() {
    let mut operator = Operator::of(TWO);
    operator
        .double
        .refuse(Method::POST, DEPLOYMENTS, 500, "InternalError");
    operator.reconcile().await.unwrap_err();
    assert_eq!(operator.condition("Reconciling")["status"], "True");
    assert_eq!(operator.condition("Stalled")["status"], "False");
    operator.double.allow_all();
    operator.settle().await;
    assert_eq!(operator.condition("Reconciling")["status"], "False");
}

#[tokio::test]
async fn a_bad_edit_takes_nothing_down() {
    let mut operator = Operator::of(TWO);
    operator.settle().await;
    let before = operator.status();
    operator.edit(|function| {
        function["spec"]["entrypoints"][0]["env"] = json!([{"name": "PORT", "value": "1"}]);
    });
    operator.settle().await;
    assert_eq!(operator.condition("Ready")["status"], "True");
    assert_eq!(operator.condition("Stalled")["reason"], "InvalidSpec");
    assert_eq!(operator.status()["entrypoints"], before["entrypoints"]);

    operator.edit(|function| {
        function["spec"]["entrypoints"][0]["timeouts"] = json!({"boot": "99999999999999999999h"});
    });
    operator.settle().await;
    let stalled = operator.condition("Stalled");
    assert!(
        stalled["message"]
            .as_str()
            .unwrap()
            .contains("99999999999999999999h")
    );
    assert_eq!(operator.status()["entrypoints"], before["entrypoints"]);
    assert_eq!(operator.double.list(DEPLOYMENTS).len(), 2);
}

#[tokio::test]
async fn in_a_namespace_that_is_being_deleted_the_end_is_waited_for() {
    let mut operator = Operator::of(TWO);
    operator.settle().await;
    let web = operator.deployments("web").remove(0);
    let name = web["metadata"]["name"].as_str().unwrap();
    operator.double.remove(&format!("{DEPLOYMENTS}/{name}"));
    let inside = "/namespaces/prod/";
    operator
        .double
        .break_down(&[Verb::Create], inside, Trouble::Ending);
    assert_eq!(operator.reconcile().await.unwrap(), Action::await_change());
    let reconciling = operator.condition("Reconciling");
    assert_eq!(reconciling["status"], "True");
    let message = reconciling["message"].as_str().unwrap();
    assert!(
        message.contains("its namespace is being deleted"),
        "{message}"
    );
    assert_eq!(operator.condition("Stalled")["status"], "False");
}
