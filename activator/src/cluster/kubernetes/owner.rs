//! Which replica hands out slots: a Lease.
//!
//! # Guarantees
//! An owner begins only after the previous one released the Lease, or after it was not renewed for [`LAPSES`] by our own monotonic
//! clock. It learns which of the two it was: the instances of an owner that vanished are suspect.
//!
//! # Assumptions
//! An owner that cannot reach the API server stays the owner: nobody else can take over either while the API server is away, and warm
//! traffic must not notice. If it alone is cut off, a new owner leaves its instances alone until their time is over.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::overdue;
use crate::engine::Takeover;

/// Not renewed this long, the Lease is free.
const LAPSES: Duration = Duration::from_secs(15);
/// The owner renews it this often.
const RENEW: Duration = Duration::from_secs(5);
/// A standby looks this often. Short, since requests that reach it wait for the hand-over.
const LOOK: Duration = Duration::from_millis(250);

/// The Lease of the entrypoints.
pub struct Owner {
    api: Api<Lease>,
    identity: String,
}

/// The Lease as we hold it.
pub struct HeldLease(Lease);

impl Owner {
    /// The Lease in the activator's own namespace.
    pub fn new(client: Client, namespace: &str, identity: String) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            identity,
        }
    }

    /// Name of this replica.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Waits until this replica is the owner, or until it leaves. A write that is under way is seen to its end.
    pub async fn acquire(&self, leave: &CancellationToken) -> Option<(HeldLease, Takeover)> {
        let mut last: Option<(Option<String>, Instant)> = None;
        while !leave.is_cancelled() {
            match self.look(&mut last).await {
                Ok(Some(owned)) => return Some(owned),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "cannot take the Lease, trying again"),
            }
            leave.run_until_cancelled(sleep(LOOK)).await;
        }
        None
    }

    async fn look(
        &self,
        last: &mut Option<(Option<String>, Instant)>,
    ) -> kube::Result<Option<(HeldLease, Takeover)>> {
        let Some(lease) = overdue(self.api.get_opt(crds::names::ACTIVATOR)).await? else {
            return Ok(unless_raced(self.create().await)?
                .map(|lease| (HeldLease(lease), Takeover::Lapsed)));
        };
        let version = lease.metadata.resource_version.clone();
        let unchanged_since = match last {
            Some((seen, since)) if *seen == version => *since,
            _ => last.insert((version, Instant::now())).1,
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        // Released, and not just made by the chart: somebody had it and let go.
        let released = holder.is_empty() && spec.renew_time.is_some();
        // Our own name: the container was restarted, and the process that held it is dead.
        if !holder.is_empty() && holder != self.identity && unchanged_since.elapsed() < LAPSES {
            return Ok(None);
        }
        let takeover = if released {
            Takeover::Released
        } else {
            Takeover::Lapsed
        };
        let taken = self.replace(lease, true).await;
        Ok(unless_raced(taken)?.map(|lease| (HeldLease(lease), takeover)))
    }

    /// Renews the Lease until this replica leaves. False if somebody else has it.
    pub async fn keep(&self, held: &mut HeldLease, leave: &CancellationToken) -> bool {
        while leave.run_until_cancelled(sleep(RENEW)).await.is_some() {
            match self.replace(held.0.clone(), false).await {
                Ok(lease) => held.0 = lease,
                Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => match self
                    .reread()
                    .await
                {
                    Ok(lease) if holder(&lease) == self.identity => held.0 = lease,
                    Ok(lease) => {
                        tracing::error!(holder = holder(&lease), "another replica took the Lease");
                        return false;
                    }
                    Err(error) => tracing::warn!(%error, "cannot read the Lease, still the owner"),
                },
                Err(error) => tracing::warn!(%error, "cannot renew the Lease, still the owner"),
            }
        }
        true
    }

    /// The Lease as it is; made anew if somebody deleted it.
    async fn reread(&self) -> kube::Result<Lease> {
        match overdue(self.api.get_opt(crds::names::ACTIVATOR)).await? {
            Some(lease) => Ok(lease),
            None => self.create().await,
        }
    }

    async fn create(&self) -> kube::Result<Lease> {
        let lease = self.mine(Lease::default(), true);
        overdue(self.api.create(&PostParams::default(), &lease)).await
    }

    /// Lets the next owner begin at once.
    pub async fn release(&self, held: HeldLease) {
        let mut lease = held.0;
        for _ in 0..5 {
            let spec = lease.spec.get_or_insert_default();
            spec.holder_identity = None;
            let params = PostParams::default();
            match overdue(self.api.replace(crds::names::ACTIVATOR, &params, &lease)).await {
                Ok(_) => return tracing::info!("released the Lease"),
                Err(error) => tracing::warn!(%error, "cannot release the Lease"),
            }
            sleep(LOOK).await;
            match overdue(self.api.get(crds::names::ACTIVATOR)).await {
                Ok(now) if holder(&now) == self.identity => lease = now,
                Ok(_) => return,
                Err(error) => tracing::warn!(%error, "cannot read the Lease"),
            }
        }
    }

    async fn replace(&self, lease: Lease, is_new: bool) -> kube::Result<Lease> {
        let lease = self.mine(lease, is_new);
        let params = PostParams::default();
        overdue(self.api.replace(crds::names::ACTIVATOR, &params, &lease)).await
    }

    fn mine(&self, lease: Lease, is_new: bool) -> Lease {
        let now = MicroTime(Timestamp::now());
        let before = lease.spec.unwrap_or_default();
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LAPSES.as_secs()).ok(),
            acquire_time: if is_new {
                Some(now.clone())
            } else {
                before.acquire_time
            },
            renew_time: Some(now),
            lease_transitions: Some(before.lease_transitions.unwrap_or(0) + i32::from(is_new)),
            ..LeaseSpec::default()
        };
        let name = Some(crds::names::ACTIVATOR.to_owned());
        Lease {
            metadata: ObjectMeta {
                name,
                ..lease.metadata
            },
            spec: Some(spec),
        }
    }
}

fn holder(lease: &Lease) -> &str {
    lease
        .spec
        .as_ref()
        .and_then(|spec| spec.holder_identity.as_deref())
        .unwrap_or_default()
}

/// Another replica was faster.
fn unless_raced(result: kube::Result<Lease>) -> kube::Result<Option<Lease>> {
    match result {
        Ok(lease) => Ok(Some(lease)),
        Err(kube::Error::Api(error)) if error.code == 409 => Ok(None),
        Err(error) => Err(error),
    }
}
