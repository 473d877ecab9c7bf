//! Channels made by way of the system channel, as orderers before Fabric 3.0 make them.
//!
//! A module of its own because the rules differ from those for channels that exist: what an update is judged against is
//! put together from the system channel (its orderers, and the members that the consortium has of those that the update
//! names), and what comes of it is a transaction there, and the first block of a chain here.
//!
//! Who hands the update in is not asked: the signatures in it are what counts.
//!
//! Source: Fabric 2.5.16 `orderer/common/msgprocessor/{systemchannel,systemchannelfilter}.go`,
//! `orderer/common/multichannel`, `orderer/consensus/etcdraft/chain.go`.

use std::time::SystemTime;

use bytes::Bytes;
use prost::Message as _;

use super::chain::{Chain, Change, Refusal, check};
use super::participation::check_channel_id;
use super::update;
use crate::devnet::access::{Access, value};
use crate::devnet::error::WIRE_FORMAT;
use crate::fabric::block::data_hash;
use crate::fabric::config::ChannelConfig;
use crate::fabric::config::edit::check_raft_metadata;
use crate::fabric::config::tree;
use crate::fabric::names::ChannelName;
use crate::pb::common::{
    Block, BlockData, BlockHeader, BlockMetadata, Config, ConfigEnvelope, ConfigGroup, ConfigPolicy, ConfigUpdate,
    ConfigUpdateEnvelope, ConfigValue, Consortium, Envelope, HeaderType, Payload, Policy, Status,
};
use crate::pb::etcdraft::ConfigMetadata;
use crate::pb::orderer::ChannelRestrictions;

const ADMINS: &str = "Admins";
const APPLICATION: &str = "Application";

/// Whether this is the configuration of a system channel.
pub(super) fn is_system(access: &Access) -> bool {
    access.group("Consortiums").is_some()
}

impl Chain {
    /// What the update in `envelope`, which is for a channel that there is not, becomes on this system channel.
    /// `channels` is how many there are.
    pub(super) async fn process_creation(
        &self,
        access: &Access,
        channel: &str,
        envelope: &Envelope,
        channels: usize,
        now: SystemTime,
    ) -> Result<Change, Refusal> {
        let config = propose(access, channel, envelope).map_err(Refusal::bad_request)?;
        let failed =
            |error: crate::fabric::identity::SignError| Refusal::new(Status::InternalServerError, error.to_string());
        let first = self.signed(HeaderType::Config, channel, config.encode_to_vec().into()).await.map_err(failed)?;
        let wrapped = self
            .signed(HeaderType::OrdererTransaction, self.channel(), first.encode_to_vec().into())
            .await
            .map_err(failed)?;
        check(access, &wrapped, now)?;
        check_room(access, channels)?;
        check_made(access, channel, &config).map_err(Refusal::bad_request)?;
        Ok(Change::Creation { transaction: wrapped.encode_to_vec().into(), first })
    }
}

/// That the orderers may have one more channel.
fn check_room(system: &Access, channels: usize) -> Result<(), Refusal> {
    let restrictions = system.group("Orderer").and_then(|group| value(group, "ChannelRestrictions"));
    let ChannelRestrictions { max_count } = restrictions.unwrap_or_default();
    // The system channel itself does not count.
    if max_count > 0 && channels as u64 > max_count {
        return Err(Refusal::bad_request(format!(
            "channel creation would exceed maximimum number of channels: {max_count}"
        )));
    }
    if system.consensus().maintenance {
        let info = "channel creation is not permitted: maintenance mode";
        return Err(Refusal::new(Status::ServiceUnavailable, info));
    }
    Ok(())
}

/// That the new channel can be read, and that its consenters are ones of the system channel.
fn check_made(system: &Access, channel: &str, proposed: &ConfigEnvelope) -> Result<(), String> {
    update::check_readable(channel, proposed).map_err(|error| format!("config does not validly parse: {error}"))?;
    let invalid = |error: String| format!("consensus metadata update for channel creation is invalid: {error}");
    let config = proposed.config.as_ref().map(prost::Message::encode_to_vec).unwrap_or_default();
    let config = tree::Config::decode(&config).map_err(|error| invalid(error.to_string()))?;
    check_raft_metadata(&config).map_err(|error| invalid(error.to_string()))?;
    let group = proposed.config.as_ref().and_then(|config| config.channel_group.as_ref());
    let orderers = group.and_then(|group| group.groups.get("Orderer"));
    let consenters = |metadata: Bytes| ConfigMetadata::decode(metadata).map(|metadata| metadata.consenters);
    let known = consenters(system.consensus().metadata.clone()).unwrap_or_default();
    let wanted = orderers.and_then(|group| value::<crate::pb::orderer::ConsensusType>(group, "ConsensusType"));
    let wanted = consenters(wanted.unwrap_or_default().metadata).map_err(|error| invalid(error.to_string()))?;
    if wanted.iter().any(|consenter| !known.contains(consenter)) {
        return Err(invalid("new channel has consenter that is not part of system consenter set".to_owned()));
    }
    Ok(())
}

