use k8s_openapi::jiff::Timestamp;

use super::*;

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

fn entrypoint(name: &str, revision: &str, ready: Option<&str>) -> Report {
    Report {
        name: name.to_owned(),
        url: Some(format!("http://shop--prod.example.com/{name}")),
        entrypoints: vec![],
        predecessors: vec![],
        revision: Some(revision.to_owned()),
        ready_revision: ready.map(str::to_owned),
        verifying: None,
        kept_revisions: vec![],
        rollback: None,
        measured: None,
        instances: 2,
    }
}

fn facts(previous: &FunctionStatus, troubles: Vec<Trouble>, entrypoints: Vec<Report>) -> Facts<'_> {
    Facts {
        generation: Some(3),
        urls: vec!["http://shop--prod.example.com".to_owned()],
        hosts: vec![],
        unrouted: vec![],
        entrypoints,
        troubles,
        previous,
    }
}

/// The conditions that others know too.
fn told(status: &FunctionStatus) -> Vec<String> {
    let ours = |c: &&Condition| c.type_ == ROUTES_READY;
    let conditions = status.conditions.iter().filter(|c| !ours(c));
    conditions
        .map(|c| format!("{} {} {}", c.type_, c.status, c.reason))
        .collect()
}

#[test]
fn a_function_whose_revisions_exist_is_ready_at_zero_instances() {
    let previous = FunctionStatus::default();
    let entrypoints = vec![
        entrypoint("a", "1", Some("1")),
        entrypoint("b", "2", Some("2")),
    ];
    let status = status(facts(&previous, vec![], entrypoints), &at(100));
    insta::assert_yaml_snapshot!(status);
}

#[test]
fn a_refused_child_stalls_and_the_older_revision_keeps_the_function_ready() {
    let refused = || vec![Trouble::Stalled(Reason::ChildRefused, "a: no".to_owned())];
    let previous = FunctionStatus::default();
    let older = vec![entrypoint("a", "2", Some("1"))];
    assert_eq!(
        told(&status(facts(&previous, refused(), older), &at(1))),
        [
            "Ready True Available",
            "Reconciling False Available",
            "Stalled True ChildRefused"
        ]
    );
    let none = vec![entrypoint("a", "2", None)];
    assert_eq!(
        told(&status(facts(&previous, refused(), none), &at(1))),
        [
            "Ready False ChildRefused",
            "Reconciling False Progressing",
            "Stalled True ChildRefused"
        ]
    );
}

#[test]
fn a_write_that_will_be_tried_again_is_reconciling() {
    let previous = FunctionStatus::default();
    let retrying = vec![Trouble::Retrying(
        Reason::Progressing,
        "a: not yet".to_owned(),
    )];
    let none = vec![entrypoint("a", "1", None)];
    assert_eq!(
        told(&status(facts(&previous, retrying, none), &at(1))),
        [
            "Ready False Progressing",
            "Reconciling True Progressing",
            "Stalled False Progressing"
        ]
    );
}

#[test]
fn a_first_manifest_that_breaks_a_rule_is_not_ready() {
    let previous = FunctionStatus::default();
    let invalid = vec![Trouble::Stalled(
        Reason::InvalidSpec,
        "spec.x: no".to_owned(),
    )];
    assert_eq!(
        told(&status(facts(&previous, invalid, vec![]), &at(1))),
        [
            "Ready False InvalidSpec",
            "Reconciling False Progressing",
            "Stalled True InvalidSpec"
        ]
    );
}

#[test]
fn the_time_of_a_condition_moves_only_with_its_status() {
    let empty = FunctionStatus::default();
    let first = status(
        facts(&empty, vec![], vec![entrypoint("a", "1", Some("1"))]),
        &at(100),
    );
    let refused = vec![Trouble::Stalled(Reason::ChildRefused, "a: no".to_owned())];
    let entrypoints = vec![entrypoint("a", "2", Some("1"))];
    let second = status(facts(&first, refused, entrypoints), &at(200));
    let times: Vec<_> = second
        .conditions
        .iter()
        .map(|c| c.last_transition_time.clone())
        .collect();
    assert_eq!(times, [at(100), at(100), at(200), at(100)]);
}

