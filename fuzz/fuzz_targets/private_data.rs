//! Drives `opssc::fuzzing::private_data`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(private_data);
