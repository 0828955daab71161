//! What the stories in `tests/` and the benchmarks stand on.
//!
//! In reading order:
//! - [`mod@story`]: one story in its own namespace, and what is printed when it goes wrong
//! - [`namespace`]: applying manifests, calling functions and reading objects there
//! - [`ingress`]: HTTP requests to the ingress controller
//! - [`load`]: requests that go on while something else happens
//! - [`wait`]: waiting for something with a deadline
//! - [`drift`]: objects that somebody else changes or deletes
//! - [`chronicle`]: everything that pods of a namespace went through
//! - [`platform`]: Thaw itself: its pods, metrics and Helm release
//! - [`audit`]: what its components asked the API server for
//! - [`registry`]: a registry on this machine, and images to push into it
//! - [`program`]: running `kubectl`, `helm` and others
//!
//! and, without a cluster:
//! - [`simulation`]: the engine beside Knative's autoscaler, on the same arrivals
//!
//! and, with and without:
//! - [`mod@bench`]: what Thaw costs beside the floor and beside other proxies

pub mod audit;
pub mod bench;
pub mod chronicle;
pub mod drift;
pub mod ingress;
pub mod load;
pub mod namespace;
pub mod platform;
pub mod program;
pub mod registry;
pub mod simulation;
pub mod story;
pub mod wait;

pub use chronicle::Chronicle;
pub use ingress::Answer;
pub use namespace::Namespace;
pub use story::story;
pub use wait::until;
