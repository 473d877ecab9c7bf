//! Drives `opssc::fuzzing::config_block`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(config_block);
