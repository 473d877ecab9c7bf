//! Drives `opssc::fuzzing::msp_config`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(msp_config);
