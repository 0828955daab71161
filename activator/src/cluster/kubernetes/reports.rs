//! How boots ended, for people: `status.entrypoints[].lastBoot` and Events. Written when the outcome changes, so that a busy function
//! writes nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use crds::{
    Function, names,
    status::{BootOutcome, LastBoot},
};
use k8s_openapi::{
    api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::events::{Event, EventType, Recorder},
};
use serde_json::json;
use tokio::sync::mpsc;

use super::overdue;
use crate::{
    engine::{BootFailure, BootReport},
    entrypoint::Key,
};

/// Reports that may wait for the API server; more are dropped, since the next one tells the same.
const WAITING: usize = 1024;
/// Between two attempts to write a status.
const RETRY: Duration = Duration::from_secs(2);
/// After these the next boot tells it again.
const ATTEMPTS: u32 = 5;
/// Longest note of an Event that the API server takes, in bytes.
const LONGEST_NOTE: usize = 1024;

type Name = (String, String);

/// What stands in the status of each Function, by entrypoint.
type Known = Arc<Mutex<HashMap<Name, State>>>;

#[derive(Clone, Debug, Default)]
struct State {
    reference: ObjectReference,
    /// What the Function's status says, as far as a watch has shown it.
    shown: HashMap<String, LastBoot>,
    /// What this process has to say that the status does not say yet.
    unsent: HashMap<String, LastBoot>,
}

impl State {
    fn boots(&self) -> BTreeMap<&String, &LastBoot> {
        self.shown.iter().chain(&self.unsent).collect()
    }
}

/// What makes two boots the same to a reader.
fn tells(boot: &LastBoot) -> (BootOutcome, &str, &str) {
    (boot.outcome, &boot.reason, &boot.revision)
}

/// A Function whose boots must be written, and the failure that an Event tells.
type News = (Name, Option<(Key, BootFailure)>);

/// Takes reports and never waits.
#[derive(Clone)]
pub struct Reports {
    known: Known,
    news: mpsc::Sender<News>,
}

impl Reports {
    /// Reports, and the future that writes them for ever.
    pub fn new(client: Client) -> (Self, impl Future<Output = ()>) {
        let known = Known::default();
        let (news, waiting) = mpsc::channel(WAITING);
        let reports = Self {
            known: known.clone(),
            news,
        };
        (reports, write(client, known, waiting))
    }

    /// A Function as a watch shows it.
    pub fn function(&self, function: &Function) {
        let name = (
            function.namespace().unwrap_or_default(),
            function.name_any(),
        );
        let status = function.status.clone().unwrap_or_default();
        let entrypoints: Vec<_> = function
            .spec
            .entrypoints
            .iter()
            .map(|entrypoint| &entrypoint.name)
            .collect();
        let boots = status
            .entrypoints
            .into_iter()
            .filter_map(|entrypoint| Some((entrypoint.name, entrypoint.last_boot?)));
        let (shown, ghosts): (HashMap<_, _>, HashMap<_, _>) =
            boots.partition(|(name, _)| entrypoints.contains(&name));
        {
            let mut known = self.known.lock().expect("nothing panics under this lock");
            let state = known.entry(name.clone()).or_default();
            let reference = function.object_ref(&());
            if state.reference.uid != reference.uid {
                state.unsent.clear();
            }
            state.reference = reference;
            state.unsent.retain(|name, boot| {
                entrypoints.contains(&name)
                    && shown
                        .get(name)
                        .is_none_or(|shown| tells(shown) != tells(boot))
            });
            state.shown = shown;
        }
        if !ghosts.is_empty() {
            // An entrypoint that was removed stays in the status for as long as we apply its last boot.
            self.tell((name, None));
        }
    }

    /// A Function that is gone.
    pub fn function_gone(&self, namespace: &str, name: &str) {
        let name = (namespace.to_owned(), name.to_owned());
        self.known
            .lock()
            .expect("nothing panics under this lock")
            .remove(&name);
    }

