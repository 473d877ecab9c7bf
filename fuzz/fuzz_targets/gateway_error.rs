//! Drives `opssc::fuzzing::gateway_error`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(gateway_error);
