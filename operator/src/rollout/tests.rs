use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::*;

/// What was reported: the revision with the traffic, the one that is verified, and those that are kept.
fn before(ready: Option<&str>, verifying: Option<&str>, kept: &[&str]) -> EntrypointStatus {
    EntrypointStatus {
        name: "web".to_owned(),
        ready_revision: ready.map(str::to_owned),
        verifying: verifying.map(str::to_owned),
        kept_revisions: kept.iter().map(|kept| (*kept).to_owned()).collect(),
        ..EntrypointStatus::default()
    }
}

fn said(revision: &str, outcome: BootOutcome) -> Verified {
    Verified {
        at: Time(Timestamp::UNIX_EPOCH),
        revision: revision.to_owned(),
        outcome,
        reason: "ErrImagePull".to_owned(),
        message: "no such image".to_owned(),
    }
}

fn situation(before: &EntrypointStatus) -> Situation<'_> {
    Situation {
        is_too_large: false,
        entrypoint: "web",
        wanted: "new",
        when: VerifyWhen::Update,
        before,
        answer: None,
        rollback: None,
        limit: 2,
        predecessors: &[],
    }
}

/// The revision with the traffic and the one that is verified, where everything exists.
fn next(situation: Situation<'_>) -> (Option<String>, Option<String>) {
    let Rollout {
        ready, verifying, ..
    } = rollout(situation, |_| true);
    (ready, verifying)
}

fn revisions(ready: Option<&str>, verifying: Option<&str>) -> (Option<String>, Option<String>) {
    (ready.map(str::to_owned), verifying.map(str::to_owned))
}

#[test]
fn the_first_revision_takes_the_traffic_unseen_unless_told_otherwise() {
    let nothing = EntrypointStatus::default();
    let first = situation(&nothing);
    assert_eq!(next(first), revisions(Some("new"), None));
    let always = Situation {
        when: VerifyWhen::Always,
        ..first
    };
    assert_eq!(next(always), revisions(None, Some("new")));
    assert!(rollout(first, |_| false).ready.is_none());
}

#[test]
fn a_new_revision_takes_the_traffic_when_it_has_answered() {
    let old = before(Some("old"), None, &[]);
    assert_eq!(next(situation(&old)), revisions(Some("old"), Some("new")));
    let never = Situation {
        when: VerifyWhen::Never,
        ..situation(&old)
    };
    assert_eq!(next(never), revisions(Some("new"), None));

    let asked = before(Some("old"), Some("new"), &[]);
    let outcomes = [
        (said("new", BootOutcome::Succeeded), Some("new"), None),
        (said("new", BootOutcome::Failed), Some("old"), Some("new")),
        (
            said("older", BootOutcome::Succeeded),
            Some("old"),
            Some("new"),
        ),
    ];
    for (answer, ready, verifying) in &outcomes {
        let answered = Situation {
            answer: Some(answer),
            ..situation(&asked)
        };
        assert_eq!(next(answered), revisions(*ready, *verifying), "{answer:?}");
    }
}

#[test]
fn an_answer_to_nobody_moves_nothing() {
    let old = before(Some("old"), None, &[]);
    let left_over = said("new", BootOutcome::Succeeded);
    let unasked = Situation {
        answer: Some(&left_over),
        ..situation(&old)
    };
    assert_eq!(next(unasked), revisions(Some("old"), Some("new")));
}

#[test]
fn a_failure_says_why_and_who_keeps_the_traffic() {
    let asked = before(Some("old"), Some("new"), &[]);
    let failed = said("new", BootOutcome::Failed);
    let answered = Situation {
        answer: Some(&failed),
        ..situation(&asked)
    };
    let [Trouble::Stalled(Reason::RevisionFailed, message)] =
        &rollout(answered, |_| true).troubles[..]
    else {
        panic!("it stalls");
    };
    for part in ["new", "old keeps", "ErrImagePull: no such image"] {
        assert!(message.contains(part), "{message}");
    }
    let waits = rollout(situation(&asked), |_| true).troubles;
    assert!(matches!(
        &waits[..],
        [Trouble::Retrying(Reason::Verifying, _)]
    ));
}

#[test]
fn the_older_revision_takes_the_traffic_until_the_newer_exists() {
    let old = before(Some("old"), None, &[]);
    let lacking = rollout(situation(&old), |revision| revision == "old");
    assert_eq!(
        (lacking.ready.as_deref(), lacking.verifying),
        (Some("old"), None)
    );
    let gone = rollout(situation(&old), |revision| revision == "new");
    assert_eq!(gone.ready.as_deref(), Some("new"), "nobody serves");
    assert!(rollout(situation(&old), |_| false).ready.is_none());
}

#[test]
fn what_took_traffic_before_takes_it_again_at_once() {
    let reverted = before(Some("bad"), None, &["new", "older"]);
    let rollout = rollout(situation(&reverted), |_| true);
    assert_eq!(rollout.ready.as_deref(), Some("new"));
    assert_eq!(rollout.kept, ["bad", "older"]);
}

#[test]
fn the_last_ones_are_kept_and_what_never_served_is_not() {
    let old = before(Some("old"), Some("failed"), &["a", "b"]);
    let never = Situation {
        when: VerifyWhen::Never,
        ..situation(&old)
    };
    assert_eq!(rollout(never, |_| true).kept, ["old", "a"]);
    assert_eq!(rollout(never, |r| r != "a").kept, ["old", "b"]);
    assert_eq!(rollout(situation(&old), |_| true).kept, ["a", "b"]);
}

