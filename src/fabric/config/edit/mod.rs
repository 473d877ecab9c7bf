//! Edits of a configuration as data: what people mean to change, in the words of their profiles.
//!
//! An edit works on the tree and is followed by [`compute`](super::update::compute), which says so when nothing has
//! changed. Everything that an edit does not name keeps its bytes. Several edits make one update.
//!
//! Does not submit and does not sign; reads files only below the folder that it is given.
//!
//! Source: fabric-opssc's configtx CLI over fabric-config 0.3.0; Fabric 3.1.5 `orderer/consensus/smartbft` for what BFT
//! adds.

pub(crate) mod build;
mod channel;
mod consenter;
mod create;
mod orderer;
mod organization;
pub mod profile;
mod raft;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use consenter::check_consenters;
#[cfg(feature = "devnet")]
pub(crate) use consenter::{check_bft, check_raft};
pub(crate) use consenter::{quorum as bft_quorum, set_block_validation};
pub use create::create_channel;
pub(crate) use orderer::{duration, size};
pub use organization::OrganizationType;
pub(crate) use organization::{put_anchor_peers, put_endpoints};
use profile::{
    AnchorPeer, ChannelProfile, CommandProfile, ConsenterProfile, OrdererProfile, OrganizationProfile, parse,
};
pub(crate) use raft::check_raft_metadata;

use super::tree::{Config, ConfigGroup, TreeError};
use crate::fabric::identity::MspError;
use crate::fabric::policy::PolicyError;

/// Why an edit cannot be made.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The profile says something that cannot be.
    #[error("profile cannot be used: {reason}")]
    Profile {
        /// What is wrong with it.
        reason: String,
    },
    /// A policy of the profile.
    #[error("policy {name} of the profile cannot be used")]
    Policy {
        /// Its name.
        name: String,
        /// Why not.
        source: PolicyError,
    },
    /// A certificate or revocation list of the profile.
    #[error("{what} cannot be used: {reason}")]
    Certificate {
        /// Which one.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An MSP folder.
    #[error(transparent)]
    Msp(#[from] MspError),
    /// A file that the profile names.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: Arc<std::io::Error>,
    },
    /// What is to be changed or removed is not there.
    #[error("{what} is not in the configuration")]
    Absent {
        /// What.
        what: String,
    },
    /// The configuration is of a kind for which there is no such edit.
    #[error("configuration cannot be changed this way: {reason}")]
    Unsuitable {
        /// Why not.
        reason: String,
    },
    /// A value of the configuration cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl EditError {
    pub(crate) fn profile(reason: impl Into<String>) -> Self {
        Self::Profile { reason: reason.into() }
    }

    fn absent(what: impl Into<String>) -> Self {
        Self::Absent { what: what.into() }
    }
}

/// A part of a configuration that has capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The channel as a whole.
    Channel,
    /// The orderers.
    Orderer,
    /// The peers.
    Application,
}

/// One edit.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// Adds an organization, or replaces it.
    SetOrg(Vec<OrganizationType>, Box<OrganizationProfile>),
    /// Removes an organization by the name of its group.
    RemoveOrg(Vec<OrganizationType>, String),
    /// Adds a consenter, or replaces the one at the same address.
    SetConsenter(ConsenterProfile),
    /// Removes the consenter at an address.
    RemoveConsenter(String),
    /// Changes the orderers' settings.
    SetOrderer(Box<OrdererProfile>),
    /// Changes policies and ACLs.
    SetChannel(ChannelProfile),
    /// Sets what all nodes of a part must be able to do.
    SetCapabilities(Part, Vec<String>),
    /// Sets the anchor peers of an organization; none removes them.
    SetAnchorPeers(String, Vec<AnchorPeer>),
    /// Sets the policies of resources; none leaves an empty list.
    SetAcls(BTreeMap<String, String>),
    /// Sets the orderers of an organization.
    SetOrdererEndpoints(String, Vec<String>),
    /// Sets the revocation lists of an organization, wherever it is a member.
    SetRevocationList(String, Vec<String>),
}

