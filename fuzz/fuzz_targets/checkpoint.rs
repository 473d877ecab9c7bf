//! Drives `opssc::fuzzing::checkpoint`, which says what it looks into.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| opssc::fuzzing::checkpoint(input));
