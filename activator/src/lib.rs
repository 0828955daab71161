//! The data plane.
pub mod engine;
