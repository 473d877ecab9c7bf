//! Drives `opssc::fuzzing::opssc_event`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(opssc_event);
