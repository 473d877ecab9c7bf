//! Drives `opssc::fuzzing::config_update`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(config_update);
