//! Drives `opssc::fuzzing::transaction`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(transaction);
