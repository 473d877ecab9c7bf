//! Ways for `crate::fuzzing` to what orderers are sent.

#![allow(clippy::missing_panics_doc, reason = "to panic is how a body tells what it has found")]

use std::sync::OnceLock;

use bytes::Bytes;
use prost::Message as _;

use super::{multipart, update};
use crate::devnet::access::Access;
use crate::fabric::block::Kind;
use crate::pb::common::{Block, ConfigUpdateEnvelope, Envelope};

const GENESIS: &[u8] = include_bytes!("../../../testdata/golden/blocks/00-genesis/block.pb");

fn access() -> &'static Access {
    static ACCESS: OnceLock<Access> = OnceLock::new();
    ACCESS.get_or_init(|| {
        let genesis = Block::decode(GENESIS).expect("a file of this repository");
        Access::from_block(&genesis).expect("a file of this repository")
    })
}

/// An update of a channel's configuration: by itself, in its envelope, or in the block that it led to.
pub fn config_update(input: &[u8]) {
    let channel = "goldenchannel";
    let inside = crate::fabric::block::Block::decode(input.to_vec()).ok().and_then(|block| {
        block.transactions().iter().find_map(|transaction| match &transaction.kind {
            Kind::Config(config) => config.last_update.clone(),
            _ => None,
        })
    });
    if let Some(envelope) = inside {
        let _ = update::propose(access(), channel, &envelope);
        let update = crate::pb::common::Payload::decode(envelope.payload)
            .and_then(|payload| ConfigUpdateEnvelope::decode(payload.data));
        config_update(&update.map(|update| update.config_update).unwrap_or_default());
    }
    if let Ok(envelope) = Envelope::decode(input) {
        let _ = update::propose(access(), channel, &envelope);
    }
    // What nobody has to allow, so that the rest of it is met.
    if let Ok(updated) = update::updated(access().config(), input, channel, |_| Ok(())) {
        let version = access().config().channel_group.as_ref().map_or(0, |group| group.version);
        assert!(updated.version <= version.saturating_add(1));
    }
}

/// A form: the boundary, a line end, the body.
pub fn admin_form(input: &[u8]) {
    let (boundary, body) = input.split_at(input.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1));
    let boundary = String::from_utf8_lossy(boundary);
    let _ = multipart::boundary(&boundary);
    let body = Bytes::copy_from_slice(body);
    for part in multipart::parts(&body, boundary.trim_end()).unwrap_or_default() {
        assert!(part.content.len() <= body.len());
    }
}