    /// A boot ended.
    pub fn boot(&self, key: &Key, report: &BootReport) {
        let failure = report.failure.clone().unwrap_or_default();
        let boot = LastBoot {
            at: Time(now()),
            revision: key.revision.clone(),
            outcome: if report.failure.is_some() {
                BootOutcome::Failed
            } else {
                BootOutcome::Succeeded
            },
            reason: failure.reason,
            message: failure.message,
            duration: (report.took.as_secs_f64() * 1000.0).round() / 1000.0,
        };
        if self.note(key, boot) {
            let name = (key.namespace.clone(), key.function.clone());
            let failure = report.failure.clone().map(|failure| (key.clone(), failure));
            self.tell((name, failure));
        }
    }

    /// Notes a boot; true if the status must be told.
    fn note(&self, key: &Key, boot: LastBoot) -> bool {
        let mut known = self.known.lock().expect("nothing panics under this lock");
        let Some(state) = known.get_mut(&(key.namespace.clone(), key.function.clone())) else {
            return false;
        };
        if state
            .shown
            .get(&key.entrypoint)
            .is_some_and(|shown| tells(shown) == tells(&boot))
        {
            state.unsent.remove(&key.entrypoint);
            return false;
        }
        state.unsent.insert(key.entrypoint.clone(), boot);
        true
    }

    fn tell(&self, news: News) {
        if let Err(error) = self.news.try_send(news) {
            tracing::warn!(%error, "too many reports are waiting, dropped one");
        }
    }
}

/// The wall clock is read here and in the Lease, and nowhere else in this crate.
fn now() -> Timestamp {
    let now = Timestamp::now();
    // Kubernetes keeps whole seconds.
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

async fn write(client: Client, known: Known, mut waiting: mpsc::Receiver<News>) {
    let state = |name: &Name| {
        known
            .lock()
            .expect("nothing panics under this lock")
            .get(name)
            .cloned()
    };
    while let Some((name, failure)) = waiting.recv().await {
        for attempt in 1..=ATTEMPTS {
            // The newest state at each attempt.
            let Some(state) = state(&name) else { break };
            let Err(error) = write_status(&client, &state, &name).await else {
                break;
            };
            tracing::warn!(namespace = name.0, function = name.1, attempt, %error, "cannot write lastBoot");
            tokio::time::sleep(RETRY).await;
        }
        if let (Some((key, failure)), Some(state)) = (failure, state(&name)) {
            publish(&client, &state.reference, &key, &failure).await;
        }
    }
}

async fn publish(client: &Client, function: &ObjectReference, key: &Key, failure: &BootFailure) {
    let mut note = format!(
        "{}: {}: {}",
        key.entrypoint, failure.reason, failure.message
    );
    note.truncate(note.floor_char_boundary(LONGEST_NOTE));
    let event = Event {
        type_: EventType::Warning,
        reason: "BootFailed".to_owned(),
        note: Some(note),
        action: "Boot".to_owned(),
        secondary: None,
    };
    // A recorder of its own for each: a shared one would fold boots that failed for different reasons into the first.
    let recorder = Recorder::new(client.clone(), names::ACTIVATOR.into());
    if let Err(error) = recorder.publish(&event, function).await {
        tracing::warn!(entrypoint = %key, %error, "cannot publish an Event");
    }
}

/// Applies all boots of a Function, since an apply gives up what it does not name.
async fn write_status(client: &Client, state: &State, name: &Name) -> kube::Result<()> {
    let boots = state.boots().into_iter();
    let entrypoints: Vec<_> = boots
        .map(|(name, boot)| json!({"name": name, "lastBoot": boot}))
        .collect();
    let patch = json!({
        "apiVersion": Function::api_version(&()),
        "kind": Function::kind(&()),
        // With its UID a status never lands on a Function that was deleted and made anew.
        "metadata": {"name": name.1, "uid": state.reference.uid},
        "status": {"entrypoints": entrypoints},
    });
    let api: Api<Function> = Api::namespaced(client.clone(), &name.0);
    let params = PatchParams::apply(names::ACTIVATOR).force();
    match overdue(api.patch_status(&name.1, &params, &Patch::Apply(patch))).await {
        Ok(_) => Ok(()),
        // Gone, or another Function under the same name.
        Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => Ok(()),
        Err(error) => Err(error),
    }
}
