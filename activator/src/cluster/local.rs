//! Processes on this machine: an instance is a process group with a keeper.
//!
//! What a ReplicaSet and a kubelet are on Kubernetes is here: how many instances there are, which of them go first, and what becomes of one
//! whose process ended (it stays, spent, until the engine scales it away). No API server and no container runtime is asked for anything.

mod expansion;
mod functions;
pub mod keeper;
mod life;
pub mod manifest;
mod members;
mod output;
mod ports;
mod process;
pub mod program;
mod view;
pub mod watch;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::Cluster;
use crate::{
    engine::{BootFailure, BootReport, InstanceId},
    entrypoint::{Entrypoint, Key, Mark},
    instance::Tail,
};
pub use functions::Functions;
use keeper::Told;
use life::Life;
use members::{Member, State};
use ports::Ports;
pub use view::View;

/// How a process ends that was told to: by itself, by the signal, or by exiting as a shell whose child the signal ended.
const AS_TOLD: [&str; 3] = [
    "exit status 0",
    "exit status 143",
    "killed by signal 15 (SIGTERM)",
];

/// The processes of all entrypoints.
#[derive(Clone, Debug)]
pub struct Local(Arc<Shared>);

/// What all of them share.
#[derive(Debug)]
pub struct Shared {
    /// The program that becomes a keeper.
    keeper: PathBuf,
    view: View,
    ports: Arc<Ports>,
    state: Mutex<State>,
    /// One an instance.
    tasks: TaskTracker,
}

impl std::ops::Deref for Local {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Local {
    /// No instance yet.
    ///
    /// # Errors
    /// This process does not know its own program.
    pub fn new(view: View) -> io::Result<Self> {
        Ok(Self(Arc::new(Shared {
            keeper: process::this_program()?,
            view,
            ports: Ports::new(std::process::id()),
            state: Mutex::default(),
            tasks: TaskTracker::new(),
        })))
    }

    /// Ends every instance: SIGTERM now, SIGKILL after the grace. No more are started. May be called again with a shorter grace.
    pub fn end(&self, grace: Duration) {
        let mut state = self.lock();
        state.is_stopping = true;
        for told in state.processes.values() {
            told.send(Told::End(grace)).ok();
        }
    }

    /// Shows how things stand, for ever.
    pub async fn show_status(self) {
        view::follow(self).await;
    }

