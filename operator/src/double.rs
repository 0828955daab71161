//! An API server in memory, as far as an operator can tell: objects with versions, generations and owners of their fields, lists in
//! pages, watches, server-side apply; what else lives in a cluster; and whatever can go wrong with any of it.
//!
//! It knows no kinds. An object lies at its path, and everything else is read from the object.

mod apply;
mod call;
mod faults;
mod fields;
pub(crate) mod fixtures;
mod process;
mod selector;
mod server;
mod state;
mod watches;
mod world;

use std::sync::{Arc, Mutex, MutexGuard};

use http::Method;
use kube::Client;
use serde_json::Value;
use tokio::{sync::watch, time::Instant};

pub(crate) use call::{Call, Verb};
pub(crate) use faults::Trouble;
pub(crate) use process::{Death, Process};
pub(crate) use state::Change;
pub(crate) use world::live;

use faults::Fault;
use state::State;

/// The API server. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Double {
    state: Arc<Mutex<State>>,
    /// The newest version, for those that wait for one.
    versions: watch::Sender<u64>,
}

impl Default for Double {
    fn default() -> Self {
        Self {
            state: Arc::default(),
            versions: watch::Sender::new(0),
        }
    }
}

impl Double {
    /// A client of nobody in particular.
    pub(crate) fn client(&self) -> Client {
        self.process("somebody").client()
    }

    /// A process that talks to this API server.
    pub(crate) fn process(&self, name: &str) -> Process {
        Process::new(self.clone(), name)
    }

    /// Refuses requests whose path contains `part`, until [`Self::allow_all`].
    pub(crate) fn refuse(&self, method: Method, part: &'static str, code: u16, why: &'static str) {
        self.break_down(Verb::of(&method), part, Trouble::Refusal(code, why, None));
    }

    /// Lets requests fail whose path contains `part`, until [`Self::allow_all`].
    pub(crate) fn break_down(&self, verbs: &'static [Verb], part: &'static str, trouble: Trouble) {
        let fault = Fault {
            verbs,
            part,
            trouble,
        };
        self.state().faults.push(fault);
        self.wake();
    }

    /// Answers nothing any more, as behind a connection that died.
    pub(crate) fn fall_silent(&self) {
        self.break_down(&Verb::ALL, "", Trouble::Lost);
    }

    /// Takes its time over paths that end so.
    pub(crate) fn slow_down(&self, end: &'static str) {
        self.state().slow = Some(end);
    }

    /// Ends all faults.
    pub(crate) fn allow_all(&self) {
        self.state().faults.clear();
        self.wake();
    }

    /// Forgets what changed, so that watches from an older version have to start anew.
    pub(crate) fn compact(&self) {
        let mut state = self.state();
        state.compacted = state.version;
        drop(state);
        self.wake();
    }

    /// Breaks every watch off in the middle of a line.
    pub(crate) fn cut_watches(&self) {
        self.state().cuts += 1;
        self.wake();
    }

    /// The requests since the last call.
    pub(crate) fn take_requests(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().requests)
    }

    /// Every change there ever was, the oldest first.
    pub(crate) fn changes(&self) -> Vec<Change> {
        self.state().changes.clone()
    }

    /// When something changed last.
    pub(crate) fn last_change(&self) -> Option<Instant> {
        self.state().changes.last().map(|change| change.at)
    }

    /// The object at this path.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.state().get(path).cloned()
    }

    /// The objects below this path.
    pub(crate) fn list(&self, below: &str) -> Vec<Value> {
        self.list_where(|path| path.starts_with(below))
    }

    /// The objects whose path `is_wanted`.
    pub(crate) fn list_where(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<Value> {
        let all = self.all().into_iter();
        all.filter(|(path, _)| is_wanted(path))
            .map(|(_, object)| object)
            .collect()
    }

    /// Every object with its path.
    pub(crate) fn all(&self) -> Vec<(String, Value)> {
        let state = self.state();
        let all = state.objects.iter();
        all.map(|(path, stored)| (path.clone(), stored.object.clone()))
            .collect()
    }

    /// Removes an object, as somebody else would.
    pub(crate) fn remove(&self, path: &str) {
        self.state().remove(path);
        self.wake();
    }

    /// Puts an object there as it is, as somebody else would.
    pub(crate) fn put(&self, path: &str, object: Value) {
        self.state().put(path, object);
        self.wake();
    }

    /// Creates or changes what an object says, but for its status, as a user would.
    pub(crate) fn write(&self, path: &str, object: Value) {
        self.state().write(path, object, "user");
        self.wake();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics inside")
    }

    /// Tells all that wait to look again.
    fn wake(&self) {
        let version = self.state().version;
        self.versions.send_replace(version);
    }
}
