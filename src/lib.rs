//! Operations agent and client library for Hyperledger Fabric, without external binaries.
//!
//! Organizations that run a Fabric network together vote, on the ledger, for what is to be done to it; one agent in
//! each of them then does its part. That is OpsSC, and this crate is an agent for it, the contracts that hold the votes,
//! a client library that works without any of that, and a small network in one process to try it all on.
//!
//! # Map
//!
//! A module imports modules further up in this list only.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`pb`], [`runtime`] | Fabric's protobuf messages; workers, retries, durable files |
//! | [`fabric`] | what Fabric's data is: identities, policies, transactions, blocks, packages, configuration. Pure: no network, clock or randomness |
//! | [`client`] | talking to nodes: transactions, queries, blocks and events, chaincode lifecycle, joining channels with peers and orderers |
#![cfg_attr(
    any(feature = "git", feature = "typescript"),
    doc = "| [`source`] | chaincode sources: out of git, and from TypeScript to JavaScript |"
)]
#![cfg_attr(
    feature = "shim",
    doc = "| [`chaincode`] | chaincode in Rust, and the server through which real peers run it |"
)]
//! | [`opssc`] | events and calls of the two OpsSC contracts, and the contracts themselves |
#![cfg_attr(feature = "agent", doc = "| [`agent`] | the daemon |")]
#![cfg_attr(feature = "devnet", doc = "| [`devnet`] | the embedded network, for trying and testing |")]
#![cfg_attr(feature = "cli", doc = "| [`cli`] | the program `opssc-agent` |")]
//!
//! # Features
//!
//! Without any, this is the client library. `shim` adds chaincode in Rust, `opssc-contracts` the OpsSC contracts, `agent`
//! the daemon, `devnet` the embedded network, `cli` (the default) the program with everything in it.
//!
//! # Example
//!
//! ```no_run
//! use std::{path::Path, sync::Arc};
//!
//! use opssc::client::{Client, Endorsers, profile::ConnectionProfile};
//! use opssc::fabric::{identity::SigningIdentity, names::{ChannelName, MspId}, tx::Invocation};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let user = SigningIdentity::load_msp(MspId::parse("Org1MSP")?, Path::new("user/msp"))?;
//! let profile = ConnectionProfile::load(Path::new("connection-org1.yaml"))?;
//! let client = Client::builder(Arc::new(user), profile).build()?;
//!
//! let channel = client.channel(ChannelName::parse("mychannel")?);
//! let transfer = Invocation::new("asset", "TransferAsset").arg("asset1").arg("Tomoko");
//! let committed = channel.submit(&transfer, Endorsers::AllOrgs).await?;
//! println!("transaction {} is in block {}", committed.tx_id, committed.block);
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "shim")]
pub mod chaincode;
#[cfg(feature = "cli")]
pub mod cli;
pub mod client;
#[cfg(feature = "devnet")]
pub mod devnet;
pub mod fabric;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod opssc;
pub mod pb;
pub mod runtime;
#[cfg(any(feature = "git", feature = "typescript"))]
pub mod source;
