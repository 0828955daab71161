//! The operator as a whole, against an API server in memory and whatever can go wrong with it.
//!
//! - [`stage`]: an operator, its API server and what else lives in a cluster
//! - [`moments`]: what holds at every moment
//! - [`crashes`]: it dies at any write
//! - [`faults`]: the API server fails in any way for a while
//! - [`leaders`]: it is stopped, and another takes over
//! - [`transitions`]: a Function changes a thousand times

mod crashes;
mod faults;
mod leaders;
mod moments;
mod stage;
mod transitions;
