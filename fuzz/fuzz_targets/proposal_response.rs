//! Drives `opssc::fuzzing::proposal_response`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(proposal_response);
