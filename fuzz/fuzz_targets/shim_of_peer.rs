//! Drives `opssc::fuzzing::shim_of_peer`, which says what it looks into.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| opssc::fuzzing::shim_of_peer(input));
