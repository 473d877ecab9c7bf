//! Drives `opssc::fuzzing::msp_config`, which says what it looks into.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| opssc::fuzzing::msp_config(input));
