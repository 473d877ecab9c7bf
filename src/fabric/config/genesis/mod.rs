//! The first block of a channel, out of a profile as `configtx.yaml` has them.
//!
//! Where there is no system channel, members vote for an update that holds the whole channel, and each of them makes
//! the block out of it: the same bytes everywhere, because nonce and time follow from the update.
//!
//! Source: Fabric 3.1.5 `internal/configtxgen`, `common/genesis`.

mod group;
mod profile;
#[cfg(test)]
mod tests;

use std::path::Path;

use bytes::Bytes;
use prost::Message as _;
use prost_types::Timestamp;
use sha2::{Digest as _, Sha256};

#[cfg(feature = "devnet")]
pub(crate) use group::{bft_defaults, standard_values};
pub use profile::Profile;

use super::edit::EditError;
use super::tree::{Config, ConfigGroup, ConfigUpdate, Fields};
use super::{ChannelConfig, ConfigError};
use crate::fabric::block::data_hash;
use crate::fabric::names::{ChannelName, TxId};
use crate::fabric::tx::Nonce;
use crate::pb::common::{
    Block, BlockData, BlockHeader, BlockMetadata, BlockMetadataIndex, ChannelHeader, Envelope, Header, HeaderType,
    LastConfig, Metadata, OrdererBlockMetadata, Payload, SignatureHeader,
};

/// The configuration that a profile describes. Files that it names lie below `files`.
///
/// # Errors
/// [`EditError`] when the profile cannot be used, or describes no application channel.
pub fn config(profile: &Profile, files: &Path) -> Result<Config, EditError> {
    if profile.application.is_none() {
        let reason = "refusing to generate application channel block which is missing application section";
        return Err(EditError::profile(reason));
    }
    Ok(Config { channel_group: Some(group::channel(profile, files)?), ..Config::default() })
}

/// The update that members vote for to create `channel` where there is no system channel.
///
/// # Errors
/// As [`config`]; also when the profile has no orderers.
pub fn creation(channel: &ChannelName, profile: &Profile, files: &Path) -> Result<ConfigUpdate, EditError> {
    if profile.orderer.is_none() {
        return Err(EditError::profile("section Orderer is missing: the channel would have no orderers"));
    }
    Ok(ConfigUpdate {
        channel_id: channel.to_string(),
        read_set: Some(ConfigGroup::default()),
        write_set: config(profile, files)?.channel_group,
        ..ConfigUpdate::default()
    })
}

/// The first block that follows from the voted update which these bytes are. Everybody makes the same.
///
/// # Errors
/// [`ConfigError`] when the update does not create a whole channel.
pub fn block_of_creation(update: &[u8]) -> Result<Block, ConfigError> {
    let missing = |what: &str| ConfigError::Missing { what: what.to_owned() };
    let read = ConfigUpdate::decode(update).map_err(|error| ConfigError::Update { reason: error.to_string() })?;
    let channel = ChannelName::parse(read.channel_id.clone())?;
    if read.read_set.is_some_and(|set| set != ConfigGroup::default()) {
        return Err(ConfigError::Update { reason: "it changes a channel, it creates none".to_owned() });
    }
    let group = read.write_set.ok_or_else(|| missing("channel group"))?;
    if !group.groups.contains_key("Application") {
        return Err(missing("application group"));
    }
    let config = Config { channel_group: Some(group), ..Config::default() };
    let readable = crate::pb::common::Config::decode(config.encode())
        .map_err(|error| ConfigError::Update { reason: error.to_string() })?;
    ChannelConfig::from_config(channel.clone(), readable)?;
    let digest: [u8; 32] = Sha256::digest(update).into();
    let mut nonce = [0; 24];
    nonce.copy_from_slice(&digest[..24]);
    Ok(block(&channel, &config, Nonce(nonce), Timestamp::default()))
}

/// The first block of `channel` with this configuration.
pub fn block(channel: &ChannelName, config: &Config, nonce: Nonce, time: Timestamp) -> Block {
    let nonce = nonce.to_bytes();
    let channel_header = ChannelHeader {
        r#type: HeaderType::Config as i32,
        version: 1,
        timestamp: Some(time),
        channel_id: channel.to_string(),
        tx_id: TxId::of(&nonce, &[]).to_string(),
        ..ChannelHeader::default()
    };
    let signature_header = SignatureHeader { creator: Bytes::new(), nonce };
    let header = Header {
        channel_header: channel_header.encode_to_vec().into(),
        signature_header: signature_header.encode_to_vec().into(),
    };
    // `ConfigEnvelope.config`, in the tree's own bytes.
    let mut data = Fields::default();
    data.set_all(1, [&config.encode()[..]]);
    let payload = Payload { header: Some(header), data: data.encode() }.encode_to_vec().into();
    let envelope = Envelope { payload, signature: Bytes::new() };
    let data = BlockData { data: vec![envelope.encode_to_vec().into()] };
    let header = BlockHeader { number: 0, previous_hash: Bytes::new(), data_hash: data_hash(&data).to_vec().into() };
    let metadata = |value: Vec<u8>| Metadata { value: value.into(), signatures: Vec::new() }.encode_to_vec().into();
    let signatures = OrdererBlockMetadata { last_config: Some(LastConfig::default()), ..Default::default() };
    let mut metadata = vec![metadata(signatures.encode_to_vec()), metadata(LastConfig::default().encode_to_vec())];
    metadata.resize(BlockMetadataIndex::CommitHash as usize + 1, Bytes::new());
    Block { header: Some(header), data: Some(data), metadata: Some(BlockMetadata { metadata }) }
}
