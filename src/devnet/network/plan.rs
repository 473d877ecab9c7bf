//! What the network will consist of, before anything of it exists.
//!
//! A module of its own because names and ports follow rules that people learn: the same as those of the test networks
//! around Fabric (`peer0.org1.example.com`; one hundred ports for each organization).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Devnet;
use crate::chaincode::Contract;
use crate::devnet::error::DevnetError;
use crate::fabric::names::{ChaincodeName, ChannelName};

/// More organizations than anybody tries on one machine.
const MAX_ORGANIZATIONS: u16 = 50;
const MAX_PEERS: u16 = 8;

/// Describes an embedded network, then [`start`](Builder::start)s it.
#[allow(clippy::struct_excessive_bools, reason = "they are switches that have nothing to do with each other")]
pub struct Builder {
    pub(super) folder: PathBuf,
    /// `None`: as many as were kept, else two.
    pub(super) organizations: Option<u16>,
    /// `None`: as many as were kept, else one.
    pub(super) peers: Option<u16>,
    pub(super) ops_channel: ChannelName,
    pub(super) channels: Vec<ChannelName>,
    pub(super) contracts: Vec<(ChaincodeName, Arc<dyn Contract>)>,
    pub(super) batch_timeout: Duration,
    pub(super) max_message_count: u32,
    pub(super) base_port: Option<u16>,
    pub(super) keep: bool,
    pub(super) anew: bool,
    pub(super) mutual_tls: bool,
    pub(super) unjoined: BTreeSet<u16>,
    pub(super) system_channel: Option<ChannelName>,
    pub(super) bft: bool,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("folder", &self.folder)
            .field("organizations", &self.organizations)
            .field("peers", &self.peers)
            .field("channels", &self.channels)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            organizations: None,
            peers: None,
            ops_channel: ChannelName::parse("ops-channel").expect("the name follows the rule"),
            channels: Vec::new(),
            contracts: Vec::new(),
            batch_timeout: Duration::from_millis(200),
            max_message_count: 10,
            base_port: None,
            keep: false,
            anew: false,
            mutual_tls: false,
            unjoined: BTreeSet::new(),
            system_channel: None,
            bft: false,
        }
    }

    /// How many organizations there are: two unless said.
    #[must_use]
    pub fn organizations(mut self, count: u16) -> Self {
        self.organizations = Some(count);
        self
    }

    /// How many peers each organization has: one unless said.
    #[must_use]
    pub fn peers_per_organization(mut self, count: u16) -> Self {
        self.peers = Some(count);
        self
    }

    /// The name of the channel on which operations are agreed: `ops-channel` unless said. It is always there.
    #[must_use]
    pub fn ops_channel(mut self, name: ChannelName) -> Self {
        self.ops_channel = name;
        self
    }

    /// Adds an application channel of all organizations.
    #[must_use]
    pub fn channel(mut self, name: ChannelName) -> Self {
        self.channels.push(name);
        self
    }

    /// Registers a contract that packages of the type `native` may name.
    #[must_use]
    pub fn native(mut self, name: ChaincodeName, contract: Arc<dyn Contract>) -> Self {
        self.contracts.push((name, contract));
        self
    }

    /// For how long a block waits for more transactions: 200 ms unless said.
    #[must_use]
    pub fn batch_timeout(mut self, timeout: Duration) -> Self {
        self.batch_timeout = timeout;
        self
    }

    /// How many transactions a block holds at most: ten unless said.
    #[must_use]
    pub fn max_message_count(mut self, count: u32) -> Self {
        self.max_message_count = count;
        self
    }

    /// The first port: organization `i` (from 0) has its orderer `j` at `base + 100 i + 2 j`, the
    /// orderer's administration one after it, and peer `j` at `base + 100 i + 10 + 10 j`.
    /// `None`, which is the default, lets the system choose.
    #[must_use]
    pub fn base_port(mut self, port: Option<u16>) -> Self {
        self.base_port = port;
        self
    }

    /// Keeps everything that happens in the folder, and takes up what was kept there: certificates, ports, blocks, private
    /// data and packages are then those of the earlier run, however it ended. `false` unless said: what an earlier run has
    /// left is cleared away.
    #[must_use]
    pub fn keep(mut self, keep: bool) -> Self {
        self.keep = keep;
        self
    }

    /// Clears away what was kept in the folder before the start.
    #[must_use]
    pub fn anew(mut self, anew: bool) -> Self {
        self.anew = anew;
        self
    }

    /// Whether nodes let only those in that show a TLS certificate of one of the organizations: not unless said.
    /// Profiles carry such a certificate then.
    #[must_use]
    pub fn mutual_tls(mut self, on: bool) -> Self {
        self.mutual_tls = on;
        self
    }

    /// Leaves the peers of an organization (numbered from 0) out of all channels, as those of one that is new: it is a
    /// member, and its peers are for it to bring in.
    #[must_use]
    pub fn unjoined(mut self, organization: u16) -> Self {
        self.unjoined.insert(organization);
        self
    }

    /// Gives the orderers a system channel of this name, as before Fabric 3.0, with a consortium of all organizations:
    /// channels are made by updates that are handed in, not by orderers that join.
    #[must_use]
    pub fn system_channel(mut self, name: ChannelName) -> Self {
        self.system_channel = Some(name);
        self
    }

    /// Makes channels whose orderers agree by BFT, as Fabric 3 has it: blocks carry the signatures of a quorum, and the
    /// policy for blocks has to follow the list of consenters. There are at least four orderers then, as many in each
    /// organization: all of them are consenters.
    #[must_use]
    pub fn bft(mut self, on: bool) -> Self {
        self.bft = on;
        self
    }

    /// Makes the network and starts all its nodes, which have joined all channels then.
    ///
    /// Cancel safety: dropped before its end, nothing runs; files may have been written.
    ///
    /// # Errors
    /// [`DevnetError`].
    pub async fn start(self) -> Result<Devnet, DevnetError> {
        super::start::start(self).await
    }

    /// Whether such a network, of so many organizations with so many peers each, can be made.
    pub(super) fn check(&self, organizations: u16, peers: u16) -> Result<(), DevnetError> {
        let wrong = |what: &str| Err(DevnetError::Plan(what.to_owned()));
        if !(1..=MAX_ORGANIZATIONS).contains(&organizations) {
            return wrong("it needs 1 to 50 organizations");
        }
        if !(1..=MAX_PEERS).contains(&peers) {
            return wrong("each organization needs 1 to 8 peers");
        }
        if self.max_message_count == 0 {
            return wrong("a block must have room for a transaction");
        }
        let ports = 100 * (organizations - 1) + 10 * peers;
        if self.base_port.is_some_and(|base| base == 0 || base.checked_add(ports).is_none()) {
            return wrong("the ports do not fit");
        }
        if self.bft && self.system_channel.is_some() {
            return wrong("orderers that agree by BFT have no system channel");
        }
        let names: BTreeSet<_> = self.all_channels().chain(&self.system_channel).collect();
        if names.len() != self.channels.len() + 1 + usize::from(self.system_channel.is_some()) {
            return wrong("two channels have one name");
        }
        Ok(())
    }

    /// The ops channel, then the others.
    pub(super) fn all_channels(&self) -> impl Iterator<Item = &ChannelName> {
        std::iter::once(&self.ops_channel).chain(&self.channels)
    }

    /// How many orderers each of so many organizations has.
    pub(super) fn orderers_of(&self, organizations: u16) -> u16 {
        if self.bft { 4_u16.div_ceil(organizations.max(1)) } else { 1 }
    }

    /// The ports of organization `organization`'s orderer `orderer`, for its services and its administrators; 0 where the
    /// system chooses.
    pub(super) fn orderer_ports(&self, organization: u16, orderer: u16) -> (u16, u16) {
        self.base_port.map_or((0, 0), |base| {
            let first = base + 100 * organization + 2 * orderer;
            (first, first + 1)
        })
    }

    /// The port of organization `organization`'s peer `peer`; 0 where the system chooses.
    pub(super) fn peer_port(&self, organization: u16, peer: u16) -> u16 {
        self.base_port.map_or(0, |base| base + 100 * organization + 10 + 10 * peer)
    }
}
