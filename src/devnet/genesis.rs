//! The first block of a channel: organizations, policies, limits.
//!
//! A module of its own because it is the whole of what members agree on before there is a ledger. The policies are those
//! of the sample network of OpsSC: `NodeOUs` roles, majority of the organizations for what concerns all.
//!
//! Source: Fabric 3.1.5 `internal/configtxgen/encoder`, `common/channelconfig`.

use std::time::SystemTime;

use prost::Message as _;

use crate::fabric::block::data_hash;
use crate::fabric::config::BatchLimits;
use crate::fabric::identity::{MspFolder, Role};
use crate::fabric::names::{ChannelName, MspId, TxId};
use crate::fabric::tx::Nonce;
use crate::pb::common::{
    Block, BlockData, BlockDataHashingStructure, BlockHeader, BlockMetadata, BlockMetadataIndex, Capabilities,
    Capability, ChannelHeader, Config, ConfigEnvelope, ConfigGroup, ConfigPolicy, ConfigValue, Envelope,
    HashingAlgorithm, Header, HeaderType, ImplicitMetaPolicy, LastConfig, Metadata, OrdererAddresses,
    OrdererBlockMetadata, Payload, Policy, SignatureHeader, SignaturePolicy, SignaturePolicyEnvelope,
    implicit_meta_policy, policy, signature_policy,
};
use crate::pb::{etcdraft, orderer, protos};

/// An organization as it stands in a channel's configuration.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) msp_id: MspId,
    pub(crate) msp: MspFolder,
    /// Host and port of the peer that others find it by.
    pub(crate) anchor: (String, u16),
    pub(crate) orderers: Vec<Orderer>,
}

/// An orderer as it stands in a channel's configuration.
#[derive(Debug)]
pub(crate) struct Orderer {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls_certificate_pem: String,
}

const ADMINS: &str = "Admins";

/// The first block of `channel`.
pub(crate) fn block(channel: &ChannelName, members: &[Member], batch: &BatchLimits, nonce: Nonce) -> Block {
    let config = Config { sequence: 0, channel_group: Some(channel_group(members, batch)) };
    let data = ConfigEnvelope { config: Some(config), last_update: None }.encode_to_vec().into();
    let nonce = nonce.to_bytes();
    let channel_header = ChannelHeader {
        r#type: HeaderType::Config as i32,
        version: 1,
        timestamp: Some(SystemTime::now().into()),
        channel_id: channel.as_str().to_owned(),
        tx_id: TxId::of(&nonce, &[]).as_str().to_owned(),
        ..ChannelHeader::default()
    };
    let signature_header = SignatureHeader { creator: prost::bytes::Bytes::new(), nonce };
    let header = Header {
        channel_header: channel_header.encode_to_vec().into(),
        signature_header: signature_header.encode_to_vec().into(),
    };
    let payload = Payload { header: Some(header), data }.encode_to_vec().into();
    let envelope = Envelope { payload, signature: prost::bytes::Bytes::new() };
    let data = BlockData { data: vec![envelope.encode_to_vec().into()] };
    let header = BlockHeader {
        number: 0,
        previous_hash: prost::bytes::Bytes::new(),
        data_hash: data_hash(&data).to_vec().into(),
    };
    let metadata = |value: Vec<u8>| Metadata { value: value.into(), signatures: Vec::new() }.encode_to_vec().into();
    let signatures = OrdererBlockMetadata { last_config: Some(LastConfig::default()), ..Default::default() };
    let mut metadata = vec![metadata(signatures.encode_to_vec()), metadata(LastConfig::default().encode_to_vec())];
    metadata.resize(BlockMetadataIndex::CommitHash as usize + 1, prost::bytes::Bytes::new());
    Block { header: Some(header), data: Some(data), metadata: Some(BlockMetadata { metadata }) }
}

fn channel_group(members: &[Member], batch: &BatchLimits) -> ConfigGroup {
    let mut group = group();
    group.groups.insert("Application".to_owned(), application(members));
    group.groups.insert("Orderer".to_owned(), ordering(members, batch));
    set(&mut group, "HashingAlgorithm", &HashingAlgorithm { name: "SHA256".to_owned() });
    set(&mut group, "BlockDataHashingStructure", &BlockDataHashingStructure { width: u32::MAX });
    capability(&mut group, "V2_0");
    standard_policies(&mut group);
    group
}

fn application(members: &[Member]) -> ConfigGroup {
    let mut group = group();
    for member in members {
        let mut organization = organization(member);
        let (host, port) = &member.anchor;
        let anchor = protos::AnchorPeer { host: host.clone(), port: i32::from(*port) };
        set(&mut organization, "AnchorPeers", &protos::AnchorPeers { anchor_peers: vec![anchor] });
        group.groups.insert(member.msp_id.as_str().to_owned(), organization);
    }
    capability(&mut group, "V2_5");
    standard_policies(&mut group);
    meta(&mut group, "LifecycleEndorsement", implicit_meta_policy::Rule::Majority, "Endorsement");
    meta(&mut group, "Endorsement", implicit_meta_policy::Rule::Majority, "Endorsement");
    group
}

