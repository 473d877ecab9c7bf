//! Drives `opssc::fuzzing::certificate`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(certificate);
