//! Drives `opssc::fuzzing::names`, which says what it looks into.
#![no_main]

opssc_fuzz::target!(names);
