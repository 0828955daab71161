//! The activator with real sockets and no cluster: a client, the proxy, and instances that are small servers on the loopback interface,
//! made and deleted by a cluster in miniature. One story a file.
#![allow(clippy::unwrap_used, reason = "tests want to stop")]

mod support;

mod abandonment;
mod access_log;
mod bodies;
mod boots;
mod bundles;
mod clock_table;
mod clocks;
mod connections;
mod descriptors;
mod floods;
mod framing;
mod grpc;
mod handover;
mod heads;
mod interims;
mod limits;
mod losses;
mod overload;
mod refusals;
mod routing;
mod shutdown;
mod slow_bodies;
mod slow_clients;
mod storm;
mod switches;
mod verification;
mod windows;
