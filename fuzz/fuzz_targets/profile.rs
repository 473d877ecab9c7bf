//! Drives `opssc::fuzzing::profile`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(profile);
