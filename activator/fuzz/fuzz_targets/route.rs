//! Hosts and paths.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| activator::proxy::fuzzing::route(input));
