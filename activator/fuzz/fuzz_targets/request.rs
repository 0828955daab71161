//! What is forwarded of a request.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| activator::proxy::fuzzing::request(input));