#[test]
fn a_function_that_lacks_a_host_is_ready_at_the_others() {
    let previous = FunctionStatus::default();
    let lacking = Facts {
        unrouted: vec![
            (Reason::HostConflict, "a.test is taken".to_owned()),
            (Reason::NameConflict, "a Service".to_owned()),
        ],
        ..facts(&previous, vec![], vec![entrypoint("a", "1", Some("1"))])
    };
    let status = status(lacking, &at(1));
    let routes = &status.conditions[3];
    assert_eq!(
        (
            &*routes.type_,
            &*routes.status,
            &*routes.reason,
            &*routes.message
        ),
        ("RoutesReady", "False", "HostConflict", "a.test is taken")
    );
    assert_eq!(
        told(&status),
        [
            "Ready True Available",
            "Reconciling False Available",
            "Stalled False Available"
        ]
    );
}

#[test]
fn what_the_activator_wrote_is_no_difference() {
    let empty = FunctionStatus::default();
    let entrypoints = || vec![entrypoint("a", "1", Some("1"))];
    let wanted = status(facts(&empty, vec![], entrypoints()), &at(100));
    let mut standing = wanted.clone();
    standing.entrypoints[0].last_boot = Some(crds::status::LastBoot {
        at: at(50),
        revision: "1".to_owned(),
        outcome: crds::status::BootOutcome::Succeeded,
        reason: String::new(),
        message: String::new(),
        duration: 0.2,
        image: None,
    });
    standing.entrypoints.push(EntrypointStatus {
        name: "removed".to_owned(),
        last_boot: standing.entrypoints[0].last_boot.clone(),
        ..EntrypointStatus::default()
    });
    assert_eq!(difference(&standing, &wanted), Difference::None);

    standing.entrypoints[0].instances = Some(7);
    standing.instances = Some(7);
    assert_eq!(difference(&standing, &wanted), Difference::Counts);

    standing.entrypoints[0].ready_revision = None;
    assert_eq!(difference(&standing, &wanted), Difference::More);
    assert_eq!(difference(&empty, &wanted), Difference::More);
}

/// What `kubectl wait`-like tools make of an object (kubernetes-sigs/cli-utils, pkg/kstatus): the first condition of the two that is true
/// decides, and a Ready that is not true is progress.
fn kstatus(status: &FunctionStatus, generation: i64) -> &'static str {
    if status.observed_generation != Some(generation) {
        return "InProgress";
    }
    for condition in &status.conditions {
        match (condition.type_.as_str(), condition.status.as_str()) {
            (RECONCILING, "True") => return "InProgress",
            (STALLED, "True") => return "Failed",
            _ => {}
        }
    }
    let mut conditions = status.conditions.iter();
    let ready = conditions.find(|condition| condition.type_ == READY);
    match ready.map(|ready| ready.status.as_str()) {
        Some("True") | None => "Current",
        Some(_) => "InProgress",
    }
}

#[test]
fn kstatus_finds_out_how_a_function_is() {
    let stuck = || Trouble::Stalled(Reason::ImageTooLarge, "web: large".to_owned());
    let busy = || Trouble::Retrying(Reason::Verifying, "web: new".to_owned());
    let (ready, old, none) = (Some("2"), Some("1"), None);
    for (serving, troubles, expected) in [
        (ready, vec![], "Current"),
        (old, vec![], "Current"), // rolled back
        (old, vec![busy()], "InProgress"),
        (old, vec![stuck()], "Failed"),
        (old, vec![stuck(), busy()], "InProgress"),
        (none, vec![], "InProgress"),
        (none, vec![busy()], "InProgress"),
        (none, vec![stuck()], "Failed"),
        (none, vec![busy(), stuck()], "InProgress"),
    ] {
        let case = format!("{serving:?} {troubles:?}");
        let previous = FunctionStatus::default();
        let entrypoints = vec![entrypoint("web", "2", serving)];
        let status = status(facts(&previous, troubles, entrypoints), &at(1));
        assert_eq!(kstatus(&status, 3), expected, "{case}");
        assert_eq!(
            kstatus(&status, 4),
            "InProgress",
            "{case}, and edited since"
        );
        let is_ready = status.conditions[0].status == "True";
        assert_eq!(is_ready, serving.is_some(), "{case}");
        for condition in &status.conditions {
            assert_eq!(condition.observed_generation, Some(3));
            assert!(
                !condition.reason.is_empty(),
                "the API server would refuse it"
            );
            let says = condition.status == "True" || condition.type_ == READY;
            assert_eq!(condition.message.is_empty(), !says, "{case} {condition:?}");
        }
    }
}
