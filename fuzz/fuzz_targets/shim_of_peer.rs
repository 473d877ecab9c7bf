//! Drives `opssc::fuzzing::shim_of_peer`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(shim_of_peer);
