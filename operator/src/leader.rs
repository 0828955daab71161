//! One leader at a time, by a Lease.
//!
//! # Guarantees
//! - Two replicas do not lead at once, as long as their clocks run at the same speed: a leader stops [`RENEW_WITHIN`] after the start
//!   of its last renewal, others start [`DURATION`] after they saw that renewal or later. Times written in the Lease are for
//!   people; nobody compares them with a clock.
//! - A replica that was stopped meanwhile writes nothing when it goes on: see [`fence`].
//! - Every write names the version it replaces, so of two that write at once one fails.
//! - A Lease that nobody renews has a new holder [`DURATION`] and two [`RETRY`] after its last renewal.
//!
//! # Assumptions
//! The caller stops leading when [`Leader::lead`] returns, best by ending the process. Identities are unique. The chart makes the Lease,
//! held by nobody: one that is missing was deleted, and whose it was may believe to hold it until it has expired.

pub mod fence;

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::{debug, info, warn};

use fence::{Fence, Moment};

/// A Lease that nobody renewed for so long is free.
pub const DURATION: Duration = Duration::from_secs(12);
/// A leader renews so often.
pub const RENEW_EVERY: Duration = Duration::from_secs(3);
/// A leader that could not renew for so long is none any more. The rest of [`DURATION`] is for its last requests to end.
pub const RENEW_WITHIN: Duration = Duration::from_secs(9);
/// Wait between two looks at a Lease that somebody else holds, and between two tries to renew: a hand-over takes this long.
pub const RETRY: Duration = Duration::from_secs(1);
/// Longest wait for one answer, so that a dead connection costs one try and not all of them.
const ANSWER: Duration = Duration::from_secs(3);
/// The longest that any version of Thaw asked others to wait. Who writes a longer time into its Lease is not believed.
const LONGEST: Duration = Duration::from_secs(15);

/// One replica's part in the election.
pub struct Leader {
    leases: Api<Lease>,
    name: String,
    identity: String,
    held: Option<Lease>,
    renewed: watch::Sender<Option<Moment>>,
}

/// What a candidate saw last, and since when it has been so.
struct Seen {
    /// The version of the Lease; `None` if it was missing.
    version: Option<String>,
    since: Instant,
    /// How long it has to stay so until the Lease is free.
    wait: Duration,
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
    pub fn renewed(&self) -> watch::Receiver<Option<Moment>> {
        self.renewed.subscribe()
    }

    /// Lets only a leader write.
    pub fn fence(&self) -> Fence {
        Fence::new(self.renewed.subscribe())
    }

    /// Waits until this replica leads.
    ///
    /// # Cancel safety
    /// A Lease that was just taken may be left behind; [`Self::release`] gives it back.
    pub async fn acquire(&mut self) {
        let mut seen: Option<Seen> = None;
        loop {
            let started = Moment::now();
            match answer(self.leases.get_opt(&self.name)).await {
                Some(Ok(found)) => {
                    let is_free = found.as_ref().is_some_and(|found| self.is_free(found));
                    let now = look(seen, found.as_ref());
                    if is_free || now.since.elapsed() >= now.wait {
                        self.take(found, started).await;
                    }
                    seen = Some(now);
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

    async fn take(&mut self, found: Option<Lease>, started: Moment) -> Try {
        match found {
            Some(found) => self.replace(self.claim(Some(found)), started).await,
            None => self.create(started).await,
        }
    }

    /// Renews the Lease until that fails for good. Call it after [`Self::acquire`].
    ///
    /// # Cancel safety
    /// The Lease stays held; [`Self::release`] gives it back.
    pub async fn lead(&mut self) {
        loop {
            sleep(RENEW_EVERY).await;
            let since = self.renewed.borrow().map(|last| last.elapsed());
            let left = RENEW_WITHIN.saturating_sub(since.unwrap_or(RENEW_WITHIN));
            // Not even a renewal is sent when it is too late: `timeout` would begin with it.
            let is_held = !left.is_zero() && self.is_renewed_within(left).await;
            if !is_held {
                self.renewed.send_replace(None);
                return;
            }
        }
    }

    async fn is_renewed_within(&mut self, time: Duration) -> bool {
        let renewal = timeout(time, self.renew_or_lose()).await;
        renewal.unwrap_or(false)
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
        self.renewed.send_replace(None);
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
        let started = Moment::now();
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

    async fn create(&mut self, started: Moment) -> Try {
        let post = PostParams::default();
        let new = self.claim(None);
        let end = answer(self.leases.create(&post, &new)).await;
        self.settle(end, started)
    }

    async fn replace(&mut self, lease: Lease, started: Moment) -> Try {
        let end = answer(self.write(&lease)).await;
        self.settle(end, started)
    }

    async fn write(&self, lease: &Lease) -> kube::Result<Lease> {
        let post = PostParams::default();
        self.leases.replace(&self.name, &post, lease).await
    }

    fn settle(&mut self, end: Option<kube::Result<Lease>>, started: Moment) -> Try {
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

/// What is known after one more look.
fn look(before: Option<Seen>, found: Option<&Lease>) -> Seen {
    let version = found.and_then(|found| found.metadata.resource_version.clone());
    match before {
        Some(seen) if seen.version == version => seen,
        _ => Seen {
            version,
            // After the answer, so that it is no earlier than the renewal which it shows.
            since: Instant::now(),
            wait: found.map_or(DURATION, duration),
        },
    }
}

fn holder(lease: &Lease) -> Option<&String> {
    lease.spec.as_ref()?.holder_identity.as_ref()
}

/// How long its holder asked others to wait.
fn duration(lease: &Lease) -> Duration {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds);
    let asked = seconds.map(|s| Duration::from_secs(u64::try_from(s).unwrap_or(0)));
    asked.map_or(DURATION, |asked| asked.min(LONGEST))
}

/// The answer, if it comes in time.
async fn answer<T>(call: impl Future<Output = kube::Result<T>>) -> Option<kube::Result<T>> {
    timeout(ANSWER, call).await.ok()
}

#[cfg(test)]
mod tests;
