//! Drives `opssc::fuzzing::policy_of_opssc`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(policy_of_opssc);
