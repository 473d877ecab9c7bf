//! Drives `opssc::fuzzing::endorsement_plan`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(endorsement_plan);
