//! A new revision answers before it takes the traffic.

use std::sync::{Arc, Mutex};

use activator::{
    engine::BootFailure,
    entrypoint::{Entrypoint, Key},
    entrypoints::verifying,
    verification::{Check, verify},
};
use tokio::task::AbortHandle;

use crate::support::{Manifest, Program, Thaw, eventually, ms, thaw::key};

/// The second revision of `web`, being verified.
struct Verification {
    revision: Arc<Entrypoint>,
    told: Arc<Mutex<Vec<Option<BootFailure>>>>,
    task: AbortHandle,
}

impl Verification {
    fn begin(thaw: &Thaw, manifest: Manifest, path: Option<&str>) -> Self {
        Self::begin_as(thaw, manifest, path, false)
    }

    /// The same, and it panics when it tells of its first outcome.
    fn begin_and_panic(thaw: &Thaw) -> Self {
        Self::begin_as(thaw, Manifest::default(), None, true)
    }

    fn begin_as(thaw: &Thaw, manifest: Manifest, path: Option<&str>, panics: bool) -> Self {
        let revision = thaw.entrypoints.get_or_add(&Key {
            revision: "r2".to_owned(),
            ..key("shop", "web")
        });
        thaw.cluster.deploy(&revision.key);
        revision.configure(verifying(manifest.settings()));
        let told: Arc<Mutex<Vec<_>>> = Arc::default();
        let all = told.clone();
        let tell = move |outcome| {
            let is_too_early = all.lock().unwrap().is_empty() && panics;
            all.lock().unwrap().push(outcome);
            assert!(!is_too_early, "this panic is a part of the story");
        };
        let check = Check {
            path: path.map(str::to_owned),
            host: "shop".to_owned(),
            within: manifest.boot,
        };
        let task = tokio::spawn(verify(revision.clone(), check, tell)).abort_handle();
        Self {
            revision,
            told,
            task,
        }
    }

    /// Reasons of failures, and an empty one of a success.
    fn told(&self) -> Vec<String> {
        let told = self.told.lock().unwrap();
        let reason = |outcome: &Option<BootFailure>| outcome.clone().unwrap_or_default().reason;
        told.iter().map(reason).collect()
    }

    async fn succeeds(&self) {
        eventually("it answers", || {
            self.told().last().is_some_and(String::is_empty)
        })
        .await;
    }

    async fn fails(&self, reason: &str) {
        eventually("it fails", || self.told().iter().any(|told| told == reason)).await;
    }
}

/// As long as every step of a story takes, and short enough to see it pass.
const SHORT: Manifest = Manifest {
    boot: ms(300),
    ..Manifest::LONG
};

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_answered_serves_its_first_request_hot() {
    let thaw = Thaw::start(Manifest::default()).await;
    assert_eq!(thaw.get("/").await.instance(), "i1");
    let verification = Verification::begin(&thaw, Manifest::default(), None);
    verification.succeeds().await;
    assert_eq!(thaw.cluster.made().len(), 2, "one instance");
    assert_eq!(
        thaw.get("/").await.instance(),
        "i1",
        "the traffic has not moved"
    );

    thaw.move_traffic(&verification.revision, Manifest::default());
    verification.task.abort();
    let answer = thaw.get("/").await;
    assert_eq!(
        (answer.instance(), answer.header("thaw-boot")),
        ("i2", "hot")
    );
    eventually("the old one goes", || thaw.cluster.pods() == ["i2"]).await;
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_path_is_asked_and_nothing_runs_beside_it() {
    let thaw = Thaw::start(Manifest::default()).await;
    let path = Some("/healthz?gate=healthy");
    let verification = Verification::begin(&thaw, Manifest::default(), path);
    thaw.inside(1).await;
    assert!(verification.told().is_empty());
    // Even if the traffic comes too early.
    thaw.move_traffic(&verification.revision, Manifest::default());
    let request = thaw.getting("/?gate=request");
    eventually("a second instance", || thaw.cluster.made().len() == 2).await;
    thaw.inside(2).await;
    for gate in ["healthy", "request"] {
        thaw.cluster.journal.open(gate);
    }
    assert_eq!(request.await.unwrap().instance(), "i2");
    verification.succeeds().await;
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_is_asked_in_its_own_protocol() {
    let thaw = Thaw::start(Manifest::default()).await;
    thaw.cluster.run_next([Program::Http2]);
    let verification = Verification::begin(&thaw, Manifest::default(), Some("/healthz"));
    verification.succeeds().await;
    assert_eq!(verification.told().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_answer_is_told_and_another_instance_is_asked() {
    let thaw = Thaw::start(Manifest::default()).await;
    let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    let unwell = Program::Raw {
        answer,
        closes: false,
    };
    thaw.cluster.run_next([unwell]);
    let verification = Verification::begin(&thaw, SHORT, Some("/healthz"));
    verification.fails("VerificationFailed").await;
    let first = verification.told.lock().unwrap()[0].clone().unwrap();
    assert!(
        first.message.contains("GET /healthz: answered 503"),
        "{first:?}"
    );
    verification.succeeds().await;
    eventually("the unwell one is gone", || thaw.cluster.pods() == ["i2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_never_listens_is_told_and_tried_again() {
    let thaw = Thaw::start(Manifest::default()).await;
    thaw.cluster.run_next([Program::Deaf]);
    let verification = Verification::begin(&thaw, SHORT, None);
    verification.fails("NotListening").await;
    verification.succeeds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_nobody_asks_about_any_more_goes() {
    let thaw = Thaw::start(Manifest::default()).await;
    let verification = Verification::begin(&thaw, Manifest::default(), Some("/?gate=never"));
    thaw.inside(1).await;
    verification.task.abort();
    verification.revision.retire();
    eventually("nothing is left of it", || thaw.cluster.pods().is_empty()).await;
    assert!(verification.told().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_that_panics_begins_again() {
    let thaw = Thaw::start(Manifest::default()).await;
    let verification = Verification::begin_and_panic(&thaw);
    eventually("it tells of its second outcome", || {
        verification.told().len() > 1
    })
    .await;
    assert_eq!(verification.told(), ["", ""]);
    assert_eq!(thaw.cluster.made().len(), 1, "one instance");
}
