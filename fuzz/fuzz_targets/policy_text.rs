//! Drives `opssc::fuzzing::policy_text`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(policy_text);
