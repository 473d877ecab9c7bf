//! Drives `opssc::fuzzing::config_tree`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(config_tree);
