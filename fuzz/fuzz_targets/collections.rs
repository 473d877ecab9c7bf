//! Drives `opssc::fuzzing::collections`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(collections);