/// The configuration that the update in `envelope` makes for a new `channel`. The error is for the client.
pub(super) fn propose(system: &Access, channel: &str, envelope: &Envelope) -> Result<ConfigEnvelope, String> {
    let template = template(system, channel, envelope)?;
    update::applied(&template, channel, envelope).map_err(|error| {
        format!(
            "error validating channel creation transaction for new channel '{channel}', could not successfully apply \
             update to template configuration: {error}"
        )
    })
}

/// What the update is judged against.
fn template(system: &Access, channel: &str, envelope: &Envelope) -> Result<Access, String> {
    let update = update_of(envelope)?;
    if update.channel_id != channel {
        return Err(format!(
            "Failing initial channel config creation: mismatched channel IDs: '{}' != '{channel}'",
            update.channel_id
        ));
    }
    let mut writes = update.write_set.ok_or("Config update has an empty writeset")?;
    let application = writes.groups.remove(APPLICATION).ok_or("Config update has missing application group")?;
    if application.version != 1 {
        return Err(format!(
            "Config update for channel creation does not set application group version to 1, was {}",
            application.version
        ));
    }
    let consortium = writes.values.remove("Consortium").ok_or("Consortium config value missing")?;
    let consortium = Consortium::decode(consortium.value)
        .map_err(|_| format!("Error reading unmarshalling consortium name: {WIRE_FORMAT}"))?;
    let consortiums = system
        .group("Consortiums")
        .ok_or("The ordering system channel does not appear to support creating channels")?;
    let members = consortiums
        .groups
        .get(&consortium.name)
        .ok_or_else(|| format!("Unknown consortium name: {}", consortium.name))?;

    let mut root = system.config().channel_group.clone().unwrap_or_default();
    root.groups.retain(|name, _| name == "Orderer");
    root.groups.insert(APPLICATION.to_owned(), transacting(members, &application)?);
    let named = ConfigValue { value: consortium.encode_to_vec().into(), mod_policy: ADMINS.to_owned(), version: 0 };
    root.values.insert("Consortium".to_owned(), named);
    zero_versions(&mut root);
    check_channel_id(channel)
        .map_err(|error| format!("initializing configtx manager failed: bad channel ID: {error}"))?;
    let name = ChannelName::parse(channel).map_err(|error| error.to_string())?;
    let config = Config { sequence: 0, channel_group: Some(root) };
    Ok(Access::new(ChannelConfig::from_config(name, config).map_err(|error| error.to_string())?))
}

/// The members that are asked for, as the consortium has them, guarded by the consortium's policy for new channels.
fn transacting(consortium: &ConfigGroup, wanted: &ConfigGroup) -> Result<ConfigGroup, String> {
    // Updates of old tools have the policy `Admins` in its first version, and then it must not be there before.
    let is_old = wanted.policies.get(ADMINS).is_some_and(|policy| policy.version == 0);
    let guard = if is_old { "ChannelCreationPolicy" } else { ADMINS };
    let policy = consortium.values.get("ChannelCreationPolicy").and_then(|it| Policy::decode(it.value.clone()).ok());
    let policy = ConfigPolicy { version: 0, policy, mod_policy: guard.to_owned() };
    let mut group = ConfigGroup { mod_policy: guard.to_owned(), ..ConfigGroup::default() };
    group.policies.insert(guard.to_owned(), policy);
    if consortium.groups.is_empty() {
        return Ok(group);
    }
    if wanted.groups.is_empty() {
        return Err("Proposed configuration has no application group members, but consortium contains members".into());
    }
    for name in wanted.groups.keys() {
        let member = consortium.groups.get(name);
        let member =
            member.ok_or_else(|| format!("Attempted to include member {name} which is not in the consortium"))?;
        group.groups.insert(name.clone(), member.clone());
    }
    Ok(group)
}

fn update_of(envelope: &Envelope) -> Result<ConfigUpdate, String> {
    let failing = |what: &str| {
        format!("Failing initial channel config creation because of {what} unmarshalling error: {WIRE_FORMAT}")
    };
    let payload = Payload::decode(envelope.payload.clone()).map_err(|_| failing("payload"))?;
    let data = ConfigUpdateEnvelope::decode(payload.data).map_err(|_| failing("config update envelope"))?;
    ConfigUpdate::decode(data.config_update).map_err(|_| failing("config update"))
}

/// A new channel does not go on where the system channel is.
fn zero_versions(group: &mut ConfigGroup) {
    group.version = 0;
    group.values.values_mut().for_each(|value| value.version = 0);
    group.policies.values_mut().for_each(|policy| policy.version = 0);
    group.groups.values_mut().for_each(zero_versions);
}

/// The first block of a channel that begins with this envelope. Nobody signs it.
pub(super) fn first_block(envelope: &Envelope) -> Block {
    let data = BlockData { data: vec![envelope.encode_to_vec().into()] };
    let header = BlockHeader { number: 0, previous_hash: Bytes::new(), data_hash: data_hash(&data).to_vec().into() };
    let metadata = Some(BlockMetadata { metadata: vec![Bytes::new(); 5] });
    Block { header: Some(header), data: Some(data), metadata }
}
