//! Ways for `crate::fuzzing` to what a peer sends to a chaincode.

use prost::Message as _;

use super::stub::Transaction;
use crate::pb::protos::ChaincodeMessage;

/// A message of a peer: a transaction, or an answer to a question of the chaincode.
pub fn shim_of_peer(input: &[u8]) {
    let Ok(message) = ChaincodeMessage::decode(input) else { return };
    let _ = Transaction::decode(&message);
}
