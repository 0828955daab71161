//! Removes what Functions that are gone left in the activator's namespace, where no owner reference reaches them.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use kube::{ResourceExt, runtime::reflector::ObjectRef};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::{
    apply::{Error, Removal, remove},
    attachment::Home,
    observe::Guarded,
    reconcile::Context,
};

/// Shortest wait before a removal that failed is tried again.
const SHORTEST_RETRY: Duration = Duration::from_secs(1);

/// Longest wait, up to as much again added by chance, as for everything else that is tried again.
const LONGEST_RETRY: Duration = Duration::from_secs(6);

/// Removes what the Function `gone` left, however often that takes, unless it came back. The cache of Functions has to be
/// filled.
pub async fn sweep(gone: &ObjectRef<Guarded>, context: &Context) {
    let mut waits = ExponentialBuilder::new()
        .with_min_delay(SHORTEST_RETRY)
        .with_max_delay(LONGEST_RETRY)
        .without_max_times()
        .with_jitter()
        .build();
    loop {
        let wait = match remove_all(gone, context).await {
            Ok(true) => return,
            Ok(false) => waits.next().unwrap_or(LONGEST_RETRY),
            Err(error) => {
                let wait = waits.next().unwrap_or(LONGEST_RETRY);
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