impl Operation {
    /// Reads a list of commands with their parameters, as `execute-multiple-ops` takes it.
    ///
    /// # Errors
    /// [`EditError::Profile`] when it is none, or names a command that there is not.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, EditError> {
        let commands: Option<Vec<CommandProfile>> = parse(text)?;
        commands.unwrap_or_default().into_iter().map(Self::of_command).collect()
    }

    fn of_command(profile: CommandProfile) -> Result<Self, EditError> {
        let CommandProfile { command, parameters } = profile;
        let missing = |what: &str| EditError::profile(format!("command {command} has no parameter {what}"));
        let named = |text: String, what: &str| if text.is_empty() { Err(missing(what)) } else { Ok(text) };
        let types = || OrganizationType::parse_all(&parameters.org_type);
        Ok(match command.as_str() {
            "set-org" => Self::SetOrg(types()?, Box::new(parameters.org.clone().ok_or_else(|| missing("Org"))?)),
            "remove-org" => Self::RemoveOrg(types()?, named(parameters.org_name.clone(), "OrgName")?),
            "set-consenter" => Self::SetConsenter(parameters.consenter.ok_or_else(|| missing("Consenter"))?),
            "remove-consenter" => Self::RemoveConsenter(named(parameters.consenter_address, "ConsenterAddress")?),
            "set-orderer" => Self::SetOrderer(Box::new(parameters.orderer.ok_or_else(|| missing("Orderer"))?)),
            "set-channel" => Self::SetChannel(parameters.channel.ok_or_else(|| missing("Channel"))?),
            "set-capabilities" => {
                let part = match parameters.group.as_str() {
                    "Channel" => Part::Channel,
                    "Orderer" => Part::Orderer,
                    "Application" => Part::Application,
                    _ => return Err(missing("Group (Channel, Orderer or Application)")),
                };
                Self::SetCapabilities(part, parameters.capabilities.ok_or_else(|| missing("Capabilities"))?)
            }
            // What would be left empty without it must be said: a slip in its name would do harm.
            "set-anchor-peers" => {
                let peers = parameters.anchor_peers.ok_or_else(|| missing("AnchorPeers"))?;
                Self::SetAnchorPeers(named(parameters.org_name, "OrgName")?, peers)
            }
            "set-acls" => Self::SetAcls(parameters.acls.ok_or_else(|| missing("ACLs"))?),
            "set-orderer-endpoints" => {
                let endpoints = parameters.orderer_endpoints.ok_or_else(|| missing("OrdererEndpoints"))?;
                Self::SetOrdererEndpoints(named(parameters.org_name, "OrgName")?, endpoints)
            }
            "set-revocation-list" => {
                let list = parameters.revocation_list.ok_or_else(|| missing("RevocationList"))?;
                Self::SetRevocationList(named(parameters.org_name, "OrgName")?, list)
            }
            other => return Err(EditError::profile(format!("command is not found: {other}"))),
        })
    }

    /// Makes the edit. Files that it names are looked for below `files`; without, it may name none. After an error the
    /// configuration may be half edited.
    ///
    /// # Errors
    /// [`EditError`] when the profile cannot be used or does not fit the configuration.
    pub fn apply(&self, config: &mut Config, files: Option<&Path>) -> Result<(), EditError> {
        let root = config.channel_group.as_mut().ok_or_else(|| EditError::absent("the channel group"))?;
        match self {
            Self::SetOrg(types, profile) => organization::set(root, types, profile, files),
            Self::RemoveOrg(types, name) => organization::remove(root, types, name),
            Self::SetConsenter(profile) => consenter::set(orderer_group(root)?, profile, files),
            Self::RemoveConsenter(address) => consenter::remove(orderer_group(root)?, address),
            Self::SetOrderer(profile) => orderer::set(orderer_group(root)?, profile),
            Self::SetChannel(profile) => channel::set(root, profile),
            Self::SetCapabilities(part, names) => channel::set_capabilities(root, *part, names),
            Self::SetAnchorPeers(name, peers) => organization::set_anchor_peers(root, name, peers),
            Self::SetAcls(acls) => channel::set_acls(child(root, "Application")?, acls),
            Self::SetOrdererEndpoints(name, endpoints) => organization::set_endpoints(root, name, endpoints),
            Self::SetRevocationList(name, lists) => organization::set_revocation_list(root, name, lists, files),
        }
    }
}

fn child<'a>(group: &'a mut ConfigGroup, name: &str) -> Result<&'a mut ConfigGroup, EditError> {
    group.groups.get_mut(name).ok_or_else(|| EditError::absent(format!("the group {name}")))
}

fn orderer_group(root: &mut ConfigGroup) -> Result<&mut ConfigGroup, EditError> {
    child(root, "Orderer")
}
