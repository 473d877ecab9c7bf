//! Drives `opssc::fuzzing::lifecycle`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(lifecycle);
