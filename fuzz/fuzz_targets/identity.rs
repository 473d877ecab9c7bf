//! Drives `opssc::fuzzing::identity`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(identity);
