//! What a channel's configuration says about who is in it and where.
//!
//! A module of its own because it must work on any configuration that a peer works with: it reads the few things that a
//! client needs to find nodes, and leaves out what it does not understand, where
//! [`fabric::config`](crate::fabric::config) checks everything.
//!
//! Source: `fabric-protos/common/{configtx,configuration}.proto`, Fabric 3.1.5 `common/channelconfig`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;

use crate::fabric::names::MspId;
use crate::pb::common::implicit_meta_policy::Rule;
use crate::pb::common::policy::PolicyType;
use crate::pb::common::{
    Block, ConfigEnvelope, ConfigGroup, Envelope, ImplicitMetaPolicy, OrdererAddresses, Orderers, Payload,
};
use crate::pb::msp::{FabricMspConfig, MspConfig};
use crate::pb::orderer::ConsensusType;
use crate::pb::protos::AnchorPeers;

/// Who is in a channel.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Topology {
    /// The organizations whose peers are members.
    pub(super) organizations: BTreeMap<MspId, Member>,
    /// `host:port` of the orderers, each with the TLS roots of its organization.
    pub(super) orderers: Vec<(String, Bytes)>,
    pub(super) consensus: Consensus,
    /// How many organizations must endorse a chaincode definition; `None` when the policy is no plain count of them.
    pub(super) lifecycle_endorsements: Option<usize>,
}

/// How the orderers agree, as far as those must know it who hand envelopes in.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consensus {
    /// One orderer that takes an envelope is enough: Raft, and whatever is not known.
    #[default]
    Crash,
    /// Some of the orderers may lie.
    Byzantine {
        /// How many there are.
        cluster: usize,
    },
}

impl Consensus {
    /// How many orderers must take an envelope for it to be in safe hands.
    pub(super) fn quorum(self) -> usize {
        match self {
            Self::Crash => 1,
            Self::Byzantine { cluster } => {
                let faulty = cluster.saturating_sub(1) / 3;
                (cluster + faulty + 1).div_ceil(2)
            }
        }
    }

    /// How many orderers must say the same for one of them to be honest.
    pub(super) fn believable(self) -> usize {
        match self {
            Self::Crash => 1,
            Self::Byzantine { cluster } => cluster.saturating_sub(1) / 3 + 1,
        }
    }
}

/// An organization of a channel.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Member {
    /// The certificates that its nodes' TLS certificates come from, in PEM.
    pub(super) tls_roots: Bytes,
    /// `host:port` of its anchor peers.
    pub(super) anchor_peers: Vec<String>,
}

impl Topology {
    /// Reads a configuration block.
    pub(super) fn of_block(block: &Block) -> Result<Self, String> {
        let data = block.data.as_ref().and_then(|data| data.data.first()).ok_or("a block without transactions")?;
        let envelope: Envelope = decode("envelope", data)?;
        let payload: Payload = decode("payload", &envelope.payload)?;
        let config: ConfigEnvelope = decode("configuration", &payload.data)?;
        let channel = config.config.and_then(|config| config.channel_group).ok_or("a configuration without channel")?;
        Ok(Self::of_group(&channel))
    }

    fn of_group(channel: &ConfigGroup) -> Self {
        let mut topology = Self::default();
        if let Some(application) = channel.groups.get("Application") {
            for organization in application.groups.values() {
                let Some((msp_id, tls_roots)) = msp(organization) else { continue };
                let anchors: AnchorPeers = value(organization, "AnchorPeers").unwrap_or_default();
                let anchor_peers =
                    anchors.anchor_peers.iter().map(|peer| format!("{}:{}", peer.host, peer.port)).collect();
                topology.organizations.insert(msp_id, Member { tls_roots, anchor_peers });
            }
            topology.lifecycle_endorsements = lifecycle_endorsements(application);
        }
        topology.consensus =
            channel.groups.get("Orderer").map(|orderer| consensus(channel, orderer)).unwrap_or_default();
        let mut all_roots = Vec::new();
        for organization in channel.groups.get("Orderer").iter().flat_map(|orderer| orderer.groups.values()) {
            let Some((_, tls_roots)) = msp(organization) else { continue };
            all_roots.extend_from_slice(&tls_roots);
            let endpoints: OrdererAddresses = value(organization, "Endpoints").unwrap_or_default();
            topology.orderers.extend(endpoints.addresses.into_iter().map(|address| (address, tls_roots.clone())));
        }
        // Before Fabric 3 the channel could name orderers without saying whose they are.
        let common: OrdererAddresses = value(channel, "OrdererAddresses").unwrap_or_default();
        let all_roots = Bytes::from(all_roots);
        // A set, because there may be as many as fit into a block.
        let mut known: BTreeSet<String> = topology.orderers.iter().map(|(address, _)| address.clone()).collect();
        for address in common.addresses {
            if known.insert(address.clone()) {
                topology.orderers.push((address, all_roots.clone()));
            }
        }
        topology
    }
}

fn decode<M: Message + Default>(what: &str, bytes: &Bytes) -> Result<M, String> {
    M::decode(bytes.clone()).map_err(|error| format!("{what}: {error}"))
}

fn value<M: Message + Default>(group: &ConfigGroup, name: &str) -> Option<M> {
    M::decode(group.values.get(name)?.value.clone()).ok()
}

