use serde_json::{Value, json};

use super::*;

/// The Function `prod/shop` with the entrypoint `web`, whose status says this.
fn function(web: Value) -> Function {
    let mut entry = json!({"name": "web"});
    if let (Some(entry), Some(web)) = (entry.as_object_mut(), web.as_object()) {
        entry.extend(web.clone());
    }
    serde_json::from_value(json!({
        "apiVersion": "thaw.dev/v1alpha1",
        "kind": "Function",
        "metadata": {"name": "shop", "namespace": "prod", "uid": "u"},
        "spec": {"image": "a", "entrypoints": [{"name": "web", "path": "/"}]},
        "status": {"entrypoints": [entry]},
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

fn reports() -> (Reports, mpsc::Receiver<News>) {
    let known = Known::default();
    let (news, waiting) = mpsc::channel(WAITING);
    (Reports { known, news }, waiting)
}

impl Reports {
    /// What the next write says about `web`.
    fn written(&self) -> Value {
        let known = self.known.lock().unwrap();
        let written = applied(&known[&("prod".to_owned(), "shop".to_owned())]);
        written.into_iter().next().unwrap_or_default()
    }
}

fn booted() -> BootReport {
    BootReport {
        instance: None,
        took: Duration::from_secs(1),
        failure: None,
        timed_out: false,
    }
}

fn failure() -> BootFailure {
    BootFailure {
        reason: "ErrImagePull".to_owned(),
        message: "no such image".to_owned(),
    }
}

#[test]
fn an_answer_stays_beside_the_boots_of_the_revision_with_the_traffic() {
    let (reports, mut news) = reports();
    reports.function(&function(json!({"verifying": "new"})));
    reports.verified(&key("new"), None);
    reports.boot(&key("old"), &booted());
    let written = reports.written();
    assert_eq!(written["verified"]["revision"], "new");
    assert_eq!(written["verified"]["outcome"], "Succeeded");
    assert_eq!(written["lastBoot"]["revision"], "old");
    assert!(news.try_recv().is_ok());
}

#[test]
fn an_answer_that_stands_there_is_not_written_again_and_one_that_was_lost_is() {
    let (reports, mut news) = reports();
    reports.function(&function(json!({"verifying": "new"})));
    for _ in 0..2 {
        reports.verified(&key("new"), Some(failure()));
        assert!(news.try_recv().is_ok(), "the status does not say it yet");
    }
    let verified = reports.written()["verified"].clone();
    assert_eq!(verified["reason"], "ErrImagePull");
    let shown = json!({"verifying": "new", "verified": verified});
    reports.function(&function(shown));
    reports.verified(&key("new"), Some(failure()));
    assert!(news.try_recv().is_err());
    reports.verified(&key("new"), None);
    assert!(news.try_recv().is_ok());
}

#[test]
fn an_answer_goes_with_its_question() {
    let (reports, mut news) = reports();
    reports.function(&function(json!({"verifying": "new"})));
    reports.verified(&key("new"), None);
    let verified = reports.written()["verified"].clone();
    while news.try_recv().is_ok() {}
    reports.function(&function(
        json!({"verifying": "newer", "verified": verified}),
    ));
    assert!(news.try_recv().is_ok());
    assert_eq!(reports.written(), Value::Null);
}

fn made_at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

#[test]
fn the_digest_that_ran_is_written_when_the_node_says_it_and_not_with_every_boot() {
    let (reports, mut news) = reports();
    reports.function(&function(json!({})));
    reports.boot(&key("one"), &booted());
    assert_eq!(reports.written()["lastBoot"].get("image"), None);
    while news.try_recv().is_ok() {}

    reports.ran(&key("one"), "a@sha256:1", Some(&made_at(10)));
    assert!(news.try_recv().is_ok());
    let boot = reports.written()["lastBoot"].clone();
    assert_eq!(boot["image"], "a@sha256:1");

    reports.function(&function(json!({"lastBoot": boot})));
    for second in 11..20 {
        reports.ran(&key("one"), "a@sha256:1", Some(&made_at(second)));
        reports.boot(&key("one"), &booted());
    }
    assert!(news.try_recv().is_err(), "nothing has changed");

    // The tag stands for something else now; an older pod that is listed again does not count.
    reports.ran(&key("one"), "a@sha256:2", Some(&made_at(30)));
    assert!(news.try_recv().is_ok());
    reports.ran(&key("one"), "a@sha256:1", Some(&made_at(10)));
    assert_eq!(reports.written()["lastBoot"]["image"], "a@sha256:2");
    assert!(news.try_recv().is_err());
}

#[test]
fn a_digest_is_told_of_its_own_revision_only_and_a_failed_boot_ran_none() {
    let (reports, _news) = reports();
    reports.function(&function(json!({})));
    reports.boot(&key("old"), &booted());
    reports.ran(&key("new"), "a@sha256:2", Some(&made_at(10)));
    assert_eq!(reports.written()["lastBoot"].get("image"), None);
    reports.boot(&key("new"), &booted());
    assert_eq!(reports.written()["lastBoot"]["image"], "a@sha256:2");
    let report = BootReport {
        failure: Some(failure()),
        ..booted()
    };
    reports.boot(&key("new"), &report);
    assert_eq!(reports.written()["lastBoot"].get("image"), None);
    // A process that has just started knows the digest from the status.
    let boot = json!({"at": "2030-01-01T00:00:00Z", "revision": "new", "outcome": "Succeeded", "duration": 1.0, "image": "a@sha256:2"});
    let (reports, mut news) = self::reports();
    reports.function(&function(json!({"lastBoot": boot})));
    reports.boot(&key("new"), &booted());
    assert!(news.try_recv().is_err());
}