    /// Waits until no process of any instance is left. Only after [`Self::end`].
    pub async fn ended_all(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Starts one more instance.
    fn start(&self, state: &mut State, entrypoint: &Arc<Entrypoint>) -> Result<(), BootFailure> {
        let key = &entrypoint.key;
        let refused = |reason: &str, message: &str| BootFailure {
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        let Some(program) = state.programs.get(key).cloned() else {
            return Err(refused(
                "Removed",
                "the entrypoint is not in the manifest any more",
            ));
        };
        if !program.dir.is_dir() {
            let problem = format!("there is no directory {}", program.dir.display());
            return Err(refused("WorkingDirMissing", &problem));
        }
        let Some(port) = self.ports.take() else {
            return Err(refused(
                "NoPort",
                "every port for instances is in use: end other programs",
            ));
        };
        self.view.changed();
        let name = state.next_name(key);
        let id = entrypoint.seen(&name, &name, false, 0);
        let (tell, told) = mpsc::unbounded_channel();
        let (is_up, tail) = (Arc::new(AtomicBool::new(false)), Arc::new(Tail::default()));
        entrypoint.scheduled(id);
        entrypoint.writes_to(id, tail.clone());
        state.processes.insert(name.clone(), tell);
        state.add(
            key,
            Member {
                name: name.clone(),
                id,
                mark: 0,
                is_up: is_up.clone(),
            },
        );
        let launch = program.launch(key, port.number);
        let life = Life {
            local: self.clone(),
            entrypoint: entrypoint.clone(),
            id,
            name,
            port,
            tail,
            told,
            is_up,
        };
        self.tasks.spawn(life.live(launch));
        Ok(())
    }

    /// No process of the instance is left.
    fn ended(
        &self,
        entrypoint: &Arc<Entrypoint>,
        id: InstanceId,
        name: &Arc<str>,
        failure: BootFailure,
    ) {
        let mut state = self.lock();
        state.processes.remove(name);
        let member = state.member(&entrypoint.key, id);
        let was_up = member.map(|member| member.is_up.load(Ordering::Relaxed));
        let is_stopping = state.is_stopping;
        drop(state);
        // One that was told to end is no member any more. A boot that failed is reported.
        let status = first_line(&failure.message);
        let is_news = match was_up {
            Some(was_up) => was_up,
            None => !AS_TOLD.contains(&status),
        };
        if is_news && !is_stopping {
            self.view.news(&format!("{name} ended: {status}"));
        }
        if was_up.is_some() {
            entrypoint.broke(id, failure);
        }
    }

    fn tell(&self, name: &str, told: Told) {
        if let Some(tell) = self.lock().processes.get(name) {
            tell.send(told).ok();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }
}

impl Cluster for Local {
    async fn scale(&self, entrypoint: &Arc<Entrypoint>) {
        let replicas = entrypoint.replicas();
        let mut state = self.lock();
        if state.is_stopping {
            return;
        }
        let key = &entrypoint.key;
        let mut refused = None;
        while refused.is_none() && state.count(key) < replicas as usize {
            refused = self.start(&mut state, entrypoint).err();
        }
        let grace = state
            .programs
            .get(key)
            .map_or(Duration::ZERO, |program| program.grace);
        let surplus = state.take_surplus(key, replicas as usize);
        drop(state);
        entrypoint.scaled(Some(replicas));
        for member in surplus {
            self.tell(&member.name, Told::End(grace));
            self.view.news(&format!("{} goes", member.name));
            entrypoint.gone(&member.name);
        }
        if let Some(failure) = refused {
            entrypoint.creation_refused(failure);
        }
    }

    async fn mark(&self, entrypoint: &Arc<Entrypoint>, instances: Vec<(Mark, String)>) {
        let (marks, names): (Vec<_>, Vec<_>) = instances.into_iter().unzip();
        self.lock().mark(&entrypoint.key, &names);
        entrypoint.marked(&marks);
    }

    fn freeze(&self, _: &Arc<Entrypoint>, _: InstanceId, instance: &str) {
        self.tell(instance, Told::Freeze);
    }

    fn thaw(&self, _: &Arc<Entrypoint>, _: InstanceId, instance: &str) {
        self.tell(instance, Told::Thaw);
    }

    /// There is no other owner.
    async fn release(&self, _: &Arc<Entrypoint>, _: String) {}

    fn report(&self, entrypoint: &Arc<Entrypoint>, report: &BootReport) {
        let key = &entrypoint.key;
        let mut state = self.lock();
        let member = report.instance.and_then(|id| state.member(key, id));
        let name = member.map(|member| member.name.clone());
        if report.failure.is_none()
            && let Some(member) = member
        {
            member.is_up.store(true, Ordering::Relaxed);
        }
        let name = name.unwrap_or_else(|| state.nameless(key));
        let took = report.took.as_millis();
        let (news, short) = match &report.failure {
            None => {
                entrypoint.meter.boot_ended("succeeded", "");
                (format!("{name} booted in {took} ms"), format!("{took} ms"))
            }
            Some(failure) => {
                entrypoint.meter.boot_ended("failed", &failure.reason);
                let problem = format!("{}: {}", failure.reason, first_line(&failure.message));
                (
                    format!("{name} did not boot: {problem}"),
                    failure.reason.clone(),
                )
            }
        };
        state.note_boot(key, short);
        drop(state);
        self.view.news(&news);
    }
}

/// The lines of the instance itself were shown when it wrote them.
fn first_line(message: &str) -> &str {
    message.split("; its last lines:").next().unwrap_or(message)
}

impl Local {
    /// What instances of this revision run from now on.
    pub(super) fn provide(&self, key: Key, program: program::Program) {
        self.lock().programs.insert(key, program);
    }

    /// Names of instances begin with the function's, once there are several.
    pub(super) fn name_functions(&self) {
        self.lock().names_functions = true;
    }

    /// Shows these entrypoints, in this order.
    pub(super) fn show(&self, entrypoints: Vec<Arc<Entrypoint>>) {
        self.lock().shown = entrypoints;
        self.view.changed();
    }

    /// Forgets a revision that has no instance left; false if it has.
    pub(super) fn forget(&self, key: &Key) -> bool {
        let mut state = self.lock();
        let is_empty = state.count(key) == 0;
        if is_empty {
            state.programs.remove(key);
        }
        is_empty
    }

    /// Each entrypoint that takes traffic, under the name that its instances bear, and how its last boot ended.
    fn shown(&self) -> Vec<(Arc<Entrypoint>, String, Option<String>)> {
        let state = self.lock();
        let shown = state.shown.iter().map(|entrypoint| {
            let key = &entrypoint.key;
            let last = state.last_boot(key);
            (entrypoint.clone(), state.nameless(key).to_string(), last)
        });
        shown.collect()
    }
}
