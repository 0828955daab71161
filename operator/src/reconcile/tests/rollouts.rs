//! From one revision to the next, and back.

use super::*;

const ONE: &str = "{image: a, entrypoints: [{name: web, path: /}]}";

impl Operator {
    fn web(&self) -> Value {
        self.status()["entrypoints"][0].clone()
    }

    /// The revision that takes the traffic of `web`.
    fn ready(&self) -> String {
        let ready = &self.web()["readyRevision"];
        ready.as_str().expect("a revision takes traffic").to_owned()
    }

    fn use_image(&self, image: &str) {
        self.edit(|function| function["spec"]["image"] = json!(image));
    }

    /// Deploys an image, which answers.
    async fn roll_out(&mut self, image: &str) -> String {
        self.use_image(image);
        self.settle().await;
        self.answer(0, "");
        self.settle().await;
        self.ready()
    }

    fn roll_back(&self, to: &str) {
        let mut function = self.double.get(FUNCTION).expect("the function is there");
        function["metadata"]["annotations"] = json!({"thaw.dev/rollback": to});
        self.double.put(FUNCTION, function);
    }

    fn told(&self, type_: &str) -> (String, String) {
        let condition = self.condition(type_);
        let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"))
    }
}

fn is(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

/// All Deployments at rest, as the activator and the Deployment controller would leave them.
fn drain(operator: &Operator) {
    for deployment in operator.deployments("web") {
        operator.scale(&deployment, 0);
    }
}

#[tokio::test]
async fn the_traffic_moves_when_the_new_revision_has_answered() {
    let mut operator = Operator::of(ONE);
    operator.settle().await;
    let old = operator.ready();
    operator.use_image("b");
    operator.settle().await;
    assert_eq!(operator.ready(), old);
    assert_eq!(operator.web()["verifying"], operator.web()["revision"]);
    assert_eq!(operator.told("Ready"), is("True", "Available"));
    assert_eq!(operator.told("Reconciling"), is("True", "Verifying"));
    assert_eq!(operator.told("Stalled").0, "False");

    operator.answer(0, "");
    operator.settle().await;
    assert_eq!(operator.web()["readyRevision"], operator.web()["revision"]);
    assert_eq!(operator.web()["verifying"], Value::Null);
    assert_eq!(operator.web()["keptRevisions"], json!([old]));
    assert_eq!(operator.told("Reconciling"), is("False", "Available"));
    assert!(operator.events().contains(&"TrafficMoved".to_owned()));
}

#[tokio::test]
async fn a_revision_that_fails_changes_nothing_for_users_and_a_later_edit_recovers() {
    let mut operator = Operator::of(ONE);
    operator.settle().await;
    let old = operator.ready();
    operator.use_image("broken");
    operator.settle().await;
    let mut told = Vec::new();
    for reason in ["ErrImagePull", "ImagePullBackOff", "ErrImagePull"] {
        operator.answer(0, reason);
        operator.double.take_requests();
        operator.reconcile().await.unwrap();
        let requests = operator.double.take_requests();
        let events = requests.iter().filter(|call| call.path.contains("/events"));
        told.push(events.count());
        operator.settle().await;
        assert_eq!(operator.ready(), old);
        assert_eq!(operator.told("Ready"), is("True", "Available"));
        assert_eq!(operator.told("Stalled"), is("True", "RevisionFailed"));
        assert_eq!(operator.told("Reconciling").0, "False");
        let message = operator.condition("Stalled")["message"].clone();
        assert!(message.as_str().unwrap().contains(reason), "{message}");
    }
    assert_eq!(told, [1, 0, 0], "people are told once");
    assert!(operator.events().contains(&"RevisionFailed".to_owned()));

    let new = operator.roll_out("good").await;
    assert_ne!(new, old);
    assert_eq!(operator.told("Stalled").0, "False");
    assert_eq!(operator.web()["keptRevisions"], json!([old]));
}

#[tokio::test(start_paused = true)]
async fn what_never_took_traffic_is_removed_when_the_manifest_moves_on() {
    let mut operator = Operator::of(ONE);
    operator.settle().await;
    operator.use_image("broken");
    operator.settle().await;
    operator.answer(0, "ErrImagePull");
    operator.settle().await;
    let broken = operator.web()["revision"].clone();
    operator.use_image("a");
    operator.settle().await;
    assert_eq!(
        operator.web()["verifying"],
        Value::Null,
        "nobody asks any more"
    );
    assert_eq!(operator.told("Stalled").0, "False");
    drain(&operator);
    operator.settle().await;
    tokio::time::advance(LINGER).await;
    operator.settle().await;
    let left = operator.deployments("web");
    assert_eq!(left.len(), 1);
    assert_ne!(left[0]["metadata"]["labels"]["thaw.dev/revision"], broken);
}

#[tokio::test]
async fn a_restart_at_any_point_comes_to_the_same_end() {
    for restart_at in 0..6 {
        let mut operator = Operator::of(ONE);
        operator.settle().await;
        let old = operator.ready();
        operator.use_image("b");
        for step in 0..6 {
            if step == restart_at {
                operator.restart();
            }
            if step == 3 {
                operator.answer(0, "");
            }
            operator.reconcile().await.unwrap();
            assert_eq!(
                operator.ready() == old,
                step < 3,
                "step {step}, restart {restart_at}"
            );
        }
        assert_eq!(operator.web()["keptRevisions"], json!([old]));
        assert_eq!(operator.told("Reconciling").0, "False");
    }
}

#[tokio::test]
async fn a_status_that_cannot_be_written_moves_no_traffic_twice() {
    let mut operator = Operator::of(ONE);
    operator.settle().await;
    let old = operator.ready();
    operator.use_image("b");
    operator.settle().await;
    operator.answer(0, "");
    operator
        .double
        .refuse(Method::PATCH, "/status", 500, "InternalError");
    operator.reconcile().await.unwrap_err();
    assert_eq!(operator.ready(), old);
    operator.double.allow_all();
    operator.restart();
    operator.settle().await;
    assert_ne!(operator.ready(), old);
    assert_eq!(operator.web()["keptRevisions"], json!([old]));
}

#[tokio::test]
async fn one_entrypoint_that_fails_does_not_hold_up_the_other() {
    let mut operator = Operator::of(TWO);
    operator.settle().await;
    operator.use_image("b");
    operator.settle().await;
    operator.answer(0, "CrashLoopBackOff");
    operator.answer(1, "");
    operator.settle().await;
    let status = operator.status();
    let is_new = |nth: usize| {
        let entrypoint = &status["entrypoints"][nth];
        entrypoint["revision"] == entrypoint["readyRevision"]
    };
    assert_eq!((is_new(0), is_new(1)), (false, true));
}

#[tokio::test]
async fn a_rollback_moves_the_traffic_in_one_step_until_the_next_manifest() {
    let mut operator = Operator::of(ONE);
    operator.settle().await;
    let old = operator.ready();
    let bad = operator.roll_out("bad").await;
    operator.roll_back(&format!("web@{old}"));
    operator.reconcile().await.unwrap();
    assert_eq!(operator.ready(), old, "in one step");
    operator.settle().await;
    operator.restart();
    operator.settle().await;
    assert_eq!(operator.ready(), old);
    assert_eq!(operator.told("Ready"), is("True", "Available"));
    let message = operator.condition("Ready")["message"].clone();
    assert!(
        message.as_str().unwrap().contains("rolled back"),
        "{message}"
    );
    assert_eq!(operator.told("Stalled").0, "False");

    let good = operator.roll_out("good").await;
    assert!(good != old && good != bad);
    assert_eq!(operator.web()["keptRevisions"], json!([old, bad]));
}

#[tokio::test]
async fn a_rollback_that_cannot_be_says_which_ones_can() {
    let mut operator = Operator::of(ONE);
    operator.settle().await;
    let old = operator.ready();
    let new = operator.roll_out("b").await;
    for asked in ["web@nonsense", "web", "nobody@x"] {
        operator.roll_back(asked);
        operator.settle().await;
        assert_eq!(operator.ready(), new);
        assert_eq!(operator.told("Stalled"), is("True", "InvalidRollback"));
    }
    operator.roll_back("web@nonsense");
    operator.settle().await;
    let message = operator.condition("Stalled")["message"].clone();
    assert!(message.as_str().unwrap().contains(&old), "{message}");
}

#[tokio::test(start_paused = true)]
async fn the_last_revisions_are_kept_up_to_the_limit() {
    let mut operator = Operator::of(ONE);
    operator.edit(|function| function["spec"]["revisionHistoryLimit"] = json!(2));
    operator.settle().await;
    let mut all = vec![operator.ready()];
    for image in ["b", "c", "d"] {
        all.push(operator.roll_out(image).await);
        drain(&operator);
        operator.settle().await;
        tokio::time::advance(LINGER).await;
        operator.settle().await;
    }
    assert_eq!(operator.web()["keptRevisions"], json!([all[2], all[1]]));
    let left = operator.deployments("web");
    let mut left: Vec<_> = left
        .iter()
        .filter_map(|d| d["metadata"]["labels"]["thaw.dev/revision"].as_str())
        .collect();
    left.sort_unstable();
    let mut expected: Vec<_> = all[1..].iter().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!(left, expected);
}
