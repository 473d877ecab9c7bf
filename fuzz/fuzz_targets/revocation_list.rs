//! Drives `opssc::fuzzing::revocation_list`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(revocation_list);
