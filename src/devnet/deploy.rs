//! Chaincodes brought onto the network the way its members would: installed, approved by all, committed.
//!
//! A module of its own because it stands outside of the network: it goes through the client and the wire, and takes no
//! short cut that a real network does not have.

use std::sync::Arc;

use futures_util::future::try_join_all;

use super::network::{Devnet, Organization};
use crate::client::lifecycle::LifecycleError;
use crate::client::profile::{ConnectionProfile, ProfileError};
use crate::client::{Client, ClientError};
use crate::fabric::identity::{IdentityError, SigningIdentity};
use crate::fabric::lifecycle::ChaincodeDefinition;
use crate::fabric::names::{ChaincodeName, ChannelName, Label, MspId, NameError};
use crate::fabric::package::{Package, PackageError};
use crate::opssc::calls::{ChannelOps, OpsError};
use crate::opssc::channel_ops::ChannelType;
use crate::opssc::contracts::{self, Mode};

/// Why a chaincode did not get onto the network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeployError {
    /// An organization's connection profile cannot be used.
    #[error("connection profile of {organization} cannot be used")]
    Profile {
        /// Whose.
        organization: MspId,
        /// Why not.
        source: Box<ProfileError>,
    },
    /// An organization's identity cannot be used.
    #[error("identity of {organization} cannot be used")]
    Identity {
        /// Whose.
        organization: MspId,
        /// Why not.
        source: Box<IdentityError>,
    },
    /// No client can be made of an organization's profile.
    #[error("no client of {organization} can be made")]
    Client {
        /// Whose.
        organization: MspId,
        /// Why not.
        source: Box<ClientError>,
    },
    /// A package cannot be made.
    #[error("package of {chaincode} cannot be made")]
    Package {
        /// Of which chaincode.
        chaincode: ChaincodeName,
        /// Why not.
        source: Box<PackageError>,
    },
    /// A name that follows from another one breaks a rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A step of the lifecycle failed.
    #[error("{organization} could not {step} chaincode {chaincode}")]
    Lifecycle {
        /// Who.
        organization: MspId,
        /// What: `install`, `approve` or `commit`.
        step: &'static str,
        /// Of which chaincode.
        chaincode: ChaincodeName,
        /// Why not.
        source: Box<LifecycleError>,
    },
    /// A channel could not be made known to the operations contract.
    #[error("channel {channel} could not be registered")]
    Register {
        /// Which channel.
        channel: ChannelName,
        /// Why not.
        source: Box<OpsError>,
    },
    /// The network has no organization of that name.
    #[error("no organization is called {0}")]
    NoOrganization(MspId),
}

/// What a label needs beside a chaincode's name.
fn label(definition: &ChaincodeDefinition) -> Result<Label, NameError> {
    Label::parse(format!("{}_{}", definition.name, definition.sequence))
}

impl Devnet {
    /// A client of `organization`'s administrator.
    ///
    /// # Errors
    /// [`DeployError`] when the files of the organization are not what was written.
    pub fn admin(&self, organization: &MspId) -> Result<Client, DeployError> {
        let organization = self.organization(organization)?;
        client(organization, &organization.admin_msp)
    }

    /// A client of an ordinary user of `organization`.
    ///
    /// # Errors
    /// As [`admin`](Self::admin).
    pub fn user(&self, organization: &MspId) -> Result<Client, DeployError> {
        let organization = self.organization(organization)?;
        client(organization, &organization.user_msp)
    }

    fn organization(&self, msp_id: &MspId) -> Result<&Organization, DeployError> {
        self.organizations()
            .iter()
            .find(|organization| organization.msp_id == *msp_id)
            .ok_or_else(|| DeployError::NoOrganization(msp_id.clone()))
    }

    /// Installs `package` on all peers, approves `definition` for all organizations (but those of
    /// [`Builder::unjoined`](super::Builder::unjoined)), commits it on `channel`, and waits
    /// until all running peers have it. What is done already is left as it is.
    ///
    /// Cancel safety: what was done until then stays; a repetition goes on from there.
    ///
    /// # Errors
    /// [`DeployError`] with the first step that failed.
    pub async fn deploy(
        &self,
        channel: &ChannelName,
        definition: &ChaincodeDefinition,
        package: &Package,
    ) -> Result<(), DeployError> {
        let prepared =
            self.joined_organizations().map(|organization| self.prepare(organization, channel, definition, package));
        try_join_all(prepared).await?;
        // Whoever commits must see all approvals.
        self.settled(channel).await;
        let first = &self.organizations()[0].msp_id;
        let committed = self.admin(first)?.channel(channel.clone()).lifecycle().ensure_committed(definition).await;
        committed.map_err(|source| failed(first, "commit", definition, source))?;
        self.settled(channel).await;
        Ok(())
    }

