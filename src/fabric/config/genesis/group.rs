//! The channel group that a profile describes.
//!
//! A module of its own because it is the whole of what members agree on before there is a ledger.
//!
//! Source: Fabric 3.1.5 `internal/configtxgen/encoder`, `genesisconfig`.

use std::path::Path;

use bytes::Bytes;
use prost::Message;

use super::profile::{
    Application, BftConsenter, BftOptions, Consortium, Orderer, Organization, Profile, Raft, RaftOptions,
};
use crate::fabric::config::edit::build::{self, ADMINS, Dialect};
use crate::fabric::config::edit::{EditError, duration, put_anchor_peers, put_endpoints, set_block_validation};
use crate::fabric::config::go_duration;
use crate::fabric::config::tree::{ConfigGroup, ConfigPolicy, Policy};
use crate::fabric::identity::MspFolder;
use crate::fabric::names::MspId;
use crate::pb::common::policy::PolicyType;
use crate::pb::common::{
    self, BlockDataHashingStructure, HashingAlgorithm, ImplicitMetaPolicy, OrdererAddresses, SignaturePolicy,
    SignaturePolicyEnvelope, implicit_meta_policy, signature_policy,
};
use crate::pb::{etcdraft, orderer};

/// The guard of what belongs to the orderers wherever it stands.
const ORDERER_ADMINS: &str = "/Channel/Orderer/Admins";

/// The channel group of a profile whose files lie below `files`.
pub(super) fn channel(profile: &Profile, files: &Path) -> Result<ConfigGroup, EditError> {
    let mut group = build::group();
    group.policies = build::policies(&profile.policies, &[], Dialect::Configtxgen)?;
    standard_values(&mut group);
    if let Some(orderer) = &profile.orderer
        && !orderer.addresses.is_empty()
    {
        let addresses = OrdererAddresses { addresses: orderer.addresses.clone() };
        build::set_guarded(&mut group, "OrdererAddresses", addresses.encode_to_vec(), ORDERER_ADMINS);
    }
    if !profile.consortium.is_empty() {
        let consortium = common::Consortium { name: profile.consortium.clone() };
        build::set(&mut group, "Consortium", consortium.encode_to_vec());
    }
    set_capabilities(&mut group, &profile.capabilities);
    let v3 = profile.capabilities.get("V3_0") == Some(&true);
    if let Some(orderer) = &profile.orderer {
        group.groups.insert("Orderer".to_owned(), ordering(orderer, v3, files)?);
    }
    if let Some(application) = &profile.application {
        group.groups.insert("Application".to_owned(), transacting(application, files)?);
    }
    if let Some(consortiums) = &profile.consortiums {
        group.groups.insert("Consortiums".to_owned(), all_consortiums(consortiums, files)?);
    }
    Ok(group)
}

/// How blocks are hashed; there is one way.
pub(crate) fn standard_values(group: &mut ConfigGroup) {
    let algorithm = HashingAlgorithm { name: "SHA256".to_owned() };
    build::set(group, "HashingAlgorithm", algorithm.encode_to_vec());
    let structure = BlockDataHashingStructure { width: u32::MAX };
    build::set(group, "BlockDataHashingStructure", structure.encode_to_vec());
}

/// Those that are switched on; the value is there when any are named.
fn set_capabilities(group: &mut ConfigGroup, named: &std::collections::BTreeMap<String, bool>) {
    if !named.is_empty() {
        let names = named.iter().filter(|(_, on)| **on).map(|(name, _)| name.as_str());
        build::set(group, "Capabilities", build::capabilities(names));
    }
}

fn transacting(application: &Application, files: &Path) -> Result<ConfigGroup, EditError> {
    let mut group = build::group();
    group.policies = build::policies(&application.policies, &[], Dialect::Configtxgen)?;
    if !application.acls.is_empty() {
        build::set(&mut group, "ACLs", build::acls(&application.acls));
    }
    set_capabilities(&mut group, &application.capabilities);
    for profile in &application.organizations {
        let mut member = organization(profile, files)?;
        put_anchor_peers(&mut member, profile.anchor_peers.iter().map(|peer| (peer.host.as_str(), peer.port)));
        group.groups.insert(profile.name.clone(), member);
    }
    Ok(group)
}

fn organization(profile: &Organization, files: &Path) -> Result<ConfigGroup, EditError> {
    if profile.skip_as_foreign {
        let reason = format!("organization {:?} is marked to be skipped as foreign", profile.name);
        return Err(EditError::profile(reason));
    }
    if !matches!(profile.msp_type.as_str(), "" | "bccsp") {
        let reason = format!("organization {:?} has an MSP of type {:?}", profile.name, profile.msp_type);
        return Err(EditError::profile(reason));
    }
    let id = MspId::parse(profile.id.clone()).map_err(|error| EditError::profile(error.to_string()))?;
    let mut group = build::group();
    group.policies = build::policies(&profile.policies, &[], Dialect::Configtxgen)?;
    let msp = MspFolder::load(&id, &files.join(&profile.msp_dir))?.to_config();
    build::set(&mut group, "MSP", msp.encode_to_vec());
    Ok(group)
}

