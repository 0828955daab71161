//! Overload as the program meets it: thousands of requests that wait, clients that give up, a neighbour that takes all it can. One story a
//! file. Apart from the stories of local mode, since these need the machine for themselves.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests want to stop")]

#[allow(dead_code, reason = "the stories of local mode use all of it")]
#[path = "../local/support.rs"]
mod support;

#[allow(dead_code, reason = "the storm of local mode uses all of it")]
#[path = "../local/storm/journals.rs"]
mod journals;

mod held;
mod load;
