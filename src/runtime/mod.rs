//! What runs: workers under one cancellation tree, retry schedules, durable replacement of files.
//!
//! The only room that spawns tasks and replaces files, so that everything that runs can be stopped and everything that
//! is written survives a crash.
