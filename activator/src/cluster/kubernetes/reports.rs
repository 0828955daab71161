//! How boots ended, for people: `status.entrypoints[].lastBoot` and Events; and what became of verifications, for the operator:
//! `status.entrypoints[].verified`. Written when the outcome changes, so that a busy function writes nothing.
//!
//! `lastBoot` cannot answer the operator: a boot of the revision that has the traffic would overwrite the answer before it is read. Nor
//! can an annotation of the Deployment: the right to patch Deployments is the right to run anything, and this process faces the internet.

mod words;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use crds::{
    Function, names,
    status::{BootOutcome, LastBoot, Verified},
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
use words::Words;

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
    boots: Words<LastBoot>,
    /// What the newest pod of each entrypoint runs.
    images: HashMap<String, Ran>,
    answers: Words<Verified>,
}

/// An image that ran.
#[derive(Clone, Debug)]
struct Ran {
    revision: String,
    image: String,
    /// When the pod was made.
    since: Option<Time>,
}

/// What the status of a Function shows of it.
struct Shown {
    /// Its entrypoints and bundles, and the revision that the operator asks about.
    entrypoints: HashMap<String, Option<String>>,
    boots: HashMap<String, LastBoot>,
    answers: HashMap<String, Verified>,
    /// Something stands there that has no reason any more.
    has_ghosts: bool,
}

impl Shown {
    fn of(function: &Function) -> Self {
        let entrypoints = reported(function).into_iter();
        let entrypoints = entrypoints.map(|name| (name.to_owned(), None));
        let mut shown = Self {
            entrypoints: entrypoints.collect(),
            boots: HashMap::new(),
            answers: HashMap::new(),
            has_ghosts: false,
        };
        for entrypoint in function
            .status
            .iter()
            .flat_map(|status| &status.entrypoints)
        {
            let name = &entrypoint.name;
            let asked = shown.entrypoints.get_mut(name);
            let is_there = asked.is_some();
            if let Some(asked) = asked {
                asked.clone_from(&entrypoint.verifying);
            }
            if let Some(boot) = &entrypoint.last_boot {
                shown.has_ghosts |= !is_there;
                if is_there {
                    shown.boots.insert(name.clone(), boot.clone());
                }
            }
            if let Some(answer) = &entrypoint.verified {
                // An answer stands as long as its question: the same revision may be asked about again.
                let is_asked = is_there && entrypoint.verifying.as_ref() == Some(&answer.revision);
                shown.has_ghosts |= !is_asked;
                if is_asked {
                    shown.answers.insert(name.clone(), answer.clone());
                }
            }
        }
        shown
    }
}

impl State {
    fn shown(&mut self, shown: Shown) {
        let Shown {
            entrypoints,
            boots,
            answers,
            has_ghosts: _,
        } = shown;
        self.images.retain(|name, _| entrypoints.contains_key(name));
        self.boots
            .shown(boots, |name, _| entrypoints.contains_key(name));
        self.answers.shown(answers, |name, answer| {
            entrypoints.get(name).and_then(Option::as_ref) == Some(&answer.revision)
        });
    }

