//! Local mode as a person meets it: the program, a manifest, real processes. One story a file.
#![allow(clippy::unwrap_used, reason = "tests want to stop")]

mod support;

mod bundles;
mod failures;
mod freezing;
mod instances;
#[cfg(target_os = "linux")]
mod keepers;
mod manifests;
mod no_process_is_left;
#[cfg(target_os = "linux")]
mod storm;
mod watching;
