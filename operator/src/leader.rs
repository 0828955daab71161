//! One leader at a time, by a Lease.
//!
//! # Guarantees
//! - Two replicas do not lead at once, as long as their clocks run at the same speed: a leader stops [`RENEW_WITHIN`] after the start
//!   of its last renewal, others start [`DURATION`] after they saw that renewal or later. Times written in the Lease are for
//!   people; nobody compares them with a clock.
//! - Every write names the version it replaces, so of two that write at once one fails.
//!
//! # Assumptions
//! The caller stops leading when [`Leader::lead`] returns, best by ending the process. Identities are unique.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::{debug, info, warn};

/// A Lease that nobody renewed for so long is free.
pub const DURATION: Duration = Duration::from_secs(15);
/// A leader renews so often.
pub const RENEW_EVERY: Duration = Duration::from_secs(5);
/// A leader that could not renew for so long is none any more. The rest of [`DURATION`] is for its last requests to end.
pub const RENEW_WITHIN: Duration = Duration::from_secs(10);
/// Wait between two looks at a Lease that somebody else holds, and between two tries to renew: a hand-over takes this long.
pub const RETRY: Duration = Duration::from_secs(2);
/// Longest wait for one answer, so that a dead connection costs one try and not all of them.
const ANSWER: Duration = Duration::from_secs(3);

/// One replica's part in the election.
pub struct Leader {
    leases: Api<Lease>,
    name: String,
    identity: String,
    held: Option<Lease>,
    renewed: watch::Sender<Option<Instant>>,
}

/// What became of one try.
enum Try {
    Held,
    /// Not now, perhaps later.
    Failed,
    /// Somebody else holds it.
    Lost,
}

