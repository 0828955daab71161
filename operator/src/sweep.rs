//! Removes what Functions that are gone left in the activator's namespace, where no owner reference reaches them.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::{ResourceExt, runtime::reflector::ObjectRef};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::{
    apply::{Error, Removal, remove},
    attachment::Home,
    observe::Guarded,
    reconcile::Context,
    waits::Waits,
};

/// The Functions that are being swept, and whether there was word of one since its sweep began: as long as something is left, each new list
/// speaks of it again, and one sweep of a Function is enough.
#[derive(Default)]
pub struct Sweeps(Mutex<HashMap<ObjectRef<Guarded>, bool>>);

impl Sweeps {
    /// Sweeps what the Function `gone` left, unless that goes on already.
    pub async fn sweep(&self, gone: &ObjectRef<Guarded>, context: &Context) {
        if !self.begins(gone) {
            return;
        }
        loop {
            sweep(gone, context).await;
            if !self.goes_on(gone) {
                return;
            }
        }
    }

    fn begins(&self, gone: &ObjectRef<Guarded>) -> bool {
        let mut running = self.running();
        let is_running = running.contains_key(gone);
        running.insert(gone.clone(), is_running);
        !is_running
    }

    /// Whether there was word of more, which the sweep that has ended may not have seen.
    fn goes_on(&self, gone: &ObjectRef<Guarded>) -> bool {
        let mut running = self.running();
        let is_told = running.remove(gone).unwrap_or(false);
        if is_told {
            running.insert(gone.clone(), false);
        }
        is_told
    }

    fn running(&self) -> MutexGuard<'_, HashMap<ObjectRef<Guarded>, bool>> {
        // A panic inside one of the short functions above leaves plain values behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes what the Function `gone` left, however often that takes, unless it came back. The cache of Functions has to be
/// filled.
pub async fn sweep(gone: &ObjectRef<Guarded>, context: &Context) {
    let mut waits = Waits::default();
    loop {
        let wait = match remove_all(gone, context).await {
            Ok(true) => return,
            Ok(false) => waits.next_wait(),
            Err(error) => {
                let wait = waits.next_wait();
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                warn!(function = %gone, %error, cause, ?wait, "what a Function left is still there");
                wait
            }
        };
        sleep(wait).await;
    }
}

/// Whether nothing is left.
async fn remove_all(gone: &ObjectRef<Guarded>, context: &Context) -> Result<bool, Error> {
    if context.caches.functions.get(gone).is_some() {
        return Ok(true);
    }
    let left = context.caches.attachments(|kind, object| {
        kind.home == Home::Activator && kind.function(object).as_ref() == Some(gone)
    });
    let mut end = Ok(true);
    for (kind, object) in left {
        let api = kind.api(&context.client, &object.namespace().unwrap_or_default());
        match remove(&api, kind.name, &*object).await {
            Ok(Removal::Done) => {
                info!(function = %gone, kind = kind.name, name = object.name_any(), "removed");
            }
            Ok(Removal::Needless) => {}
            Ok(Removal::Outrun) => end = end.map(|_| false),
            Err(error) => end = Err(error),
        }
    }
    end
}
