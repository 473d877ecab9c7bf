//! Drives `opssc::fuzzing::filtered_block`, which says what it looks into.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| opssc::fuzzing::filtered_block(input));
