//! Drives `opssc::fuzzing::discovery`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(discovery);
