//! The first block of a channel: organizations, policies, limits.
//!
//! A module of its own because it is the whole of what members agree on before there is a ledger. The policies are those
//! of the sample network of OpsSC: `NodeOUs` roles, majority of the organizations for what concerns all.
//!
//! Source: Fabric 3.1.5 `internal/configtxgen/encoder`, `common/channelconfig`.

use std::time::SystemTime;

use prost::Message as _;

use crate::fabric::config::edit::build::{ADMINS, capabilities, group, set};
use crate::fabric::config::edit::{put_anchor_peers, put_endpoints};
use crate::fabric::config::tree::{Config, ConfigGroup, ConfigPolicy, Policy};
use crate::fabric::config::{BatchLimits, genesis};
use crate::fabric::identity::{MspFolder, Role};
use crate::fabric::names::{ChannelName, MspId};
use crate::fabric::tx::Nonce;
use crate::pb::common::{
    Block, ImplicitMetaPolicy, SignaturePolicy, SignaturePolicyEnvelope, implicit_meta_policy, policy, signature_policy,
};
use crate::pb::{etcdraft, orderer};

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

/// The first block of `channel`.
pub(crate) fn block(channel: &ChannelName, members: &[Member], batch: &BatchLimits, nonce: Nonce) -> Block {
    let config = Config { channel_group: Some(channel_group(members, batch)), ..Config::default() };
    genesis::block(channel, &config, nonce, SystemTime::now().into())
}

fn channel_group(members: &[Member], batch: &BatchLimits) -> ConfigGroup {
    let mut group = group();
    group.groups.insert("Application".to_owned(), application(members));
    group.groups.insert("Orderer".to_owned(), ordering(members, batch));
    genesis::standard_values(&mut group);
    set(&mut group, "Capabilities", capabilities(["V2_0"]));
    standard_policies(&mut group);
    group
}

fn application(members: &[Member]) -> ConfigGroup {
    let mut group = group();
    for member in members {
        let mut organization = organization(member);
        let (host, port) = &member.anchor;
        put_anchor_peers(&mut organization, [(host.as_str(), u32::from(*port))]);
        group.groups.insert(member.msp_id.as_str().to_owned(), organization);
    }
    set(&mut group, "Capabilities", capabilities(["V2_5"]));
    standard_policies(&mut group);
    meta(&mut group, "LifecycleEndorsement", implicit_meta_policy::Rule::Majority, "Endorsement");
    meta(&mut group, "Endorsement", implicit_meta_policy::Rule::Majority, "Endorsement");
    group
}

fn ordering(members: &[Member], batch: &BatchLimits) -> ConfigGroup {
    let mut group = group();
    for member in members {
        let mut organization = organization(member);
        let addresses = member.orderers.iter().map(|orderer| format!("{}:{}", orderer.host, orderer.port));
        put_endpoints(&mut organization, &addresses.collect::<Vec<_>>());
        group.groups.insert(member.msp_id.as_str().to_owned(), organization);
    }
    let size = orderer::BatchSize {
        max_message_count: batch.max_messages,
        absolute_max_bytes: batch.absolute_max_bytes,
        preferred_max_bytes: batch.preferred_max_bytes,
    };
    let timeout = orderer::BatchTimeout { timeout: format!("{}ms", batch.timeout.as_millis().max(1)) };
    set(&mut group, "ConsensusType", consensus(members).encode_to_vec());
    set(&mut group, "BatchSize", size.encode_to_vec());
    set(&mut group, "BatchTimeout", timeout.encode_to_vec());
    set(&mut group, "ChannelRestrictions", orderer::ChannelRestrictions::default().encode_to_vec());
    set(&mut group, "Capabilities", capabilities(["V2_0"]));
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
    set(&mut group, "MSP", member.msp.to_config().encode_to_vec());
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
    let policy = Policy::new(kind as i32, value.encode_to_vec());
    group.policies.insert(name.to_owned(), ConfigPolicy::new(policy, ADMINS));
}
