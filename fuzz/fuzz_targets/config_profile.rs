//! Drives `opssc::fuzzing::config_profile`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(config_profile);
