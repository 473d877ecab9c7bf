//! The system chaincode `qscc`: ask for blocks and transactions.
//!
//! Source: Fabric 3.1.5 `core/scc/qscc/query.go`.

use bytes::Bytes;
use prost::Message as _;

use super::call::Call;
use super::proposal::shown;
use super::resolve::{failure, success};
use crate::devnet::ledger::Ledger;
use crate::fabric::names::{TxId, hex};
use crate::pb::protos::Response;

/// Answers a call of `qscc`.
pub(super) fn invoke(call: &Call) -> Response {
    let args = &call.input.args;
    let [function, channel, rest @ ..] = args.as_slice() else {
        return failure(format!("Incorrect number of arguments, {}", args.len()));
    };
    let function = String::from_utf8_lossy(function);
    let channel = shown(&String::from_utf8_lossy(channel));
    let original = &call.proposal.chaincode;
    if original != "qscc" {
        return failure(format!(
            "Rejecting invoke of QSCC from another chaincode because of potential for deadlocks, original invocation \
             for '{}'",
            shown(original)
        ));
    }
    let argument = match rest.first() {
        Some(argument) => argument.clone(),
        None if function == "GetChainInfo" => Bytes::new(),
        None => return failure(format!("missing 3rd argument for {}", shown(&function))),
    };
    let Some(known) = call.peer.channel(&channel) else {
        return failure(format!("Invalid chain ID, {channel}"));
    };
    if let Err(error) = call.peer.check_acl(&format!("qscc/{function}"), &channel, &call.proposal) {
        return failure(format!("access denied for [{}][{channel}]: [{error}]", shown(&function)));
    }
    answer(known.ledger(), &function, &argument)
}

fn answer(ledger: &Ledger, function: &str, argument: &Bytes) -> Response {
    let text = String::from_utf8_lossy(argument);
    let tx_id = || TxId::parse(&*text).ok();
    match function {
        "GetChainInfo" => success(ledger.info().encode_to_vec()),
        "GetBlockByNumber" => {
            let number = match text.parse::<u64>() {
                Ok(number) => number,
                Err(error) => {
                    let reason = match error.kind() {
                        std::num::IntErrorKind::PosOverflow => "value out of range",
                        _ => "invalid syntax",
                    };
                    let shown = shown(&text);
                    return failure(format!(
                        "Failed to parse block number with error strconv.ParseUint: parsing {shown:?}: {reason}"
                    ));
                }
            };
            // The greatest number stands for the newest block.
            let number = if number == u64::MAX { ledger.height().saturating_sub(1) } else { number };
            match ledger.block(number) {
                Some(block) => success(block.encode_to_vec()),
                None => failure(format!(
                    "Failed to get block number {number}, error no such block number [{number}] in index"
                )),
            }
        }
        "GetBlockByHash" => {
            if let Some(block) = ledger.block_by_hash(argument) {
                return success(block.encode_to_vec());
            }
            let (shown, hash) = (shown(&text), hex(argument));
            failure(format!("Failed to get block hash {shown}, error no such block hash [{hash}] in index"))
        }
        "GetTransactionByID" => {
            let found = tx_id().and_then(|id| ledger.transaction(&id)).map(|transaction| transaction.encode_to_vec());
            found.map_or_else(|| unknown("Failed to get transaction with id", &text), success)
        }
        "GetBlockByTxID" => {
            let found = tx_id().and_then(|id| ledger.block_by_tx_id(&id)).map(|block| block.encode_to_vec());
            found.map_or_else(|| unknown("Failed to get block for txID", &text), success)
        }
        other => failure(format!("Requested function {} not found.", shown(other))),
    }
}

fn unknown(failed: &str, tx_id: &str) -> Response {
    let id = shown(tx_id);
    failure(format!("{failed} {id}, error no such transaction ID [{id}] in index"))
}
