//! How boots ended, for people: `status.entrypoints[].lastBoot` and Events. Written when the outcome changes, so that a busy function
//! writes nothing.

use std::{
    collections::HashMap,
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
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{engine::BootReport, entrypoint::Key};

/// Reports that may wait for the API server; more are dropped, since the next one tells the same.
const WAITING: usize = 1024;
/// Between two attempts to write a status.
const RETRY: Duration = Duration::from_secs(2);

type Name = (String, String);

/// What stands in the status of each Function, by entrypoint.
#[derive(Clone, Debug, Default)]
pub struct Known(Arc<Mutex<HashMap<Name, State>>>);

#[derive(Clone, Debug, Default)]
struct State {
    reference: ObjectReference,
    boots: HashMap<String, LastBoot>,
}

impl Known {
    /// A Function as a watch shows it. Boots that this process reported and the watch has not shown yet stay.
    pub fn function(&self, function: &Function) {
        let name = (
            function.namespace().unwrap_or_default(),
            function.name_any(),
        );
        let status = function.status.clone().unwrap_or_default();
        let mut known = self.0.lock().expect("nothing panics under this lock");
        let state = known.entry(name).or_default();
        let reference = function.object_ref(&());
        if state.reference.uid != reference.uid {
            state.boots.clear();
        }
        state.reference = reference;
        for entrypoint in status.entrypoints {
            if let Some(boot) = entrypoint.last_boot {
                state.boots.entry(entrypoint.name).or_insert(boot);
            }
        }
        let names: Vec<_> = function
            .spec
            .entrypoints
            .iter()
            .map(|entrypoint| &entrypoint.name)
            .collect();
        state.boots.retain(|name, _| names.contains(&name));
    }

    /// A Function that is gone.
    pub fn function_gone(&self, namespace: &str, name: &str) {
        self.0
            .lock()
            .expect("nothing panics under this lock")
            .remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// Notes a boot; true if it is news.
    fn note(&self, key: &Key, boot: LastBoot) -> bool {
        let mut known = self.0.lock().expect("nothing panics under this lock");
        let Some(state) = known.get_mut(&(key.namespace.clone(), key.function.clone())) else {
            return false;
        };
        let tells = |boot: &LastBoot| (boot.outcome, boot.reason.clone(), boot.revision.clone());
        if state
            .boots
            .get(&key.entrypoint)
            .is_some_and(|before| tells(before) == tells(&boot))
        {
            return false;
        }
        state.boots.insert(key.entrypoint.clone(), boot);
        true
    }

    fn state(&self, name: &Name) -> Option<State> {
        self.0
            .lock()
            .expect("nothing panics under this lock")
            .get(name)
            .cloned()
    }
}

/// Takes reports and never waits.
#[derive(Clone)]
pub struct Reports {
    known: Known,
    news: mpsc::Sender<(Key, BootReport)>,
}

impl Reports {
    /// Reports, and the future that writes them for ever.
    pub fn new(client: Client, known: Known) -> (Self, impl Future<Output = ()>) {
        let (news, waiting) = mpsc::channel(WAITING);
        (
            Self {
                known: known.clone(),
                news,
            },
            write(client, known, waiting),
        )
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
        if self.known.note(key, boot) && self.news.try_send((key.clone(), report.clone())).is_err()
        {
            tracing::warn!(entrypoint = %key, "too many boot reports are waiting, dropped one");
        }
    }
}

/// The wall clock is read here and nowhere else in this crate.
fn now() -> Timestamp {
    let now = Timestamp::now();
    // Kubernetes keeps whole seconds.
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

async fn write(client: Client, known: Known, mut waiting: mpsc::Receiver<(Key, BootReport)>) {
    let reporter = Reporter {
        controller: "thaw-activator".to_owned(),
        instance: None,
    };
    let recorder = Recorder::new(client.clone(), reporter);
    while let Some((key, report)) = waiting.recv().await {
        let name = (key.namespace.clone(), key.function.clone());
        while let Err(error) = write_status(&client, &known, &name).await {
            tracing::warn!(function = key.function, namespace = key.namespace, %error, "cannot write lastBoot, trying again");
            tokio::time::sleep(RETRY).await;
        }
        let (Some(failure), Some(state)) = (report.failure, known.state(&name)) else {
            continue;
        };
        let event = Event {
            type_: EventType::Warning,
            reason: "BootFailed".to_owned(),
            note: Some(format!(
                "{}: {}: {}",
                key.entrypoint, failure.reason, failure.message
            )),
            action: "Boot".to_owned(),
            secondary: None,
        };
        if let Err(error) = recorder.publish(&event, &state.reference).await {
            tracing::warn!(function = key.function, namespace = key.namespace, %error, "cannot publish an Event");
        }
    }
}

/// Applies all boots of a Function, since an apply gives up what it does not name.
async fn write_status(client: &Client, known: &Known, name: &Name) -> kube::Result<()> {
    let Some(state) = known.state(name) else {
        return Ok(());
    };
    let mut boots: Vec<_> = state.boots.iter().collect();
    boots.sort_by_key(|(name, _)| *name);
    let entrypoints: Vec<_> = boots
        .iter()
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
    match api
        .patch_status(&name.1, &params, &Patch::Apply(patch))
        .await
    {
        Ok(_) => Ok(()),
        // Gone, or another Function under the same name.
        Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => Ok(()),
        Err(error) => Err(error),
    }
}
