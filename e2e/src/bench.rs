//! What Thaw costs: beside bare pods on a cluster, beside other proxies on the loopback interface.
//!
//! In reading order:
//! - [`cold`]: from zero, on a cluster
//! - [`proxy`]: requests per CPU-second and added latency beside other proxies
//! - [`open_loop`]: latencies at a rate that does not wait for answers
//! - [`routes`]: many routes, and routes that change
//! - [`abuse`]: a good client beside bad ones
//! - [`scale`]: thousands of Functions, on a cluster
//!
//! and what these stand on: [`thaw`] and [`rivals`] (the proxies), [`wrk`] (load from a second process), [`clients`] (load at given times),
//! [`process`] (programs that run for the length of a benchmark), [`statistics`].

#![allow(clippy::print_stdout, reason = "a benchmark prints")]

pub mod abuse;
pub mod clients;
pub mod cold;
pub mod open_loop;
pub mod process;
pub mod proxy;
pub mod rivals;
pub mod routes;
pub mod scale;
pub mod statistics;
pub mod thaw;
pub mod wrk;
