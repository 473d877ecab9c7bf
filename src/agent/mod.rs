//! The daemon: carries out on one organization's nodes what the organizations have voted for.
//!
//! It listens to the two contracts of the ops channel, acts with the organization's administrator on the
//! organization's own peers, and tells the ledger how it went. Everything that it does may be done again: an event that
//! comes twice or a restart at any point reaches the same end.
//!
#![doc = include_str!("faults.md")]

mod account;
pub mod allow;
pub mod bootstrap;
mod build;
mod chaincode_ops;
mod channel_ops;
mod channel_plan;
pub mod check;
pub mod collector;
mod comparison;
pub mod config;
mod creation;
mod daemon;
mod duties;
mod handlers;
pub mod holds;
pub mod http;
mod images;
pub mod journal;
pub mod leadership;
mod listen;
pub mod metrics;
mod notifier;
mod pair;
mod plan;
pub mod progress;
mod reconcile;
mod renewal;
mod schedule;
mod sources;
mod standing;
pub mod survey;
pub mod task;
pub mod text;
mod trouble;
mod turn;
mod watchers;

pub use account::{Hook, Moment};
pub use channel_plan::channel_signatures;
pub use daemon::{Agent, AgentError, Bells, connect, foresee};
pub use plan::{collections, endorsement_policy};
