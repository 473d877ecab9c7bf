//! Flows over the embedded network. One binary, so that it links once.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the line, and that is enough")]

mod agent;
mod devnet;
