//! Drives `opssc::fuzzing::filtered_block`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(filtered_block);
