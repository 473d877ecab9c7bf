//! The first block of a channel: organizations, policies, limits.
//!
//! A module of its own because it is the whole of what members agree on before there is a ledger. The policies are those
//! of the sample network of OpsSC: `NodeOUs` roles, majority of the organizations for what concerns all.
//!
//! Orderers with a system channel have one of these only, the system channel's own; for every other channel there is the
//! update that they make it from.
//!
//! Source: Fabric 3.1.5 and, for system channels, 2.5.16 `internal/configtxgen/encoder`, `common/channelconfig`.

use std::time::SystemTime;

use prost::Message as _;

use crate::fabric::config::edit::build::{ADMINS, capabilities, group, set};
use crate::fabric::config::edit::profile::CreateChannelProfile;
use crate::fabric::config::edit::{EditError, create_channel, put_anchor_peers, put_endpoints, set_block_validation};
use crate::fabric::config::tree::{Config, ConfigGroup, ConfigPolicy, ConfigUpdate, ConfigValue, Policy};
use crate::fabric::config::{BatchLimits, genesis};
use crate::fabric::identity::{MspFolder, Role};
use crate::fabric::names::{ChannelName, MspId};
use crate::fabric::tx::Nonce;
use crate::pb::common::{
    self, Block, ImplicitMetaPolicy, SignaturePolicy, SignaturePolicyEnvelope, implicit_meta_policy, policy,
    signature_policy,
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
    pub(crate) certificate_pem: String,
    pub(crate) tls_certificate_pem: String,
}

/// The first block of `channel`.
pub(crate) fn block(channel: &ChannelName, members: &[Member], batch: &BatchLimits, nonce: Nonce) -> Block {
    let config = Config { channel_group: Some(channel_group(members, batch)), ..Config::default() };
    genesis::block(channel, &config, nonce, SystemTime::now().into())
}

/// The first block of a `channel` whose orderers agree by BFT.
pub(crate) fn bft_block(channel: &ChannelName, members: &[Member], batch: &BatchLimits, nonce: Nonce) -> Block {
    let mut root = channel_group(members, batch);
    set(&mut root, "Capabilities", capabilities(["V3_0"]));
    let orderers = root.groups.entry("Orderer".to_owned()).or_default();
    let consenters = bft_consenters(members);
    let kind = orderer::ConsensusType {
        r#type: "BFT".to_owned(),
        metadata: genesis::bft_defaults().encode_to_vec().into(),
        ..orderer::ConsensusType::default()
    };
    set(orderers, "ConsensusType", kind.encode_to_vec());
    set(orderers, "Orderers", common::Orderers { consenter_mapping: consenters.clone() }.encode_to_vec());
    set_block_validation(orderers, &consenters);
    let config = Config { channel_group: Some(root), ..Config::default() };
    genesis::block(channel, &config, nonce, SystemTime::now().into())
}

/// All orderers, numbered from 1.
fn bft_consenters(members: &[Member]) -> Vec<common::Consenter> {
    let orderers = members.iter().flat_map(|member| member.orderers.iter().map(move |orderer| (member, orderer)));
    let consenter = |(id, (member, orderer)): (u32, (&Member, &Orderer))| common::Consenter {
        id,
        host: orderer.host.clone(),
        port: u32::from(orderer.port),
        msp_id: member.msp_id.to_string(),
        identity: orderer.certificate_pem.clone().into(),
        client_tls_cert: orderer.tls_certificate_pem.clone().into(),
        server_tls_cert: orderer.tls_certificate_pem.clone().into(),
    };
    (1..).zip(orderers).map(consenter).collect()
}

/// The name of the consortium of all organizations, where there is a system channel.
pub(crate) const CONSORTIUM: &str = "SampleConsortium";
/// Who guards the consortiums.
const ORDERER_ADMINS: &str = "/Channel/Orderer/Admins";

/// The first block of the system channel `channel`, with a consortium of all `members`.
pub(crate) fn system_block(channel: &ChannelName, members: &[Member], batch: &BatchLimits, nonce: Nonce) -> Block {
    let root = root("Consortiums", consortiums(members), members, batch);
    let config = Config { channel_group: Some(root), ..Config::default() };
    genesis::block(channel, &config, nonce, SystemTime::now().into())
}

/// The update of which orderers with a system channel make `channel`, with all `members`. They come without anchor peers,
/// as an administrator of each would have to agree to those.
///
/// # Errors
/// [`EditError`] when there are no members.
pub(crate) fn creation(channel: &ChannelName, members: &[Member]) -> Result<ConfigUpdate, EditError> {
    let implicit = |rule: &str| serde_json::json!({ "Type": "ImplicitMeta", "Rule": rule });
    let profile = serde_json::json!({
        "Consortium": CONSORTIUM,
        "Application": {
            "Policies": {
                "Readers": implicit("ANY Readers"),
                "Writers": implicit("ANY Writers"),
                "Admins": implicit("MAJORITY Admins"),
                "LifecycleEndorsement": implicit("MAJORITY Endorsement"),
                "Endorsement": implicit("MAJORITY Endorsement"),
            },
            "Capabilities": ["V2_5"],
            "Organizations": members.iter().map(|member| member.msp_id.as_str()).collect::<Vec<_>>(),
        },
    });
    let profile: CreateChannelProfile =
        serde_json::from_value(profile).map_err(|error| EditError::Profile { reason: error.to_string() })?;
    create_channel(channel.as_str(), &profile)
}

fn consortiums(members: &[Member]) -> ConfigGroup {
    let guarded = || ConfigGroup { mod_policy: ORDERER_ADMINS.to_owned(), ..ConfigGroup::default() };
    let mut consortium = guarded();
    for member in members {
        consortium.groups.insert(member.msp_id.as_str().to_owned(), organization(member));
    }
    let any = ImplicitMetaPolicy { sub_policy: ADMINS.to_owned(), rule: implicit_meta_policy::Rule::Any as i32 };
    let any = common::Policy { r#type: policy::PolicyType::ImplicitMeta as i32, value: any.encode_to_vec().into() };
    let any = ConfigValue::new(any.encode_to_vec(), ORDERER_ADMINS);
    consortium.values.insert("ChannelCreationPolicy".to_owned(), any);
    let mut group = guarded();
    group.groups.insert(CONSORTIUM.to_owned(), consortium);
    // Everybody satisfies it: who administrates the orderers is asked one level above.
    let nobody = signature_policy::NOutOf { n: 0, rules: Vec::new() };
    let everybody = SignaturePolicyEnvelope {
        version: 0,
        rule: Some(SignaturePolicy { r#type: Some(signature_policy::Type::NOutOf(nobody)) }),
        identities: Vec::new(),
    };
    let everybody = Policy::new(policy::PolicyType::Signature as i32, everybody.encode_to_vec());
    group.policies.insert(ADMINS.to_owned(), ConfigPolicy::new(everybody, ORDERER_ADMINS));
    group
}

fn channel_group(members: &[Member], batch: &BatchLimits) -> ConfigGroup {
    root("Application", application(members), members, batch)
}

fn root(name: &str, inner: ConfigGroup, members: &[Member], batch: &BatchLimits) -> ConfigGroup {
    let mut group = group();
    group.groups.insert(name.to_owned(), inner);
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
