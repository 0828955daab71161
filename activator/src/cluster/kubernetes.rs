//! The cluster as the activator sees and changes it.
//!
//! It reads Functions, Deployments and Pods from watches, and writes `replicas`, two pod annotations, `lastBoot`, `verified`, Events and a Lease.

mod deployments;
mod functions;
pub mod hosts;
pub mod orders;
pub mod owner;
pub mod pods;
pub mod reports;
mod verifications;
pub mod watch;

use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource};

/// An answer of the API server takes no longer; behind a dead connection it would never come.
const OVERDUE: Duration = Duration::from_secs(10);

async fn overdue<T>(call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    let late = |late: tokio::time::error::Elapsed| kube::Error::Service(late.into());
    tokio::time::timeout(OVERDUE, call).await.map_err(late)?
}

/// The objects that may be looked at: those of the cluster, or of each of these namespaces.
fn apis<K>(client: &Client, namespaces: &[String]) -> Vec<Api<K>>
where
    K: Resource<Scope = NamespaceResourceScope>,
    K::DynamicType: Default,
{
    if namespaces.is_empty() {
        return vec![Api::all(client.clone())];
    }
    let namespaces = namespaces.iter();
    namespaces
        .map(|namespace| Api::namespaced(client.clone(), namespace))
        .collect()
}
