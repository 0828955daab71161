//! What an entrypoint wants of the cluster.

use std::sync::{Arc, Weak};

use tokio::{sync::mpsc, time::Instant};

use super::Entrypoint;
use crate::{
    engine::{BootReport, InstanceId, Marking},
    instance::Instance,
};

/// Which marking of which instance.
pub type Mark = (InstanceId, Marking);

/// What an entrypoint wants done; [`crate::cluster::Cluster`] says how each ends. Instances go by their names in the cluster.
#[derive(Debug)]
pub enum Order {
    /// Keep [`Entrypoint::replicas`] instances.
    Scale,
    /// Make these the first to go, each before those listed before it.
    Mark(Vec<(Mark, String)>),
    /// Connect as soon as the instance accepts.
    Dial(InstanceId, Weak<Instance>),
    /// Stop the instance from running.
    Freeze(InstanceId, String),
    /// Let it run again.
    Thaw(InstanceId, String),
    /// This instance is no longer held.
    Release(String),
    /// A boot ended.
    Report(BootReport),
    /// Call [`Entrypoint::permit`] with this.
    Permit(u32),
    /// Call [`Entrypoint::tick`] then.
    Wake(Instant),
}

/// Orders of all entrypoints. Bounded by the engines: each has one write of `replicas` under way, and one of the others an instance.
pub type Orders = mpsc::UnboundedSender<(Arc<Entrypoint>, Order)>;
