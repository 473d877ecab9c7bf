//! Drives `opssc::fuzzing::signature`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(signature);
