//! Function → children and status.
//!
//! In reading order:
//! - [`reconcile`]: observe → decide → apply → report, for one Function
//! - [`observe`]: what there is, from caches; [`guarded`]: a Function, even one that cannot be read
//! - [`inquire`]: what no watch brings: [`configs`] (what Secrets and ConfigMaps say) and [`images`] (how large images are)
//! - [`size`]: whether an image is small enough (pure)
//! - [`desired`]: what there should be (pure)
//! - [`attachment`]: what a Function has besides its Deployments
//! - [`platform`]: what holds for all Functions
//! - [`hosts`]: who has which host (pure)
//! - [`apply`]: makes the cluster so
//! - [`report`]: gathers the facts, writes status and Events
//! - [`rollout`]: which revision takes the traffic (pure)
//! - [`status`]: what to tell about it (pure)
//! - [`events`]: what to tell a person (pure)
//! - [`controller`]: what is watched, when a Function is reconciled, retries
//! - [`sweep`]: removes what Functions that are gone left behind
//! - [`memory`]: what the caches cannot know yet
//! - [`waits`]: how long until something that failed is tried again
//! - [`client`]: how the API server is talked to
//! - [`leader`]: one operator at a time
//! - [`run`]: stands by, leads, stops
//! - [`admin`], [`metrics`], [`settings`]: around it

pub mod admin;
pub mod apply;
pub mod attachment;
pub mod client;
pub mod configs;
pub mod controller;
pub mod desired;
pub mod events;
pub mod guarded;
pub mod hosts;
pub mod images;
pub mod inquire;
pub mod leader;
pub mod memory;
pub mod metrics;
pub mod observe;
pub mod platform;
pub mod reconcile;
pub mod report;
pub mod rollout;
pub mod run;
pub mod settings;
pub mod size;
pub mod status;
pub mod sweep;
pub mod waits;

#[cfg(test)]
mod double;
#[cfg(test)]
mod survival;
