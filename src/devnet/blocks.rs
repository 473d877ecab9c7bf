//! What the network reads of blocks beside their transactions.

use prost::Message as _;

use crate::pb::common::{Block, ChannelHeader, ConfigEnvelope, Envelope, HeaderType, Payload};

/// The configuration in a block, if that is what it holds.
pub(crate) fn config_envelope(block: &Block) -> Option<ConfigEnvelope> {
    let [envelope] = block.data.as_ref()?.data.as_slice() else { return None };
    let envelope = Envelope::decode(envelope.clone()).ok()?;
    let payload = Payload::decode(envelope.payload).ok()?;
    let header = ChannelHeader::decode(payload.header?.channel_header).ok()?;
    if header.r#type != HeaderType::Config as i32 {
        return None;
    }
    ConfigEnvelope::decode(payload.data).ok()
}

/// The channel that a block's first transaction names.
pub(crate) fn channel_of(block: &Block) -> Option<String> {
    let envelope = Envelope::decode(block.data.as_ref()?.data.first()?.clone()).ok()?;
    let payload = Payload::decode(envelope.payload).ok()?;
    Some(ChannelHeader::decode(payload.header?.channel_header).ok()?.channel_id)
}

/// The hash of a header, for maps.
pub(crate) fn header_hash(header: &crate::pb::common::BlockHeader) -> Vec<u8> {
    crate::fabric::block::header_hash(header).to_vec()
}
