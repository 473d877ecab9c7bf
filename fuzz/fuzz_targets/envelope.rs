//! Drives `opssc::fuzzing::envelope`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(envelope);
