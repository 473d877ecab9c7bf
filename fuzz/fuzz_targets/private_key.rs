//! Drives `opssc::fuzzing::private_key`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(private_key);
