//! `opssc-agent contract serve …`: contracts as a service for real peers.

use std::ffi::OsString;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};

use super::failure::{Exit, UsageError};
use super::logging;
use super::output;
use super::signals::Signals;
use crate::agent::config::Settings;
use crate::chaincode::Contract;
use crate::chaincode::asset::AssetContract;
use crate::chaincode::shim::{Config, Server};
use crate::fabric::names::ChaincodeName;
use crate::opssc::contracts::{ChaincodeOps, ChannelOps, Mode};
use crate::runtime::Workers;

/// What to do with a contract.
#[derive(Debug, Subcommand)]
pub(super) enum ContractCommand {
    /// Serve a contract to the peers that have its package of type ccaas
    Serve(Serve),
}

/// Settings are environment variables: `CHAINCODE_SERVER_ADDRESS` (IP address and port) and `CHAINCODE_ID` (the package
/// ID); for TLS `CHAINCODE_TLS_DISABLED=false`, `CHAINCODE_TLS_KEY`, `CHAINCODE_TLS_CERT`, `CHAINCODE_CLIENT_CA_CERT`;
/// `OPSSC_CONTRACT=original` beside organizations that run the original contracts; `CH_OPS_CC_NAME` where channel-ops is
/// deployed under another name.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// The contract
    contract: Served,
}

/// The contracts that are built in.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Served {
    /// The OpsSC contract of channels and channel proposals
    ChannelOps,
    /// The OpsSC contract of chaincode proposals
    ChaincodeOps,
    /// A small sample: assets with an owner and a value
    Asset,
}

impl Served {
    fn contract(self, mode: Mode, channel_ops: ChaincodeName) -> Arc<dyn Contract> {
        match self {
            Self::ChannelOps => Arc::new(ChannelOps::new(mode)),
            Self::ChaincodeOps => Arc::new(ChaincodeOps::new(channel_ops)),
            Self::Asset => Arc::new(AssetContract),
        }
    }
}

pub(super) fn run(command: &ContractCommand, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let ContractCommand::Serve(serve) = command;
    let needed = ["LOG_LEVEL", "LOG_FORMAT", "CH_OPS_CC_NAME"];
    let settings = Settings::from_lookup(|name| needed.contains(&name).then(|| environment(name)).flatten())?;
    logging::start(settings.log_level, settings.log_format);
    let text = |name: &str| environment(name).and_then(|value| value.into_string().ok());
    let config = Config::load(text).map_err(|error| UsageError(error.to_string()))?;
    let mode = text("OPSSC_CONTRACT").filter(|mode| !mode.is_empty()).map(|mode| Mode::parse(&mode)).transpose();
    let mode = mode.map_err(|error| UsageError(format!("OPSSC_CONTRACT: {error}")))?.unwrap_or_default();
    let contract = serve.contract.contract(mode, settings.channel_ops);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        let server = Server::bind(config, contract).await?;
        let mut signals = Signals::new()?;
        let workers = Workers::new();
        let token = workers.token();
        let address = server.local_address();
        output::put(&address.to_string())?;
        let serving = server.run(&workers);
        tokio::pin!(serving);
        tokio::select! {
            result = &mut serving => result?,
            name = signals.next() => {
                tracing::info!(signal = name, "told to stop");
                token.cancel();
                serving.await?;
            }
        }
        workers.finished().await?;
        Ok(Exit::Done)
    })
}
