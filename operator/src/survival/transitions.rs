//! A Function goes through many changes, good, bad and hostile, and ends where its last manifest alone would have led.
//!
//! There is no schema here, so what an API server would refuse gets through, as it would from an older one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, Once},
    thread::{self, ThreadId},
    time::Duration,
};

use crds::transitions::{End, Transition, Transitions};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::stage::{DEPLOYMENTS, FUNCTIONS, Stage, differences};

const IMAGES: [&str; 4] = ["v1", "v2", "v3", "v4"];
/// Long enough for everything that one change starts, retries and the removal of old revisions included.
const ENOUGH: Duration = Duration::from_secs(30);

static PANICS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The operator lives through its panics; this notices them.
fn notice_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS
                .lock()
                .expect("nothing panics inside")
                .insert(id(thread::current().id()));
            next(panic);
        }));
    });
}

fn id(thread: ThreadId) -> String {
    format!("{thread:?}")
}

fn apply(stage: &Stage, transition: &Transition) {
    let path = format!("{FUNCTIONS}/shop");
    if transition.is_new {
        stage.double.remove(&path);
    }
    let mut manifest = json!({"apiVersion": "thaw.dev/v1alpha1", "kind": "Function", "metadata": {"name": "shop", "annotations": {}}, "spec": transition.spec});
    if let Some(rollback) = &transition.rollback {
        manifest["metadata"]["annotations"]["thaw.dev/rollback"] = json!(rollback);
    }
    stage.double.write(&path, manifest);
}

fn condition<'a>(function: &'a Value, type_: &str) -> Option<&'a Value> {
    let mut all = function["status"]["conditions"].as_array()?.iter();
    all.find(|condition| condition["type"] == type_)
}

/// What a person sees of a change that had its time.
fn check(stage: &Stage, transition: &Transition) {
    let function = stage.function("shop");
    let is =
        |type_| condition(&function, type_).map(|c| (c["status"].clone(), c["reason"].clone()));
    let status = |type_| is(type_).map(|(status, _)| status);
    let reason = |type_| is(type_).map(|(_, reason)| reason);
    let seen = &function["status"]["observedGeneration"];
    assert_eq!(*seen, function["metadata"]["generation"], "{transition:?}");
    match transition.end {
        End::True => {
            assert_eq!(
                status("Ready"),
                Some(json!("True")),
                "{transition:?}: {function}"
            );
            assert_eq!(
                status("Reconciling"),
                Some(json!("False")),
                "{transition:?}: {function}"
            );
            let stalled = json!("InvalidRollback");
            let is_well =
                status("Stalled") == Some(json!("False")) || reason("Stalled") == Some(stalled);
            assert!(is_well, "{transition:?}: {function}");
        }
        End::Reported => {
            assert_eq!(
                status("Stalled"),
                Some(json!("True")),
                "{transition:?}: {function}"
            );
            assert_eq!(
                reason("Stalled"),
                Some(json!("InvalidSpec")),
                "{transition:?}: {function}"
            );
        }
        // Whatever it says, it says something about this manifest.
        End::Refused => assert!(status("Ready").is_some(), "{transition:?}: {function}"),
    }
}

/// The end without what older revisions left: they are kept on purpose.
fn without_history(mut state: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let mut wanted = BTreeSet::new();
    for (_, function) in state
        .iter_mut()
        .filter(|(path, _)| path.starts_with(FUNCTIONS))
    {
        let entrypoints = function["status"]["entrypoints"].as_array_mut();
        for entrypoint in entrypoints.into_iter().flatten() {
            let name = entrypoint["revision"].as_str().unwrap_or_default();
            wanted.insert(name.to_owned());
            if let Some(entrypoint) = entrypoint.as_object_mut() {
                entrypoint.remove("keptRevisions");
            }
        }
    }
    state.retain(|path, object| {
        let revision = object["metadata"]["labels"]["thaw.dev/revision"].as_str();
        !path.starts_with(DEPLOYMENTS) || revision.is_some_and(|revision| wanted.contains(revision))
    });
    state
}

async fn goes_through(changes: usize, seed: u64) {
    notice_panics();
    let stage = Stage::new();
    let mut transitions = Transitions::new(seed, &IMAGES);
    let mut ends = [0, 0, 0];
    for _ in 0..changes {
        let transition = transitions.next().expect("there is always another");
        ends[transition.end as usize] += 1;
        apply(&stage, &transition);
        if transition.is_hasty {
            continue;
        }
        sleep(ENOUGH).await;
        check(&stage, &transition);
    }
    assert!(ends.iter().all(|count| *count > changes / 12), "{ends:?}");
    let last = Transition {
        change: "the last",
        spec: transitions.good().clone(),
        rollback: None,
        end: End::True,
        is_new: false,
        is_hasty: false,
    };
    apply(&stage, &last);
    stage.comes_to_rest().await;

    let fresh = Stage::new();
    apply(&fresh, &last);
    fresh.comes_to_rest().await;
    let wanted = without_history(fresh.end_state());
    let found = without_history(stage.end_state());
    let differences = differences(&wanted, &found);
    assert!(
        differences.is_empty(),
        "seed {seed}: {}",
        differences.join("\n")
    );
    let panics = PANICS.lock().expect("nothing panics inside");
    assert!(
        !panics.contains(&id(thread::current().id())),
        "it panicked on the way"
    );
}

#[tokio::test(start_paused = true)]
async fn a_hundred_changes_end_where_the_last_alone_would() {
    goes_through(100, 6).await;
}

#[tokio::test(start_paused = true)]
#[ignore = "it takes a minute; a hundred are played each time: cargo test --workspace --lib -- --ignored a_thousand"]
async fn a_thousand_changes_end_where_the_last_alone_would() {
    goes_through(1000, 6).await;
}
