//! The daemon: carries out on one organization's nodes what the organizations have voted for.
//!
//! It listens to the two contracts of the ops channel, acts with the organization's administrator on the
//! organization's own peers, and tells the ledger how it went. Everything that it does may be done again: an event that
//! comes twice or a restart at any point reaches the same end.

pub mod config;
pub mod http;
pub mod low_water;
pub mod progress;
pub mod task;
pub mod text;
