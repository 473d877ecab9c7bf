//! Flows over the embedded network. One binary, so that it links once.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the line, and that is enough")]
#![allow(clippy::large_futures, reason = "a test has one of each")]

mod agent;
mod devnet;
mod examples;
mod git;
mod ways;
