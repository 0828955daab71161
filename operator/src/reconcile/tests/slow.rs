//! An API server that takes its time, as behind a webhook that does not answer.

use tokio::time::timeout;

use super::*;

/// Before a reconcile is given up.
const IN_TIME: Duration = Duration::from_secs(45);

#[tokio::test(start_paused = true)]
async fn children_that_cannot_be_written_in_time_are_reported_all_the_same() {
    let mut operator = Operator::of(TWO);
    let lost = Trouble::Lost;
    operator
        .double
        .break_down(&[Verb::Create], DEPLOYMENTS, lost);
    let end = timeout(IN_TIME, operator.reconcile()).await;
    let action = end.expect("it ends").unwrap();
    assert_ne!(action, Action::await_change());
    assert_eq!(operator.condition("Ready")["status"], "False");
    let reconciling = operator.condition("Reconciling");
    assert_eq!(reconciling["status"], "True");
    let message = reconciling["message"].as_str().unwrap();
    assert!(message.contains("could not be written yet"), "{message}");

    operator.double.allow_all();
    operator.settle().await;
    assert_eq!(operator.condition("Ready")["status"], "True");
    assert_eq!(operator.condition("Reconciling")["status"], "False");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_cannot_be_written_in_time_is_tried_again() {
    let mut operator = Operator::of(TWO);
    operator
        .double
        .break_down(&[Verb::Create], "/services", Trouble::Lost);
    let end = timeout(IN_TIME, operator.reconcile()).await;
    assert_ne!(end.expect("it ends").unwrap(), Action::await_change());
    assert_eq!(operator.condition("RoutesReady")["status"], "False");
}

#[tokio::test(start_paused = true)]
async fn what_serves_goes_on_while_it_cannot_be_put_back() {
    let mut operator = Operator::of(TWO);
    operator.settle().await;
    let before = operator.status()["entrypoints"].clone();
    for entrypoint in ["web", "api"] {
        let mut drifted = operator.deployments(entrypoint).remove(0);
        drifted["spec"]["template"]["spec"]["containers"][0]["image"] = json!("drifted");
        operator.scale(&drifted, 0);
    }
    operator
        .double
        .break_down(&[Verb::Patch], DEPLOYMENTS, Trouble::Lost);
    let end = timeout(IN_TIME, operator.reconcile()).await;
    assert_ne!(end.expect("it ends").unwrap(), Action::await_change());
    assert_eq!(operator.status()["entrypoints"], before);
    assert_eq!(operator.condition("Ready")["status"], "True");
    assert_eq!(operator.condition("Reconciling")["status"], "True");
}

#[tokio::test]
async fn what_was_done_is_told_although_the_status_could_not_be_written() {
    let mut operator = Operator::of(TWO);
    operator
        .double
        .refuse(Method::PATCH, "/status", 500, "InternalError");
    operator.reconcile().await.unwrap_err();
    assert_eq!(operator.events(), ["RevisionCreated", "RevisionCreated"]);
    operator.double.allow_all();
    operator.settle().await;
    assert_eq!(operator.events(), ["RevisionCreated", "RevisionCreated"]);
}
