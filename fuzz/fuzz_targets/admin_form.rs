//! Drives `opssc::fuzzing::admin_form`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(admin_form);
