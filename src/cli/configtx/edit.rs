//! Commands that change a configuration by a profile.

use std::path::{Path, PathBuf};

use clap::Args;

use super::UpdateOutput;
use crate::cli::output;
use crate::fabric::config::edit::{Operation, OrganizationType, create_channel, profile};
use crate::fabric::config::genesis;
use crate::fabric::config::update::compute;
use crate::fabric::names::ChannelName;

/// What every edit starts from and where it goes.
#[derive(Debug, Args)]
pub(super) struct Edit {
    /// The channel's name
    #[arg(long, alias = "channelID", value_name = "CHANNEL")]
    channel_id: String,
    /// The channel's last configuration block
    #[arg(long, aliases = ["blockPath", "config-block"], value_name = "FILE")]
    block: PathBuf,
    #[command(flatten)]
    output: UpdateOutput,
}

impl Edit {
    fn make(&self, operations: &[Operation]) -> anyhow::Result<()> {
        let original = super::config(&self.block)?;
        let mut updated = original.clone();
        for operation in operations {
            // Files of a profile are looked for from here, as the original does.
            operation.apply(&mut updated, Some(Path::new("")))?;
        }
        let update = compute(&self.channel_id, &original, &updated)?;
        output::warn(Some(&original), &updated);
        self.output.write(&update)
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SetOrg {
    #[command(flatten)]
    edit: Edit,
    /// The profile (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    profile: PathBuf,
    /// Application, Orderer, Consortiums, or several joined by `|`
    #[arg(long, alias = "orgType", value_name = "TYPE", default_value = "Application")]
    org_type: String,
}

impl SetOrg {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let types = OrganizationType::parse_all(&self.org_type)?;
        let profile = profile::parse(&super::read_text(&self.profile)?)?;
        self.edit.make(&[Operation::SetOrg(types, Box::new(profile))])
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RemoveOrg {
    #[command(flatten)]
    edit: Edit,
    /// The name of the organization's group
    #[arg(long, alias = "orgName", value_name = "NAME")]
    org_name: String,
    /// Application, Orderer, Consortiums, or several joined by `|`
    #[arg(long, alias = "orgType", value_name = "TYPE", default_value = "Application")]
    org_type: String,
}

impl RemoveOrg {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let types = OrganizationType::parse_all(&self.org_type)?;
        self.edit.make(&[Operation::RemoveOrg(types, self.org_name.clone())])
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RemoveConsenter {
    #[command(flatten)]
    edit: Edit,
    /// Host and port of the consenter
    #[arg(long, alias = "consenterAddress", value_name = "HOST:PORT")]
    consenter_address: String,
}

impl RemoveConsenter {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        self.edit.make(&[Operation::RemoveConsenter(self.consenter_address.clone())])
    }
}

/// What a profile is of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Consenter,
    Orderer,
    Channel,
    Several,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct WithProfile {
    #[command(flatten)]
    edit: Edit,
    /// The profile (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    profile: PathBuf,
}

impl WithProfile {
    pub(super) fn run(&self, kind: Kind) -> anyhow::Result<()> {
        let text = super::read_text(&self.profile)?;
        let operations = match kind {
            Kind::Consenter => vec![Operation::SetConsenter(profile::parse(&text)?)],
            Kind::Orderer => vec![Operation::SetOrderer(Box::new(profile::parse(&text)?))],
            Kind::Channel => vec![Operation::SetChannel(profile::parse(&text)?)],
            Kind::Several => Operation::parse_all(&text)?,
        };
        self.edit.make(&operations)
    }
}

/// With a system channel the profile has the form of fabric-opssc, without one it is a `configtx.yaml`.
#[derive(Debug, Args)]
pub(in crate::cli) struct CreateChannel {
    /// The channel's name
    #[arg(long, alias = "channelID", value_name = "CHANNEL")]
    channel_id: String,
    /// The profile (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    profile: PathBuf,
    /// There is no system channel: the profile of this name in a configtx.yaml describes the whole channel
    #[arg(long, value_name = "NAME")]
    profile_name: Option<String>,
    /// Also write the first block that follows from the update
    #[arg(long, value_name = "FILE", requires = "profile_name")]
    genesis_block: Option<PathBuf>,
    #[command(flatten)]
    output: UpdateOutput,
}

impl CreateChannel {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let text = super::read_text(&self.profile)?;
        let Some(name) = &self.profile_name else {
            return self.output.write(&create_channel(&self.channel_id, &profile::parse(&text)?)?);
        };
        let channel = ChannelName::parse(self.channel_id.clone())?;
        // Paths are relative to the file, as for configtxgen.
        let folder = self.profile.parent().unwrap_or(Path::new(""));
        let update = genesis::creation(&channel, &genesis::Profile::parse(&text, name)?, folder)?;
        let block = genesis::block_of_creation(&update.encode())?;
        if let Some(path) = &self.genesis_block {
            super::write(path, &prost::Message::encode_to_vec(&block))?;
        }
        self.output.write(&update)
    }
}