#[test]
fn a_rollback_moves_the_traffic_at_once_and_holds_until_the_manifest_asks_for_something_else() {
    let bad = before(Some("new"), None, &["old", "older"]);
    let asked = Situation {
        rollback: Some("older"),
        ..situation(&bad)
    };
    let back = rollout(asked, |_| true);
    assert_eq!(
        (back.ready.as_deref(), &back.verifying),
        (Some("older"), &None)
    );
    assert_eq!(back.kept, ["new", "old"]);

    let after = EntrypointStatus {
        rollback: back.rollback.clone(),
        ..before(Some("older"), None, &["new", "old"])
    };
    let same = Situation {
        rollback: Some("older"),
        ..situation(&after)
    };
    assert_eq!(rollout(same, |_| true), back);

    let edited = Situation {
        wanted: "newest",
        ..same
    };
    assert_eq!(next(edited), revisions(Some("older"), Some("newest")));
    let over = EntrypointStatus {
        rollback: rollout(edited, |_| true).rollback,
        ..after.clone()
    };
    let edited_back = Situation {
        before: &over,
        ..same
    };
    assert_eq!(
        next(edited_back),
        revisions(Some("new"), None),
        "it is over"
    );
    let removed = Situation {
        rollback: None,
        ..same
    };
    assert_eq!(next(removed), revisions(Some("new"), None));
}

#[test]
fn a_rollback_to_what_is_not_kept_moves_nothing_and_says_what_is() {
    let bad = before(Some("new"), None, &["old", "older"]);
    for unknown in ["nonsense", "failed"] {
        let asked = Situation {
            rollback: Some(unknown),
            ..situation(&bad)
        };
        let back = rollout(asked, |_| true);
        assert_eq!(back.ready.as_deref(), Some("new"));
        let [Trouble::Stalled(Reason::InvalidRollback, message)] = &back.troubles[..] else {
            panic!("it is told: {:?}", back.troubles);
        };
        assert!(message.contains("old, older"), "{message}");
    }
}

#[test]
fn a_rollback_to_what_has_the_traffic_ends_a_verification() {
    let asked = before(Some("old"), Some("new"), &[]);
    let back = Situation {
        rollback: Some("old"),
        ..situation(&asked)
    };
    assert_eq!(next(back), revisions(Some("old"), None));
    assert!(rollout(back, |_| true).troubles.is_empty());
}

#[test]
fn a_first_revision_takes_paths_over_when_it_has_answered() {
    let nothing = EntrypointStatus::default();
    let predecessors = [Predecessor {
        path: "/".to_owned(),
        entrypoint: "home".to_owned(),
        revision: "h1".to_owned(),
    }];
    let first = Situation {
        predecessors: &predecessors,
        ..situation(&nothing)
    };
    assert_eq!(next(first), revisions(None, Some("new")));
    let waiting = rollout(first, |_| true);
    assert_eq!(waiting.predecessors, predecessors);
    let [Trouble::Retrying(Reason::Verifying, message)] = &waiting.troubles[..] else {
        panic!("it waits: {:?}", waiting.troubles);
    };
    assert!(message.contains("home@h1 keeps that of /"), "{message}");
    // Its Deployment was refused: what answers goes on.
    let refused = rollout(first, |_| false);
    assert_eq!((refused.ready, refused.predecessors.len()), (None, 1));

    let asked = before(None, Some("new"), &[]);
    let answer = said("new", BootOutcome::Succeeded);
    let answered = Situation {
        before: &asked,
        answer: Some(&answer),
        ..first
    };
    let taken = rollout(answered, |_| true);
    assert_eq!(
        (taken.ready.as_deref(), taken.predecessors.len()),
        (Some("new"), 0)
    );
    let never = Situation {
        when: VerifyWhen::Never,
        ..first
    };
    assert_eq!(next(never), revisions(Some("new"), None));
    // It answers the path already, for what was to take it over.
    let own = [Predecessor {
        entrypoint: "web".to_owned(),
        revision: "new".to_owned(),
        ..predecessors[0].clone()
    }];
    let reverted = Situation {
        predecessors: &own,
        ..first
    };
    assert_eq!(next(reverted), revisions(Some("new"), None));
}

/// It booted unmeasured, took the traffic, and is found to be too large.
#[test]
fn the_traffic_of_a_refused_revision_goes_back_to_the_last_one_that_is_kept() {
    let refused = before(Some("new"), None, &["gone", "old", "older"]);
    let refused = Situation {
        is_too_large: true,
        ..situation(&refused)
    };
    let there = |revision: &str| matches!(revision, "old" | "older");
    let back = rollout(refused, there);
    assert_eq!(back.ready.as_deref(), Some("old"));
    assert_eq!(back.kept, ["older"]);
    assert_eq!(back.verifying, None);
    assert_eq!(rollout(refused, |_| false).ready, None);
}

#[test]
fn paths_stay_where_they_are_until_there_is_a_deployment_of_the_revision_that_takes_them() {
    let predecessors = [Predecessor {
        path: "/x".to_owned(),
        entrypoint: "x".to_owned(),
        revision: "1".to_owned(),
    }];
    let old = before(Some("old"), None, &[]);
    let held = Situation {
        predecessors: &predecessors,
        ..situation(&old)
    };
    let held = rollout(held, |revision| revision == "old");
    assert_eq!(held.ready.as_deref(), Some("old"));
    assert_eq!(held.predecessors, predecessors);
}
