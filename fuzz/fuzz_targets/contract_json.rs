//! Drives `opssc::fuzzing::contract_json`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(contract_json);
