//! Drives `opssc::fuzzing::system_call`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(system_call);
