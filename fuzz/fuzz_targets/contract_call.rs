//! Drives `opssc::fuzzing::contract_call`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(contract_call);
