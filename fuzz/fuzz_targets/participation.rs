//! Drives `opssc::fuzzing::participation`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(participation);