/// The MSP ID of an organization, and its TLS certificates one after the other.
fn msp(organization: &ConfigGroup) -> Option<(MspId, Bytes)> {
    let config: MspConfig = value(organization, "MSP")?;
    let msp = FabricMspConfig::decode(config.config).ok()?;
    let mut roots = Vec::new();
    for certificate in msp.tls_root_certs.iter().chain(&msp.tls_intermediate_certs) {
        roots.extend_from_slice(certificate);
        roots.push(b'\n');
    }
    Some((MspId::parse(msp.name).ok()?, roots.into()))
}

fn consensus(channel: &ConfigGroup, orderer: &ConfigGroup) -> Consensus {
    let kind: ConsensusType = value(orderer, "ConsensusType").unwrap_or_default();
    if kind.r#type != "BFT" {
        return Consensus::Crash;
    }
    let orderers: Orderers = value(orderer, "Orderers").or_else(|| value(channel, "Orderers")).unwrap_or_default();
    Consensus::Byzantine { cluster: orderers.consenter_mapping.len() }
}

/// The count that `LifecycleEndorsement` asks for, where it is an implicit policy over the organizations' own.
fn lifecycle_endorsements(application: &ConfigGroup) -> Option<usize> {
    let organizations = application.groups.len();
    let majority = organizations / 2 + 1;
    let Some(policy) = application.policies.get("LifecycleEndorsement") else {
        // Channels from before Fabric 2 have no such policy; the peers then want a majority.
        return Some(majority);
    };
    let policy = policy.policy.as_ref()?;
    if policy.r#type != PolicyType::ImplicitMeta as i32 {
        return None;
    }
    let policy = ImplicitMetaPolicy::decode(policy.value.clone()).ok()?;
    match policy.rule() {
        Rule::Any => Some(1),
        Rule::All => Some(organizations),
        Rule::Majority => Some(majority),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::common::{ConfigPolicy, ConfigValue, Policy};
    use crate::pb::protos::AnchorPeer;

    fn organization(name: &str) -> ConfigGroup {
        let msp = FabricMspConfig { name: name.into(), tls_root_certs: vec!["roots".into()], ..Default::default() };
        let msp = MspConfig { r#type: 0, config: msp.encode_to_vec().into() };
        let anchors = AnchorPeers { anchor_peers: vec![AnchorPeer { host: "peer0".into(), port: 7051 }] };
        let endpoints = OrdererAddresses { addresses: vec![format!("orderer.{name}:7050")] };
        group([
            ("MSP", msp.encode_to_vec()),
            ("AnchorPeers", anchors.encode_to_vec()),
            ("Endpoints", endpoints.encode_to_vec()),
        ])
    }

    fn group<const N: usize>(values: [(&str, Vec<u8>); N]) -> ConfigGroup {
        let value = |bytes: Vec<u8>| ConfigValue { value: bytes.into(), ..Default::default() };
        ConfigGroup {
            values: values.into_iter().map(|(name, bytes)| (name.to_owned(), value(bytes))).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn finds_members_orderers_and_the_count() {
        let mut application = ConfigGroup::default();
        for name in ["Org1", "Org2", "Org3"] {
            application.groups.insert(name.into(), organization(name));
        }
        application.groups.insert("Broken".into(), group([("MSP", b"rubbish".to_vec())]));
        let any = ImplicitMetaPolicy { sub_policy: "Endorsement".into(), rule: Rule::Any.into() };
        let policy = Policy { r#type: PolicyType::ImplicitMeta.into(), value: any.encode_to_vec().into() };
        let mut channel = group([(
            "OrdererAddresses",
            OrdererAddresses { addresses: vec!["orderer.Org1:7050".into(), "old:1".into()] }.encode_to_vec(),
        )]);
        let mut orderer = ConfigGroup::default();
        orderer.groups.insert("Org1".into(), organization("Org1"));
        channel.groups.insert("Orderer".into(), orderer);
        channel.groups.insert("Application".into(), application.clone());

        let topology = Topology::of_group(&channel);
        assert_eq!(topology.organizations.keys().map(MspId::as_str).collect::<Vec<_>>(), ["Org1", "Org2", "Org3"]);
        assert_eq!(topology.organizations.values().next().unwrap().anchor_peers, ["peer0:7051"]);
        let orderers: Vec<_> = topology.orderers.iter().map(|(address, _)| address.as_str()).collect();
        assert_eq!(orderers, ["orderer.Org1:7050", "old:1"]);
        assert_eq!(topology.lifecycle_endorsements, Some(3), "no policy: a majority of four");

        application
            .policies
            .insert("LifecycleEndorsement".into(), ConfigPolicy { policy: Some(policy), ..Default::default() });
        channel.groups.insert("Application".into(), application);
        assert_eq!(Topology::of_group(&channel).lifecycle_endorsements, Some(1));
    }

    #[test]
    fn quorums_are_those_of_the_orderers() {
        let quorums = |cluster| {
            let consensus = Consensus::Byzantine { cluster };
            (consensus.quorum(), consensus.believable())
        };
        let of_4_to_10: Vec<_> = (4..=10).map(quorums).collect();
        assert_eq!(of_4_to_10, [(3, 2), (4, 2), (4, 2), (5, 3), (6, 3), (6, 3), (7, 4)]);
        assert_eq!((quorums(0), quorums(1)), ((1, 1), (1, 1)));
        assert_eq!(Consensus::Crash.quorum(), 1);
    }

    #[test]
    fn rubbish_is_an_error() {
        assert!(Topology::of_block(&Block::default()).is_err());
    }
}
