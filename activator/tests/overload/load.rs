//! What overloads: an activator with a function that writes down what it runs, and many clients.

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::{task::JoinSet, time::timeout};

use crate::{
    journals::{Journals, resident},
    support::{Answer, Thaw, ask, example, manifest, write},
};

/// The longest wait for anything here. Thousands of answers take a while on a machine that does other things as well.
pub(crate) const LONG: Duration = Duration::from_secs(300);

/// An activator, and what its function wrote down.
pub(crate) struct Load {
    pub(crate) thaw: Thaw,
    journals: TempDir,
}

impl Load {
    /// The function boots when [`Load::let_boot`] says so.
    pub(crate) async fn start(fields: &str) -> Self {
        open_many_files();
        let (dir, journals) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let boot = format!(
            "until [ -e may-boot ]; do sleep 0.05; done; exec '{}'",
            example("journal").display()
        );
        let fields = format!(
            "command: [/bin/sh, -c, {boot:?}], env: [{{name: JOURNAL, value: {:?}}}], freeze: {{mode: Never}}, {fields}",
            journals.path()
        );
        write(&dir, "function.yaml", &manifest(&[("web", "/", &fields)]));
        Self {
            thaw: Thaw::start(dir, &[]).await,
            journals,
        }
    }

    pub(crate) fn let_boot(&self) {
        write(&self.thaw.dir, "may-boot", "");
    }

    /// One client for each of these ids, each with a connection of its own.
    pub(crate) fn send(&self, ids: impl IntoIterator<Item = u64>) -> JoinSet<(u64, Answer)> {
        let port = self.thaw.port;
        let send = |id| async move { (id, ask(port, "localhost", &format!("/?id={id}")).await) };
        ids.into_iter().map(send).collect()
    }

    /// The activator's resident memory in KiB.
    pub(crate) fn resident(&self) -> u64 {
        resident(Pid::from_child(&self.thaw.child))
    }

    pub(crate) fn journals(&self) -> Journals {
        Journals::read(self.journals.path())
    }
}

/// The next that is answered.
pub(crate) async fn next(clients: &mut JoinSet<(u64, Answer)>) -> (u64, Answer) {
    let next = timeout(LONG, clients.join_next()).await;
    next.expect("an answer").expect("a client is left").unwrap()
}

/// As many as this process may have; the activator inherits it.
fn open_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, most).unwrap();
}
