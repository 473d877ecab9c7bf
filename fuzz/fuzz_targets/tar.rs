//! Drives `opssc::fuzzing::tar`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(tar);
