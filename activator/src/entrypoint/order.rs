//! What an entrypoint wants of the cluster.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::Entrypoint;
use crate::engine::{BootReport, InstanceId, Marking};

/// Which marking of which instance.
pub type Mark = (InstanceId, Marking);

/// What an entrypoint wants written in the cluster.
#[derive(Debug)]
pub enum Order {
    /// Write [`Entrypoint::replicas`]; answer with [`Entrypoint::scaled`].
    Scale,
    /// Write the deletion costs of these pods, each lower than the one before; answer with [`Entrypoint::marked`].
    Mark(Vec<(Mark, String)>),
    /// This pod is no longer held.
    Release(String),
    /// A boot ended.
    Report(BootReport),
}

/// Orders of all entrypoints. Bounded by the engines: each has one write of `replicas` under way, and one mark an instance.
pub type Orders = mpsc::UnboundedSender<(Arc<Entrypoint>, Order)>;
