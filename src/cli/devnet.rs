//! `opssc-agent devnet up`: the embedded network, until SIGINT or SIGTERM.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::failure::{Exit, UsageError};
use super::logging;
use super::output;
use super::signals::Signals;
use crate::agent::config::{LogFormat, LogLevel};
use crate::devnet::Devnet;
use crate::fabric::names::ChannelName;

/// What to do with an embedded network.
#[derive(Debug, Subcommand)]
pub(super) enum DevnetCommand {
    /// Run a network in this process, for trying and testing
    Up(Up),
}

/// What network to run.
#[derive(Debug, Args)]
pub(super) struct Up {
    /// The folder for certificates, MSP folders and connection profiles
    #[arg(long)]
    dir: PathBuf,
    /// How many organizations
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=50))]
    orgs: u16,
    /// How many peers each of them has
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=20))]
    peers_per_org: u16,
    /// A channel of all organizations beside the ops channel; may be given several times [default: mychannel]
    #[arg(long, value_name = "NAME")]
    channel: Vec<String>,
    /// The first of the ports; without it, the system chooses them
    #[arg(long, value_name = "PORT")]
    base_port: Option<u16>,
    /// How long a block waits for more transactions, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 500)]
    batch_timeout: u64,
    /// Leave the OpsSC contracts out
    #[arg(long)]
    bare: bool,
}

pub(super) fn run(command: DevnetCommand) -> anyhow::Result<Exit> {
    let DevnetCommand::Up(up) = command;
    logging::start(LogLevel::Warn, LogFormat::Text);
    let mut builder = Devnet::builder(&up.dir)
        .organizations(up.orgs)
        .peers_per_organization(up.peers_per_org)
        .batch_timeout(Duration::from_millis(up.batch_timeout))
        .base_port(up.base_port);
    let channels = if up.channel.is_empty() { vec!["mychannel".to_owned()] } else { up.channel };
    for channel in channels {
        builder = builder.channel(ChannelName::parse(channel).map_err(|error| UsageError(error.to_string()))?);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        let network = builder.start().await.context("the embedded network does not start")?;
        if !up.bare {
            network.deploy_opssc().await.context("the OpsSC contracts cannot be deployed")?;
        }
        tell(&network);
        output::say("it runs until you press Ctrl-C");
        signals.next().await;
        network.shutdown().await?;
        Ok(Exit::Done)
    })
}

/// How to connect.
pub(super) fn tell(network: &Devnet) {
    for organization in network.organizations() {
        output::say(&format!(
            "{}\n  export ADMIN_MSPID={} ADMIN_CERT={} \\\n    ADMIN_KEY={} \\\n    CONNECTION_PROFILE={}\n  \
             for Fabric's own commands: . {}",
            organization.name,
            organization.msp_id,
            organization.admin_certificate.display(),
            organization.admin_key.display(),
            organization.connection_profile.display(),
            organization.environment.display(),
        ));
    }
}
