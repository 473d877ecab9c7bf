//! Drives `opssc::fuzzing::go_source`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(go_source);
