//! Drives `opssc::fuzzing::checkpoint`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(checkpoint);