    /// The image that a successful boot of this revision ran, as far as a node has said it.
    fn image(&self, key: &Key) -> Option<String> {
        let ran = self.images.get(&key.entrypoint);
        let ran = ran.filter(|ran| ran.revision == key.revision);
        let told = self.boots.of(&key.entrypoint);
        let told = told.filter(|boot| boot.revision == key.revision);
        ran.map(|ran| ran.image.clone())
            .or_else(|| told?.image.clone())
    }
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
        let shown = Shown::of(function);
        let has_ghosts = shown.has_ghosts;
        let reference = function.object_ref(&());
        {
            let mut known = self.known.lock().expect("nothing panics under this lock");
            let state = known.entry(name.clone()).or_default();
            if state.reference.uid != reference.uid {
                *state = State::default();
            }
            state.reference = reference;
            state.shown(shown);
        }
        if has_ghosts {
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
            image: None,
        };
        if self.note(key, boot) {
            let name = (key.namespace.clone(), key.function.clone());
            let failure = report.failure.clone().map(|failure| (key.clone(), failure));
            self.tell((name, failure));
        }
    }

    /// A verification came to this outcome, perhaps once more.
    pub fn verified(&self, key: &Key, failure: Option<BootFailure>) {
        let outcome = match failure {
            Some(_) => BootOutcome::Failed,
            None => BootOutcome::Succeeded,
        };
        let BootFailure { reason, message } = failure.unwrap_or_default();
        let answer = Verified {
            at: Time(now()),
            revision: key.revision.clone(),
            outcome,
            reason,
            message,
        };
        let name = (key.namespace.clone(), key.function.clone());
        let is_news = {
            let mut known = self.known.lock().expect("nothing panics under this lock");
            let state = known.get_mut(&name);
            state.is_some_and(|state| state.answers.note(&key.entrypoint, answer))
        };
        if is_news {
            tracing::info!(entrypoint = %key, ?outcome, "verified");
            self.tell((name, None));
        }
    }

    /// A pod, made at `since`, runs this image.
    pub fn ran(&self, key: &Key, image: &str, since: Option<&Time>) {
        let name = (key.namespace.clone(), key.function.clone());
        let is_news = {
            let mut known = self.known.lock().expect("nothing panics under this lock");
            let Some(state) = known.get_mut(&name) else {
                return;
            };
            let newest = state.images.get(&key.entrypoint);
            if newest.is_some_and(|newest| newest.since.as_ref() > since) {
                return;
            }
            let ran = Ran {
                revision: key.revision.clone(),
                image: image.to_owned(),
                since: since.cloned(),
            };
            state.images.insert(key.entrypoint.clone(), ran);
            let boot = state.boots.of(&key.entrypoint).cloned();
            let boot = boot.filter(|boot| {
                boot.outcome == BootOutcome::Succeeded
                    && boot.revision == key.revision
                    && boot.image.as_deref() != Some(image)
            });
            boot.is_some_and(|boot| {
                let image = Some(image.to_owned());
                let boot = LastBoot { image, ..boot };
                state.boots.note(&key.entrypoint, boot)
            })
        };
        if is_news {
            self.tell((name, None));
        }
    }

    /// Notes a boot; true if the status must be told.
    fn note(&self, key: &Key, mut boot: LastBoot) -> bool {
        let name = (key.namespace.clone(), key.function.clone());
        let mut known = self.known.lock().expect("nothing panics under this lock");
        known.get_mut(&name).is_some_and(|state| {
            if boot.outcome == BootOutcome::Succeeded {
                boot.image = state.image(key);
            }
            state.boots.note(&key.entrypoint, boot)
        })
    }

    fn tell(&self, news: News) {
        if let Err(error) = self.news.try_send(news) {
            tracing::warn!(%error, "too many reports are waiting, dropped one");
        }
    }
}

/// What boots are told of: the bundles and entrypoints of the manifest, and what still answers paths that are theirs now.
fn reported(function: &Function) -> HashSet<&str> {
    let statuses = function
        .status
        .iter()
        .flat_map(|status| &status.entrypoints);
    let predecessors = statuses.flat_map(|status| &status.predecessors);
    let predecessors = predecessors.map(|before| before.entrypoint.as_str());
    crds::entrypoint::names(&function.spec)
        .chain(predecessors)
        .collect()
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
            tracing::warn!(namespace = name.0, function = name.1, attempt, %error, "cannot write the status of entrypoints");
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

/// All that this process has to say about a Function.
fn applied(state: &State) -> Vec<serde_json::Value> {
    let mut entrypoints = BTreeMap::new();
    for (name, boot) in state.boots.all() {
        let entry = entrypoints.entry(name);
        entry.or_insert_with(|| json!({"name": name}))["lastBoot"] = json!(boot);
    }
    for (name, answer) in state.answers.all() {
        let entry = entrypoints.entry(name);
        entry.or_insert_with(|| json!({"name": name}))["verified"] = json!(answer);
    }
    entrypoints.into_values().collect()
}

/// Applies everything about a Function, since an apply gives up what it does not name.
async fn write_status(client: &Client, state: &State, name: &Name) -> kube::Result<()> {
    let entrypoints = applied(state);
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

#[cfg(test)]
mod tests;
