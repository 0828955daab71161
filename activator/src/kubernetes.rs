//! The cluster as the activator sees and changes it.
//!
//! It reads Functions, Deployments and Pods from watches, and writes `replicas`, two pod annotations, `lastBoot` and Events.

pub mod orders;
pub mod owner;
pub mod pods;
pub mod reports;
pub mod watch;
