//! Drives `opssc::fuzzing::block`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(block);