fn all_consortiums(
    consortiums: &std::collections::BTreeMap<String, Consortium>,
    files: &Path,
) -> Result<ConfigGroup, EditError> {
    let guarded = || ConfigGroup { mod_policy: ORDERER_ADMINS.to_owned(), ..ConfigGroup::default() };
    // Satisfied by everybody: it only has to be there.
    let gate = signature_policy::NOutOf { n: 0, rules: Vec::new() };
    let everybody = SignaturePolicyEnvelope {
        version: 0,
        rule: Some(SignaturePolicy { r#type: Some(signature_policy::Type::NOutOf(gate)) }),
        identities: Vec::new(),
    };
    let mut all = guarded();
    let everybody = Policy::new(PolicyType::Signature as i32, everybody.encode_to_vec());
    all.policies.insert(ADMINS.to_owned(), ConfigPolicy::new(everybody, ORDERER_ADMINS));
    for (name, consortium) in consortiums {
        let mut group = guarded();
        for profile in &consortium.organizations {
            group.groups.insert(profile.name.clone(), organization(profile, files)?);
        }
        let any = implicit_meta_policy::Rule::Any as i32;
        let creation = ImplicitMetaPolicy { sub_policy: ADMINS.to_owned(), rule: any };
        let creation =
            common::Policy { r#type: PolicyType::ImplicitMeta as i32, value: creation.encode_to_vec().into() };
        build::set_guarded(&mut group, "ChannelCreationPolicy", creation.encode_to_vec(), ORDERER_ADMINS);
        all.groups.insert(name.clone(), group);
    }
    Ok(all)
}

fn ordering(profile: &Orderer, v3: bool, files: &Path) -> Result<ConfigGroup, EditError> {
    let kind = if profile.kind.is_empty() { "solo" } else { &profile.kind };
    if kind == "BFT" && !v3 {
        return Err(EditError::profile("orderer type BFT must be used with V3_0 channel capability"));
    }
    if v3 && !profile.addresses.is_empty() {
        return Err(EditError::profile("global orderer endpoints exist, but can not be used with V3_0 capability"));
    }
    let mut group = build::group();
    group.policies = build::policies(&profile.policies, &["BlockValidation"], Dialect::Configtxgen)?;
    batches(&mut group, profile)?;
    set_capabilities(&mut group, &profile.capabilities);
    let metadata: Vec<u8> = match kind {
        "solo" => Vec::new(),
        "etcdraft" => {
            let raft = profile.etcd_raft.as_ref();
            raft_metadata(raft.ok_or_else(|| EditError::profile("EtcdRaft is missing"))?, files)?.encode_to_vec()
        }
        "BFT" => {
            let consenters = bft_consenters(&profile.consenter_mapping, files)?;
            let mapping = common::Orderers { consenter_mapping: consenters.clone() };
            build::set(&mut group, "Orderers", mapping.encode_to_vec());
            set_block_validation(&mut group, &consenters);
            let options = profile.smart_bft.clone().unwrap_or_else(BftOptions::of_the_library);
            bft_options(options)?.encode_to_vec()
        }
        other => return Err(EditError::profile(format!("unknown orderer type: {other}"))),
    };
    let consensus = orderer::ConsensusType { r#type: kind.to_owned(), metadata: metadata.into(), ..Default::default() };
    build::set(&mut group, "ConsensusType", consensus.encode_to_vec());
    for profile in &profile.organizations {
        let mut member = organization(profile, files)?;
        if v3 && profile.orderer_endpoints.is_empty() {
            let reason = format!(
                "orderer endpoints for organization {} are missing and must be configured when capability V3_0 is \
                 enabled",
                profile.name
            );
            return Err(EditError::profile(reason));
        }
        put_endpoints(&mut member, &profile.orderer_endpoints);
        group.groups.insert(profile.name.clone(), member);
    }
    Ok(group)
}

fn batches(group: &mut ConfigGroup, profile: &Orderer) -> Result<(), EditError> {
    let or = |given: u32, default: u32| if given == 0 { default } else { given };
    let size = orderer::BatchSize {
        max_message_count: or(profile.batch_size.max_message_count, 500),
        absolute_max_bytes: or(profile.batch_size.absolute_max_bytes, 10 << 20),
        preferred_max_bytes: or(profile.batch_size.preferred_max_bytes, 2 << 20),
    };
    build::set(group, "BatchSize", size.encode_to_vec());
    let given = profile.batch_timeout.as_str();
    let timeout = if given.is_empty() { Some("2s".to_owned()) } else { duration(given) };
    let timeout = timeout.ok_or_else(|| EditError::profile(format!("BatchTimeout {given:?} is no duration")))?;
    let timeout = if timeout == "0s" { "2s".to_owned() } else { timeout };
    build::set(group, "BatchTimeout", orderer::BatchTimeout { timeout }.encode_to_vec());
    let restrictions = orderer::ChannelRestrictions { max_count: profile.max_channels };
    build::set(group, "ChannelRestrictions", restrictions.encode_to_vec());
    Ok(())
}

/// A file, whole and as it is.
fn file(files: &Path, what: &str, name: &str) -> Result<Bytes, EditError> {
    if name.is_empty() {
        return Err(EditError::profile(format!("consenter info did not specify {what}")));
    }
    build::read(Some(files), name).map(Bytes::from)
}

fn raft_metadata(raft: &Raft, files: &Path) -> Result<etcdraft::ConfigMetadata, EditError> {
    if raft.consenters.is_empty() {
        return Err(EditError::profile("etcdraft configuration did not specify any consenter"));
    }
    let mut consenters = Vec::new();
    for consenter in &raft.consenters {
        check_address(&consenter.host, consenter.port)?;
        consenters.push(etcdraft::Consenter {
            host: consenter.host.clone(),
            port: consenter.port,
            client_tls_cert: file(files, "client TLS cert", &consenter.client_tls_cert)?,
            server_tls_cert: file(files, "server TLS cert", &consenter.server_tls_cert)?,
        });
    }
    let RaftOptions { tick_interval, election_tick, heartbeat_tick, max_inflight_blocks, snapshot_interval_size } =
        &raft.options;
    let or = |given: u32, default: u32| if given == 0 { default } else { given };
    let options = etcdraft::Options {
        tick_interval: if tick_interval.is_empty() { "500ms".to_owned() } else { tick_interval.clone() },
        election_tick: or(*election_tick, 10),
        heartbeat_tick: or(*heartbeat_tick, 1),
        max_inflight_blocks: or(*max_inflight_blocks, 5),
        snapshot_interval_size: or(*snapshot_interval_size, 16 << 20),
    };
    if go_duration(&options.tick_interval).is_none() {
        let reason = format!("Etcdraft TickInterval ({tick_interval}) must be in time duration format");
        return Err(EditError::profile(reason));
    }
    if options.election_tick <= options.heartbeat_tick {
        return Err(EditError::profile("election tick must be greater than heartbeat tick"));
    }
    Ok(etcdraft::ConfigMetadata { consenters, options: Some(options) })
}

fn check_address(host: &str, port: u32) -> Result<(), EditError> {
    if host.is_empty() {
        return Err(EditError::profile("consenter info did not specify host"));
    }
    if port == 0 {
        return Err(EditError::profile("consenter info did not specify port"));
    }
    Ok(())
}

fn bft_consenters(mapping: &[BftConsenter], files: &Path) -> Result<Vec<common::Consenter>, EditError> {
    if mapping.is_empty() {
        return Err(EditError::profile("BFT configuration did not specify any consenter"));
    }
    let one = |consenter: &BftConsenter| {
        check_address(&consenter.host, consenter.port)?;
        if consenter.msp_id.is_empty() {
            return Err(EditError::profile("consenter info did not specify MSP ID"));
        }
        Ok(common::Consenter {
            id: consenter.id,
            host: consenter.host.clone(),
            port: consenter.port,
            msp_id: consenter.msp_id.clone(),
            identity: file(files, "identity certificate", &consenter.identity)?,
            client_tls_cert: file(files, "client TLS cert", &consenter.client_tls_cert)?,
            server_tls_cert: file(files, "server TLS cert", &consenter.server_tls_cert)?,
        })
    };
    mapping.iter().map(one).collect()
}

/// The settings of BFT where none are given.
#[cfg(feature = "devnet")]
pub(crate) fn bft_defaults() -> orderer::smartbft::Options {
    // They are ours, and in order.
    bft_options(BftOptions::of_the_library()).unwrap_or_default()
}

fn bft_options(options: BftOptions) -> Result<orderer::smartbft::Options, EditError> {
    let leader_rotation = i32::try_from(options.leader_rotation)
        .map_err(|_| EditError::profile("LeaderRotation is no number of a rotation"))?;
    Ok(orderer::smartbft::Options {
        request_batch_max_count: options.request_batch_max_count,
        request_batch_max_bytes: options.request_batch_max_bytes,
        request_batch_max_interval: options.request_batch_max_interval,
        incoming_message_buffer_size: options.incoming_message_buffer_size,
        request_pool_size: options.request_pool_size,
        request_forward_timeout: options.request_forward_timeout,
        request_complain_timeout: options.request_complain_timeout,
        request_auto_remove_timeout: options.request_auto_remove_timeout,
        request_max_bytes: options.request_max_bytes,
        view_change_resend_interval: options.view_change_resend_interval,
        view_change_timeout: options.view_change_timeout,
        leader_heartbeat_timeout: options.leader_heartbeat_timeout,
        leader_heartbeat_count: options.leader_heartbeat_count,
        collect_timeout: options.collect_timeout,
        sync_on_start: options.sync_on_start,
        speed_up_view_change: options.speed_up_view_change,
        leader_rotation,
        decisions_per_leader: options.decisions_per_leader,
    })
}
