//! Keeps a replica that does not lead, or no longer, from writing.
//!
//! A process that was stopped for a while (SIGSTOP, a paused or migrated machine) goes on where it was, and does not know that another
//! leads by now. So whether it still leads is asked at each write, when it is sent, and not by a task that has to be woken first.
//!
//! # Guarantees
//! A write is sent only within [`RENEW_WITHIN`] after the start of the last renewal, and given up when that time is over. What was sent
//! until then has the rest of [`DURATION`](super::DURATION) to arrive.
//!
//! # Assumptions
//! Between the look at the clock and the system call that sends there are microseconds. For a process that is stopped right there, and for
//! bytes that a broken network delivers minutes later, there is the last line of defence: a status and a deletion name the version of the
//! object that was looked at, other changes its UID, and what comes too late even so is put right by whoever leads, which sees it in its
//! watch.

use std::time::Duration;

use http::{Method, Request};
use kube::{Client, client::Body};
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tower::BoxError;

use super::RENEW_WITHIN;

/// A moment that knows how long ago it was, the time included that the machine slept: the monotonic clock of Linux stands still then.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    at: Instant,
    since_boot: Duration,
}

impl Moment {
    /// This one.
    pub fn now() -> Self {
        Self {
            at: Instant::now(),
            since_boot: since_boot(),
        }
    }

    /// How long ago it was.
    pub fn elapsed(&self) -> Duration {
        let slept = since_boot().saturating_sub(self.since_boot);
        self.at.elapsed().max(slept)
    }
}

fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The Lease is not held, or may be another's by now.
#[derive(Debug, thiserror::Error)]
#[error("the lease has lapsed")]
pub struct Lapsed;

/// Knows whether this replica leads.
#[derive(Clone, Debug)]
pub struct Fence {
    renewed: watch::Receiver<Option<Moment>>,
}

impl Fence {
    pub(super) fn new(renewed: watch::Receiver<Option<Moment>>) -> Self {
        Self { renewed }
    }

    /// `inner`, whose writes fail with [`Lapsed`] unless this replica leads.
    pub fn around(self, inner: Client) -> Client {
        let namespace = inner.default_namespace().to_owned();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (inner, fence) = (inner.clone(), self.clone());
            async move {
                if *request.method() == Method::GET {
                    return Ok(inner.send(request).await?);
                }
                tokio::select! {
                    // Looked at first, each time.
                    biased;
                    () = fence.lapses() => Err(BoxError::from(Lapsed)),
                    answer = inner.send(request) => Ok(answer?),
                }
            }
        });
        Client::new(service, namespace)
    }

    /// Waits until the Lease is not held any more.
    async fn lapses(&self) {
        let mut renewed = self.renewed.clone();
        loop {
            let last = *renewed.borrow_and_update();
            let left = last.map(|last| RENEW_WITHIN.saturating_sub(last.elapsed()));
            let Some(left) = left.filter(|left| !left.is_zero()) else {
                return;
            };
            tokio::select! {
                () = sleep(left) => {}
                renewal = renewed.changed() => if renewal.is_err() {
                    // The candidate is gone, and with it who would renew.
                    return;
                }
            }
        }
    }
}
