//! Drives `opssc::fuzzing::shim_of_chaincode`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(shim_of_chaincode);
