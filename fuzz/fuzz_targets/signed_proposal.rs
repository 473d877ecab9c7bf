//! Drives `opssc::fuzzing::signed_proposal`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(signed_proposal);
