//! Ways for `crate::fuzzing` to what the contracts are called with.

#![allow(clippy::missing_panics_doc, reason = "to panic is how a body tells what it has found")]

use std::sync::Arc;

use futures_util::FutureExt as _;

use super::json::{encode, parse};
use super::{ChaincodeOps, ChannelOps, Mode};
use crate::chaincode::memory::Ledger;
use crate::fabric::names::MspId;

/// A call of a contract: the function and its arguments, one a line, on a ledger where something is going on.
pub fn contract_call(input: &[u8]) {
    let mut ledger = Ledger::default()
        .with("channel-ops", Arc::new(ChannelOps::new(Mode::Fixed)))
        .with("chaincode-ops", Arc::new(ChaincodeOps::default()));
    let organization = MspId::parse("Org1MSP").expect("a name that is in order");
    let mut call = |contract: &str, arguments: &[&[u8]]| {
        let simulated = ledger.simulate(contract, &organization, arguments).now_or_never();
        let simulated = simulated.expect("a ledger in memory never waits");
        if simulated.response.status < 400 {
            let _ = ledger.commit(&simulated);
        }
    };
    call("channel-ops", &[b"CreateChannel", b"mychannel", b"application", br#"["Org1MSP","Org2MSP"]"#]);
    call(
        "chaincode-ops",
        &[
            b"RequestProposal",
            br#"{"ID":"p1","channelID":"mychannel","chaincodeName":"basic","chaincodePackage":{"repository":"a/b",
            "commitID":"c","type":"golang"},"chaincodeDefinition":{"sequence":1,"initRequired":false,
            "validationParameter":""}}"#,
        ],
    );
    let arguments: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    call("channel-ops", &arguments);
    call("chaincode-ops", &arguments);
}

/// JSON as the contracts read and write it. What was written reads back as what is written the same.
pub fn contract_json(input: &[u8]) {
    let Ok(value) = parse(input) else { return };
    let _ = value.clone().into_untyped();
    let written = encode(&value.into_value());
    let again = parse(&written).expect("what was written can be read");
    assert_eq!(encode(&again.into_value()), written);
}
