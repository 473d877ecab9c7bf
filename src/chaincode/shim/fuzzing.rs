//! Ways for `crate::fuzzing` to what a peer sends to a chaincode.

#![allow(clippy::missing_panics_doc, reason = "to panic is how a body tells what it has found")]

use prost::Message as _;

use super::stub::Transaction;
use crate::chaincode::composite;
use crate::pb::protos::ChaincodeMessage;

/// A message of a peer: a transaction, or an answer to a question of the chaincode. Or a composite key in one.
pub fn shim_of_peer(input: &[u8]) {
    let key = String::from_utf8_lossy(input);
    if let Some((object_type, attributes)) = composite::split(&key)
        && let Ok(again) = composite::key(object_type, &attributes)
    {
        assert_eq!(again, key, "taken apart and put together");
    }
    let Ok(message) = ChaincodeMessage::decode(input) else { return };
    let _ = Transaction::decode(&message);
}
