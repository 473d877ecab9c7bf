//! Ways for `crate::fuzzing` to what orderers answer about their channels.

#![allow(clippy::missing_panics_doc, reason = "to panic is how a body tells what it has found")]

use bytes::Bytes;

use super::super::net::http::Answered;
use super::{BlockId, wire};
use crate::fabric::names::ChannelName;

/// The channel that an envelope updates.
pub(crate) fn updated_channel(envelope: Bytes) -> Option<ChannelName> {
    wire::updated_channel(envelope).ok()
}

/// What an orderer answers about its channels.
pub fn participation(input: &[u8]) {
    let channel = ChannelName::parse("goldenchannel").expect("a name that is in order");
    for status in [200, 201, 404] {
        let answer = Answered { status, allow: None, body: Bytes::copy_from_slice(input) };
        let _ = (wire::list(&answer), wire::participation(&answer, &channel, 201));
        for wanted in [BlockId::Newest, BlockId::Oldest, BlockId::Config, BlockId::Number(1)] {
            if let Ok(block) = wire::fetched(&answer, &channel, wanted) {
                assert!(block.header.is_some());
            }
        }
    }
}
