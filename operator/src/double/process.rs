//! A process with a client, which can die in the middle of its work.

use std::sync::{Arc, Mutex};

use kube::Client;
use tokio::sync::watch;

use super::{Double, server};

/// When a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// Before its n-th write, counted from 1, reaches the API server.
    Before(usize),
    /// After its n-th write was done and before it learns of that.
    After(usize),
}

/// A process. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Process {
    pub(super) double: Double,
    pub(super) name: String,
    life: Arc<Mutex<Life>>,
    died: watch::Sender<bool>,
}

#[derive(Default)]
struct Life {
    death: Option<Death>,
    writes: usize,
}

impl Process {
    pub(super) fn new(double: Double, name: &str) -> Self {
        Self {
            double,
            name: name.to_owned(),
            life: Arc::default(),
            died: watch::Sender::new(false),
        }
    }

    /// A client of the API server that speaks for this process.
    pub(crate) fn client(&self) -> Client {
        let process = self.clone();
        let service = tower::service_fn(move |request| server::serve(process.clone(), request));
        Client::new(service, "default")
    }

    /// Lets it die so many writes from now.
    pub(crate) fn dies(&self, death: Death) {
        *self.life.lock().expect("nothing panics inside") = Life {
            death: Some(death),
            writes: 0,
        };
    }

    /// Waits until it is dead.
    pub(crate) async fn died(&self) {
        let mut died = self.died.subscribe();
        let end = died.wait_for(|is_dead| *is_dead).await;
        end.expect("the sender is held here");
    }

    pub(super) fn is_dead(&self) -> bool {
        *self.died.borrow()
    }

    /// Counts a write, and says how it ends for the process.
    pub(super) fn begins_write(&self) -> Option<Death> {
        let mut life = self.life.lock().expect("nothing panics inside");
        life.writes += 1;
        let (Death::Before(last) | Death::After(last)) = life.death?;
        life.death.filter(|_| life.writes == last)
    }

    /// Nothing that it does has an effect from now on.
    pub(crate) fn die(&self) {
        self.died.send_replace(true);
    }
}
