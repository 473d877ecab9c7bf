//! `opssc-agent devnet ctl`: orders to an embedded network that runs elsewhere.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::failure::{Exit, UsageError};
use super::output;
use crate::devnet::{Order, control};

/// An order to a running network.
#[derive(Debug, Args)]
pub(super) struct Ctl {
    /// The folder of the network
    #[arg(long)]
    dir: PathBuf,
    #[command(subcommand)]
    order: Command,
}

/// Nodes are named as peer0.org1 or orderer0.org2; `all` are all of them
#[derive(Debug, Subcommand)]
enum Command {
    /// Show the nodes, and which of them run
    Nodes,
    /// Stop a node as if it had been killed; it keeps what it knows
    Stop { node: String },
    /// Start a stopped node again
    Start { node: String },
    /// Delay every call to a node by so many milliseconds; 0 ends it
    Delay { node: String, ms: u64 },
    /// Let a node answer nothing, or (off) answer again
    Hang {
        node: String,
        #[arg(default_value = "on", value_parser = ["on", "off"])]
        state: String,
    },
    /// Break streams of a node in the middle of its next messages
    Cut {
        node: String,
        #[arg(default_value_t = 1)]
        count: u32,
    },
    /// Let the next calls to a node fail
    Fail {
        node: String,
        #[arg(default_value_t = 1)]
        count: u32,
        /// The status code of gRPC, by name or number
        #[arg(default_value = "unavailable")]
        code: String,
    },
    /// Let the next messages of a node be rubbish
    Garbage {
        node: String,
        #[arg(default_value_t = 1)]
        count: u32,
    },
    /// Let the next endorsements of a peer differ from those of others
    Diverge {
        node: String,
        #[arg(default_value_t = 1)]
        count: u32,
    },
    /// Let a peer take, or an orderer make, every block so many milliseconds late; 0 ends it
    SlowBlocks { node: String, ms: u64 },
    /// Let a node's clock be wrong by so many milliseconds
    Clock {
        node: String,
        #[arg(allow_negative_numbers = true)]
        offset_ms: i64,
    },
    /// Let nothing be wrong with a node any more
    Clear { node: String },
}

/// The status codes of gRPC by their numbers.
const CODES: [&str; 17] = [
    "ok",
    "cancelled",
    "unknown",
    "invalid-argument",
    "deadline-exceeded",
    "not-found",
    "already-exists",
    "permission-denied",
    "resource-exhausted",
    "failed-precondition",
    "aborted",
    "out-of-range",
    "unimplemented",
    "internal",
    "unavailable",
    "data-loss",
    "unauthenticated",
];

fn code(text: &str) -> Result<i32, UsageError> {
    let name = text.to_ascii_lowercase().replace('_', "-");
    let number = CODES.iter().position(|known| *known == name).or_else(|| name.parse().ok());
    number
        .filter(|number| (1..CODES.len()).contains(number))
        .and_then(|number| i32::try_from(number).ok())
        .ok_or_else(|| UsageError(format!("{text} is no status code of a failure; they are {}", CODES[1..].join(", "))))
}

impl Command {
    fn order(self) -> Result<Order, UsageError> {
        Ok(match self {
            Self::Nodes => Order::Nodes,
            Self::Stop { node } => Order::Stop { node },
            Self::Start { node } => Order::Start { node },
            Self::Delay { node, ms } => Order::Delay { node, ms },
            Self::Hang { node, state } => Order::Hang { node, on: state == "on" },
            Self::Cut { node, count } => Order::Cut { node, count },
            Self::Fail { node, count, code: name } => Order::Fail { node, count, code: code(&name)? },
            Self::Garbage { node, count } => Order::Garbage { node, count },
            Self::Diverge { node, count } => Order::Diverge { node, count },
            Self::SlowBlocks { node, ms } => Order::SlowBlocks { node, ms },
            Self::Clock { node, offset_ms } => Order::Clock { node, offset_ms },
            Self::Clear { node } => Order::Clear { node },
        })
    }
}

pub(super) fn run(ctl: Ctl) -> anyhow::Result<Exit> {
    let order = ctl.order.order()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    for node in runtime.block_on(control(&ctl.dir, &order))? {
        let state = if node.up { "up" } else { "down" };
        output::put(&format!("{}\t{}\t{state}", node.name, node.address))?;
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_names_and_numbers() {
        for (text, expected) in [
            ("unavailable", Some(14)),
            ("RESOURCE_EXHAUSTED", Some(8)),
            ("4", Some(4)),
            ("0", None),
            ("17", None),
            ("x", None),
        ] {
            assert_eq!(code(text).ok(), expected, "for {text}");
        }
    }
}
