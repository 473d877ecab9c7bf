//! `opssc-agent devnet up`: the embedded network, until SIGINT or SIGTERM. What is kept in its folder is taken up.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::ctl::{self, Ctl};
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
    /// Give an order to a network that runs: stop nodes, start them, let things go wrong
    Ctl(Ctl),
}

/// What network to run.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "they are switches, and each is a flag of its own")]
pub(super) struct Up {
    /// The folder for certificates, MSP folders, connection profiles, and everything that happens: a network that was
    /// stopped, or killed, goes on from there
    #[arg(long)]
    dir: PathBuf,
    /// How many organizations [default: 2, or as many as the folder has]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=50))]
    orgs: Option<u16>,
    /// How many peers each of them has [default: 1, or as many as the folder has]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=8))]
    peers_per_org: Option<u16>,
    /// A channel of all organizations beside the ops channel; may be given several times [default: mychannel]
    #[arg(long, value_name = "NAME")]
    channel: Vec<String>,
    /// Give the orderers a system channel of this name, as before Fabric 3.0: channels are made by updates that are handed
    /// in, not by orderers that join
    #[arg(long, value_name = "NAME")]
    system_channel: Option<String>,
    /// Have at least four orderers, which agree by BFT as those of Fabric 3 can
    #[arg(long, conflicts_with = "system_channel")]
    bft: bool,
    /// The first of the ports; without it, the system chooses them
    #[arg(long, value_name = "PORT")]
    base_port: Option<u16>,
    /// How long a block waits for more transactions, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 500)]
    batch_timeout: u64,
    /// Forget what the folder has, and start anew
    #[arg(long)]
    fresh: bool,
    /// Let only clients in that show a TLS certificate of one of the organizations
    #[arg(long)]
    mtls: bool,
    /// Leave the OpsSC contracts out
    #[arg(long)]
    bare: bool,
}

pub(super) fn run(command: DevnetCommand) -> anyhow::Result<Exit> {
    let up = match command {
        DevnetCommand::Up(up) => up,
        DevnetCommand::Ctl(order) => return ctl::run(order),
    };
    logging::start(LogLevel::Warn, LogFormat::Text);
    let mut builder = Devnet::builder(&up.dir)
        .keep(true)
        .anew(up.fresh)
        .batch_timeout(Duration::from_millis(up.batch_timeout))
        .base_port(up.base_port)
        .mutual_tls(up.mtls)
        .bft(up.bft);
    if let Some(orgs) = up.orgs {
        builder = builder.organizations(orgs);
    }
    if let Some(peers) = up.peers_per_org {
        builder = builder.peers_per_organization(peers);
    }
    let channels = if up.channel.is_empty() { vec!["mychannel".to_owned()] } else { up.channel };
    for channel in channels {
        builder = builder.channel(ChannelName::parse(channel).map_err(|error| UsageError(error.to_string()))?);
    }
    if let Some(name) = up.system_channel {
        builder = builder.system_channel(ChannelName::parse(name).map_err(|error| UsageError(error.to_string()))?);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        let network = builder.start().await.context("the embedded network does not start")?;
        if !up.bare {
            network.deploy_opssc().await.context("the OpsSC contracts cannot be deployed")?;
        }
        if let Err(error) = network.listen_for_orders() {
            output::say(&format!("devnet ctl will not reach it: {error}"));
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
