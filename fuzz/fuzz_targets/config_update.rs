//! Drives `opssc::fuzzing::config_update`, which says what it looks into.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| opssc::fuzzing::config_update(input));
