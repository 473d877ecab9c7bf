//! Drives `opssc::fuzzing::pem`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(pem);