impl Leader {
    /// A candidate for the Lease `name`.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            held: None,
            renewed: watch::Sender::new(None),
        }
    }

    /// When the Lease was last renewed; `None` while somebody else leads.
    pub fn renewed(&self) -> watch::Receiver<Option<Instant>> {
        self.renewed.subscribe()
    }

    /// Waits until this replica leads.
    ///
    /// # Cancel safety
    /// A Lease that was just taken may be left behind; [`Self::release`] gives it back.
    pub async fn acquire(&mut self) {
        // The version of the Lease that was seen last, and since when.
        let mut seen: Option<(Option<String>, Instant)> = None;
        loop {
            let started = Instant::now();
            match answer(self.leases.get_opt(&self.name)).await {
                Some(Ok(None)) => {
                    self.create(started).await;
                }
                Some(Ok(Some(found))) => {
                    let version = found.metadata.resource_version.clone();
                    let since = match &seen {
                        Some((known, since)) if *known == version => *since,
                        _ => started,
                    };
                    seen = Some((version, since));
                    if self.is_free(&found) || since.elapsed() >= duration(&found) {
                        self.replace(self.claim(Some(found)), started).await;
                    }
                }
                Some(Err(error)) => warn!(%error, lease = self.name, "lease not read"),
                None => warn!(lease = self.name, "lease not read in time"),
            }
            if self.held.is_some() {
                info!(lease = self.name, identity = self.identity, "leading");
                return;
            }
            sleep(RETRY).await;
        }
    }

    /// Renews the Lease until that fails for good. Call it after [`Self::acquire`].
    ///
    /// # Cancel safety
    /// The Lease stays held; [`Self::release`] gives it back.
    pub async fn lead(&mut self) {
        loop {
            sleep(RENEW_EVERY).await;
            let last = self.renewed.borrow().unwrap_or_else(Instant::now);
            let is_held = timeout_at(last + RENEW_WITHIN, self.renew_or_lose()).await;
            if !is_held.unwrap_or(false) {
                return;
            }
        }
    }

    /// Tries until the Lease is renewed or somebody else has it.
    async fn renew_or_lose(&mut self) -> bool {
        loop {
            match self.renew().await {
                Try::Held => return true,
                Try::Failed => sleep(RETRY).await,
                Try::Lost => return false,
            }
        }
    }

    /// Gives the Lease back, so that the next leader need not wait for it to expire.
    pub async fn release(mut self) {
        for _ in 0..2 {
            let Some(mut lease) = self.held.take() else {
                // A cancelled write may have taken it unnoticed.
                self.held = self.own().await;
                continue;
            };
            let spec = lease.spec.get_or_insert_default();
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            match answer(self.write(&lease)).await {
                Some(Ok(_)) => {
                    info!(
                        lease = self.name,
                        identity = self.identity,
                        "lease released"
                    );
                    return;
                }
                Some(Err(error)) => debug!(%error, "lease not released"),
                None => debug!("lease not released in time"),
            }
        }
    }

    async fn renew(&mut self) -> Try {
        let started = Instant::now();
        let Some(held) = self.held.clone() else {
            return Try::Lost;
        };
        if matches!(
            self.replace(self.claim(Some(held)), started).await,
            Try::Held
        ) {
            return Try::Held;
        }
        // An answer may have been lost after the write: then the version is another and the holder still this replica.
        match answer(self.leases.get_opt(&self.name)).await {
            Some(Ok(Some(found))) if self.is_mine(&found) => {
                self.held = Some(found);
                Try::Failed
            }
            // Somebody deleted it. Of those that make it anew one succeeds.
            Some(Ok(None)) => self.create(started).await,
            Some(Ok(Some(_))) => {
                self.held = None;
                Try::Lost
            }
            Some(Err(_)) | None => Try::Failed,
        }
    }

    async fn create(&mut self, started: Instant) -> Try {
        let post = PostParams::default();
        let new = self.claim(None);
        let end = answer(self.leases.create(&post, &new)).await;
        self.settle(end, started)
    }

    async fn replace(&mut self, lease: Lease, started: Instant) -> Try {
        let end = answer(self.write(&lease)).await;
        self.settle(end, started)
    }

    async fn write(&self, lease: &Lease) -> kube::Result<Lease> {
        let post = PostParams::default();
        self.leases.replace(&self.name, &post, lease).await
    }

    fn settle(&mut self, end: Option<kube::Result<Lease>>, started: Instant) -> Try {
        match end {
            Some(Ok(lease)) => {
                self.held = Some(lease);
                self.renewed.send_replace(Some(started));
                return Try::Held;
            }
            Some(Err(error)) => warn!(%error, lease = self.name, "lease not written"),
            None => warn!(lease = self.name, "lease not written in time"),
        }
        Try::Failed
    }

    /// The Lease if this replica holds it.
    async fn own(&self) -> Option<Lease> {
        let found = answer(self.leases.get_opt(&self.name)).await?.ok()??;
        self.is_mine(&found).then_some(found)
    }

    fn is_mine(&self, lease: &Lease) -> bool {
        holder(lease) == Some(&self.identity)
    }

    fn is_free(&self, lease: &Lease) -> bool {
        holder(lease).is_none_or(|holder| holder.is_empty() || *holder == self.identity)
    }

    /// The Lease as this replica wants it to be. It keeps the version, without which a write would overrule another's.
    fn claim(&self, from: Option<Lease>) -> Lease {
        let mut lease = from.unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        let now = MicroTime(Timestamp::now());
        let is_mine = self.is_mine(&lease);
        let LeaseSpec {
            acquire_time,
            holder_identity,
            lease_duration_seconds,
            lease_transitions,
            renew_time,
            preferred_holder: _,
            strategy: _,
        } = lease.spec.get_or_insert_default();
        if !is_mine {
            *acquire_time = Some(now.clone());
            *lease_transitions = Some(lease_transitions.map_or(0, |count| count.saturating_add(1)));
        }
        *holder_identity = Some(self.identity.clone());
        *lease_duration_seconds = Some(i32::try_from(DURATION.as_secs()).unwrap_or(i32::MAX));
        *renew_time = Some(now);
        lease
    }
}

fn holder(lease: &Lease) -> Option<&String> {
    lease.spec.as_ref()?.holder_identity.as_ref()
}

/// How long its holder asked others to wait.
fn duration(lease: &Lease) -> Duration {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds);
    seconds.map_or(DURATION, |s| {
        Duration::from_secs(u64::try_from(s).unwrap_or(0))
    })
}

/// The answer, if it comes in time.
async fn answer<T>(call: impl Future<Output = kube::Result<T>>) -> Option<kube::Result<T>> {
    timeout(ANSWER, call).await.ok()
}

#[cfg(test)]
mod tests;