fn ordering(members: &[Member], batch: &BatchLimits) -> ConfigGroup {
    let mut group = group();
    for member in members {
        let mut organization = organization(member);
        let addresses = member.orderers.iter().map(|orderer| format!("{}:{}", orderer.host, orderer.port)).collect();
        set(&mut organization, "Endpoints", &OrdererAddresses { addresses });
        group.groups.insert(member.msp_id.as_str().to_owned(), organization);
    }
    set(&mut group, "ConsensusType", &consensus(members));
    set(
        &mut group,
        "BatchSize",
        &orderer::BatchSize {
            max_message_count: batch.max_messages,
            absolute_max_bytes: batch.absolute_max_bytes,
            preferred_max_bytes: batch.preferred_max_bytes,
        },
    );
    let timeout = format!("{}ms", batch.timeout.as_millis().max(1));
    set(&mut group, "BatchTimeout", &orderer::BatchTimeout { timeout });
    set(&mut group, "ChannelRestrictions", &orderer::ChannelRestrictions::default());
    capability(&mut group, "V2_0");
    let any = implicit_meta_policy::Rule::Any;
    meta(&mut group, "Readers", any, "OrderingReaders");
    meta(&mut group, "Writers", any, "OrderingWriters");
    meta(&mut group, ADMINS, implicit_meta_policy::Rule::Majority, ADMINS);
    meta(&mut group, "BlockValidation", any, "OrderingWriters");
    group
}

/// What a Raft network would say of its consenters; clients read addresses and certificates there.
fn consensus(members: &[Member]) -> orderer::ConsensusType {
    let consenters = members
        .iter()
        .flat_map(|member| &member.orderers)
        .map(|orderer| etcdraft::Consenter {
            host: orderer.host.clone(),
            port: u32::from(orderer.port),
            client_tls_cert: orderer.tls_certificate_pem.clone().into(),
            server_tls_cert: orderer.tls_certificate_pem.clone().into(),
        })
        .collect();
    let options = etcdraft::Options {
        tick_interval: "500ms".to_owned(),
        election_tick: 10,
        heartbeat_tick: 1,
        max_inflight_blocks: 5,
        snapshot_interval_size: 16 << 20,
    };
    orderer::ConsensusType {
        r#type: "etcdraft".to_owned(),
        metadata: etcdraft::ConfigMetadata { consenters, options: Some(options) }.encode_to_vec().into(),
        ..orderer::ConsensusType::default()
    }
}

fn organization(member: &Member) -> ConfigGroup {
    use Role::{Admin, Client, Orderer, Peer};

    let mut group = group();
    set(&mut group, "MSP", &member.msp.to_config());
    for (name, roles) in [
        ("Readers", [Admin, Peer, Client].as_slice()),
        ("Writers", &[Admin, Client]),
        ("OrderingReaders", &[Admin, Orderer]),
        ("OrderingWriters", &[Admin, Orderer]),
        (ADMINS, &[Admin]),
        ("Endorsement", &[Peer]),
    ] {
        let rule = any_of(member.msp_id.as_str(), roles);
        insert_policy(&mut group, name, policy::PolicyType::Signature, &rule);
    }
    group
}

fn any_of(msp_id: &str, roles: &[Role]) -> SignaturePolicyEnvelope {
    let signed_by = (0_i32..)
        .zip(roles)
        .map(|(index, _)| SignaturePolicy { r#type: Some(signature_policy::Type::SignedBy(index)) })
        .collect();
    let one_of = signature_policy::NOutOf { n: 1, rules: signed_by };
    SignaturePolicyEnvelope {
        version: 0,
        rule: Some(SignaturePolicy { r#type: Some(signature_policy::Type::NOutOf(one_of)) }),
        identities: roles.iter().map(|role| role.principal(msp_id)).collect(),
    }
}

fn group() -> ConfigGroup {
    ConfigGroup { mod_policy: ADMINS.to_owned(), ..ConfigGroup::default() }
}

fn set(group: &mut ConfigGroup, key: &str, value: &impl prost::Message) {
    let value = ConfigValue { version: 0, value: value.encode_to_vec().into(), mod_policy: ADMINS.to_owned() };
    group.values.insert(key.to_owned(), value);
}

fn capability(group: &mut ConfigGroup, name: &str) {
    let mut capabilities = Capabilities::default();
    capabilities.capabilities.insert(name.to_owned(), Capability {});
    set(group, "Capabilities", &capabilities);
}

fn standard_policies(group: &mut ConfigGroup) {
    meta(group, "Readers", implicit_meta_policy::Rule::Any, "Readers");
    meta(group, "Writers", implicit_meta_policy::Rule::Any, "Writers");
    meta(group, ADMINS, implicit_meta_policy::Rule::Majority, ADMINS);
}

fn meta(group: &mut ConfigGroup, name: &str, rule: implicit_meta_policy::Rule, sub_policy: &str) {
    let value = ImplicitMetaPolicy { sub_policy: sub_policy.to_owned(), rule: rule as i32 };
    insert_policy(group, name, policy::PolicyType::ImplicitMeta, &value);
}

fn insert_policy(group: &mut ConfigGroup, name: &str, kind: policy::PolicyType, value: &impl prost::Message) {
    let policy = Policy { r#type: kind as i32, value: value.encode_to_vec().into() };
    let policy = ConfigPolicy { version: 0, policy: Some(policy), mod_policy: ADMINS.to_owned() };
    group.policies.insert(name.to_owned(), policy);
}
