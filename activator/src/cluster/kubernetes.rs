//! The cluster as the activator sees and changes it.
//!
//! It reads Functions, Deployments and Pods from watches, and writes `replicas`, two pod annotations, `lastBoot`, `verified`, Events and a Lease.

mod functions;
pub mod hosts;
pub mod orders;
pub mod owner;
pub mod pods;
pub mod reports;
mod verifications;
pub mod watch;

use std::time::Duration;

/// An answer of the API server takes no longer; behind a dead connection it would never come.
const OVERDUE: Duration = Duration::from_secs(10);

async fn overdue<T>(call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    let late = |late: tokio::time::error::Elapsed| kube::Error::Service(late.into());
    tokio::time::timeout(OVERDUE, call).await.map_err(late)?
}
