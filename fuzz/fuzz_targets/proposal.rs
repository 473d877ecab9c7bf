//! Drives `opssc::fuzzing::proposal`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(proposal);
