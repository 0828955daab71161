//! Proof of framing and routing: tables of requests, byte for byte, after RFC 9110, RFC 9112 and RFC 9113. Each entry says what is sent, what
//! the client hears, and which bytes reach the function.
#![allow(clippy::unwrap_used, reason = "tests want to stop")]

mod rig;
mod table;

mod body;
mod client;
mod fields;
mod h2;
mod hops;
mod host;
mod line;
mod path;
