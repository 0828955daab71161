//! Who the client is.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| activator::proxy::fuzzing::forwarded(input));
