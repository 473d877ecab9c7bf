//! Drives `opssc::fuzzing::policy_bytes`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(policy_bytes);