    async fn prepare(
        &self,
        organization: &Organization,
        channel: &ChannelName,
        definition: &ChaincodeDefinition,
        package: &Package,
    ) -> Result<(), DeployError> {
        let msp_id = &organization.msp_id;
        let client = self.admin(msp_id)?;
        for peer in client.peers() {
            let installed = client.peer_lifecycle(peer).ensure_installed(package).await;
            installed.map_err(|source| failed(msp_id, "install", definition, source))?;
        }
        let approved =
            client.channel(channel.clone()).lifecycle().ensure_approved(definition, Some(package.id())).await;
        approved.map_err(|source| failed(msp_id, "approve", definition, source))?;
        Ok(())
    }

    /// [`deploy`](Self::deploy)s the contract that is registered as `definition`'s chaincode name, to run in this
    /// process.
    ///
    /// # Errors
    /// As there.
    pub async fn deploy_native(
        &self,
        channel: &ChannelName,
        definition: &ChaincodeDefinition,
    ) -> Result<(), DeployError> {
        let name = &definition.name;
        let package = super::peer::native_package(&label(definition)?, name)
            .map_err(|source| DeployError::Package { chaincode: name.clone(), source: Box::new(source) })?;
        self.deploy(channel, definition, &package).await
    }

    /// Deploys the contracts of OpsSC, natively, as `channel-ops` and `chaincode-ops` on the ops channel, and registers
    /// all channels with all organizations.
    ///
    /// Cancel safety: as [`deploy`](Self::deploy).
    ///
    /// # Errors
    /// [`DeployError`] with the first step that failed.
    pub async fn deploy_opssc(&self) -> Result<(), DeployError> {
        let ops_channel = self.ops_channel().clone();
        let [channel_ops, chaincode_ops] = [ChaincodeName::parse(OPSSC[0])?, ChaincodeName::parse(OPSSC[1])?];
        self.register(channel_ops.clone(), Arc::new(contracts::ChannelOps::new(Mode::default())));
        self.register(chaincode_ops, Arc::new(contracts::ChaincodeOps::new(channel_ops.clone())));
        for name in OPSSC {
            let definition = ChaincodeDefinition::new(ChaincodeName::parse(name)?, "1", 1);
            self.deploy_native(&ops_channel, &definition).await?;
        }
        let first = &self.organizations()[0].msp_id;
        let calls = ChannelOps::new(self.admin(first)?.channel(ops_channel.clone()), channel_ops);
        let members: Vec<&str> = self.organizations().iter().map(|it| it.msp_id.as_str()).collect();
        let applications = self.channels();
        let system = self.system_channel().map(|channel| (channel, ChannelType::System));
        let channels = std::iter::once((&ops_channel, ChannelType::Ops))
            .chain(system)
            .chain(applications.iter().map(|channel| (channel, ChannelType::Application)));
        for (channel, kind) in channels {
            let failed = |source| DeployError::Register { channel: channel.clone(), source: Box::new(source) };
            if calls.channel_exists(channel.as_str()).await.map_err(failed)? {
                continue;
            }
            calls
                .create_channel(channel.as_str(), &kind, &members)
                .await
                .map_err(|source| DeployError::Register { channel: channel.clone(), source: Box::new(source) })?;
        }
        self.settled(&ops_channel).await;
        Ok(())
    }
}

/// The contracts of OpsSC by their usual names.
pub(super) const OPSSC: [&str; 2] = ["channel-ops", "chaincode-ops"];

fn failed(
    organization: &MspId,
    step: &'static str,
    definition: &ChaincodeDefinition,
    source: LifecycleError,
) -> DeployError {
    let (organization, chaincode) = (organization.clone(), definition.name.clone());
    DeployError::Lifecycle { organization, step, chaincode, source: Box::new(source) }
}

fn client(organization: &Organization, msp: &std::path::Path) -> Result<Client, DeployError> {
    let msp_id = organization.msp_id.clone();
    let of = || organization.msp_id.clone();
    let profile = ConnectionProfile::load(&organization.connection_profile)
        .map_err(|source| DeployError::Profile { organization: of(), source: Box::new(source) })?;
    let signer = SigningIdentity::load_msp(msp_id, msp)
        .map_err(|source| DeployError::Identity { organization: of(), source: Box::new(source) })?;
    Client::builder(Arc::new(signer), profile)
        .build()
        .map_err(|source| DeployError::Client { organization: of(), source: Box::new(source) })
}
