//! The data plane: from a request to an instance and back.
//!
//! In reading order:
//! - [`proxy`]: one request
//! - [`routes`]: which entrypoint answers it
//! - [`entrypoint`]: the shell around one engine
//! - [`engine`]: admission and scaling, pure
//! - [`budget`]: what all entrypoints together may have, pure
//! - [`held`]: what requests that wait may hold, pure
//! - [`instance`]: connections to one instance
//! - [`entrypoints`]: all of them, and whether this replica owns them
//! - [`verification`]: whether a new revision answers, before it takes the traffic
//! - [`cluster`]: where instances live, and who carries out what entrypoints want
//! - [`server`] accepts connections
//! - `alarm`: a timer that is used again and again
//! - [`metrics`]: what Prometheus scrapes
//! - [`settings`] and [`run`]: start and stop
//! - [`local`]: start and stop without a cluster

mod alarm;
pub mod budget;
pub mod cluster;
pub mod engine;
pub mod entrypoint;
pub mod entrypoints;
pub mod held;
pub mod instance;
pub mod local;
pub mod metrics;
pub mod proxy;
pub mod routes;
pub mod run;
pub mod server;
pub mod settings;
mod sync;
pub mod verification;
