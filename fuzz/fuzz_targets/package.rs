//! Drives `opssc::fuzzing::package`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(package);
