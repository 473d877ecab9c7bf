//! What chaincodes ask of a peer, and what clients ask of the chaincodes that a peer has itself.
//!
//! Both are met behind the checks that stand before them, in the name of an administrator of a real network, on its
//! ledger: nothing that is looked for here shall be hidden behind a signature.

use std::sync::{Arc, OnceLock, PoisonError};

use bytes::Bytes;
use prost::Message as _;
use tokio::runtime::{Builder, Runtime};

use super::super::Peer;
use super::super::call::{Call, Simulated};
use super::super::channel::PeerChannel;
use super::super::proposal::UnpackedProposal;
use super::super::resolve::is_system;
use super::super::shim;
use crate::devnet::ledger::Ledger;
use crate::fabric::identity::{Msp, MspVersion, SigningIdentity};
use crate::fabric::names::MspId;
use crate::pb::common::{Block, BlockData, ChannelHeader, ConfigEnvelope, Envelope, Payload, SignatureHeader};
use crate::pb::kvrwset::KvrwSet;
use crate::pb::msp::MspConfig;
use crate::pb::protos::{ChaincodeInput, ChaincodeMessage, ChaincodeSpec, Response, SignedProposal};
use crate::pb::rwset::TxReadWriteSet;
use crate::runtime::Workers;

const BLOCKS: [&[u8]; 4] = [
    include_bytes!("../../../../testdata/golden/blocks/00-genesis/block.pb"),
    include_bytes!("../../../../testdata/golden/blocks/01-approve-golden/block.pb"),
    include_bytes!("../../../../testdata/golden/blocks/02-approve-golden/block.pb"),
    include_bytes!("../../../../testdata/golden/blocks/03-commit-golden/block.pb"),
];
const CHANNEL: &str = "goldenchannel";
/// The chaincode that those blocks put on the channel.
const CHAINCODE: &str = "golden";
/// A key with its certificate, of nobody on the channel: the peer signs with it.
const CERTIFICATE: &[u8] = include_bytes!("../../../../testdata/golden/transactions/invoke/cert.pem");
const KEY: &[u8] = include_bytes!("../../../../testdata/golden/transactions/invoke/key.pem");

/// Files of this repository can be read: whatever is wrong with them is a fault of the test.
const OURS: &str = "a file of this repository";

struct Golden {
    ledger: Arc<Ledger>,
    msp: MspConfig,
    /// A message of the organization's administrator, whose signature is good.
    admin: (SignedProposal, ChannelHeader, SignatureHeader),
}

fn golden() -> &'static Golden {
    static GOLDEN: OnceLock<Golden> = OnceLock::new();
    GOLDEN.get_or_init(|| {
        let blocks = BLOCKS.map(|block| Block::decode(block).expect(OURS));
        let ledger = Ledger::create(blocks[0].clone(), Arc::default(), organization()).expect(OURS);
        for block in &blocks[1..] {
            runtime().block_on(ledger.commit(block.clone())).expect(OURS);
        }
        let (payload, _) = first_payload(&blocks[0]);
        let config = ConfigEnvelope::decode(payload.data).expect(OURS).config.expect(OURS);
        let application = &config.channel_group.expect(OURS).groups["Application"];
        let msp = application.groups[organization().as_str()].values["MSP"].value.clone();
        let (payload, signed) = first_payload(&blocks[3]);
        let header = payload.header.expect(OURS);
        Golden {
            ledger: Arc::new(ledger),
            msp: MspConfig::decode(msp).expect(OURS),
            admin: (
                signed,
                ChannelHeader::decode(header.channel_header).expect(OURS),
                SignatureHeader::decode(header.signature_header).expect(OURS),
            ),
        }
    })
}

fn organization() -> MspId {
    MspId::parse("Org1MSP").expect("a name that is in order")
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("threads can be had")
}

/// The payload of a block's first envelope; and that as something that was signed.
fn first_payload(block: &Block) -> (Payload, SignedProposal) {
    let envelope = block.data.as_ref().expect(OURS).data[0].clone();
    let Envelope { payload, signature } = Envelope::decode(envelope).expect(OURS);
    (Payload::decode(payload.clone()).expect(OURS), SignedProposal { proposal_bytes: payload, signature })
}

/// A peer that knows the channel and nothing else. Each input gets its own: what one leaves behind is not met by others.
fn peer(workers: &Workers) -> Arc<Peer> {
    let Golden { ledger, msp, .. } = golden();
    let msp = Msp::from_config(msp, MspVersion::V1_4_3).expect(OURS);
    let signer = SigningIdentity::from_pem(organization(), CERTIFICATE, KEY).expect(OURS);
    let (contracts, hosts, private) = (Arc::default(), Arc::default(), Arc::default());
    let peer = Peer::new("peer0", organization(), msp, Arc::new(signer), contracts, hosts, private, workers.clone());
    let channel = PeerChannel::new(Arc::clone(ledger), peer.faults().clone());
    let mut channels = peer.channels.write().unwrap_or_else(PoisonError::into_inner);
    channels.insert(ledger.channel().clone(), Arc::new(channel));
    drop(channels);
    peer
}

/// A call of `chaincode` that a client began, on the channel or on none.
fn call(peer: Arc<Peer>, chaincode: &str, input: ChaincodeInput, on_channel: bool) -> Call {
    let (signed, channel_header, signature_header) = golden().admin.clone();
    let proposal = UnpackedProposal {
        signed,
        channel_header,
        signature_header,
        chaincode: chaincode.to_owned(),
        input: input.clone(),
        transient: std::collections::BTreeMap::new(),
        hash: Bytes::from_static(&[7; 32]),
    };
    let simulation = on_channel.then(|| Simulated::new(golden().ledger.simulate().of(proposal.tx_id())));
    Call {
        peer,
        channel: if on_channel { CHANNEL.to_owned() } else { String::new() },
        chaincode: chaincode.to_owned(),
        input,
        simulation,
        proposal: Arc::new(proposal),
        running: Vec::new(),
    }
}

/// That what a simulation made can be read by whoever validates it.
fn check_results(simulation: &Simulated) {
    let Some(results) = simulation.finish() else { return };
    let set = TxReadWriteSet::decode(results.public).expect("what was encoded can be decoded");
    for namespace in set.ns_rwset {
        KvrwSet::decode(namespace.rwset).expect("what was encoded can be decoded");
    }
}

/// A call of a system chaincode, as a `ChaincodeSpec`; with a timeout it is on no channel.
pub fn system_call(input: &[u8]) {
    let Some(response) = answered(input) else { return };
    let status = response.status;
    assert!([200, 404, 500].contains(&status), "status {status}");
    assert!(status == 200 || !response.message.is_empty(), "a refusal has a reason");
    assert!(response.message.len() <= input.len() + 4096, "a refusal is not longer than what it is about");
}

/// What the system chaincode says; `None` where there is none to be called.
fn answered(input: &[u8]) -> Option<Response> {
    let spec = ChaincodeSpec::decode(input).ok()?;
    let name = spec.chaincode_id.unwrap_or_default().name;
    if !is_system(&name) {
        return None;
    }
    let workers = Workers::new();
    let call = call(peer(&workers), &name, spec.input.unwrap_or_default(), spec.timeout == 0);
    let simulation = call.simulation.clone();
    // A name that is reserved and stands for nothing is refused.
    let answer = runtime().block_on(call.run()).ok()?;
    if let Some(simulation) = simulation {
        check_results(&simulation);
    }
    Some(answer.response)
}

/// What a chaincode sends while it runs a transaction: messages, in a list like that of a block's transactions.
pub fn shim_of_chaincode(input: &[u8]) {
    let _ = conversation(input);
}

/// What the peer has sent back.
fn conversation(input: &[u8]) -> Vec<ChaincodeMessage> {
    let list = BlockData::decode(input).unwrap_or_default();
    let messages = list.data.into_iter().take(64).filter_map(|message| ChaincodeMessage::decode(message).ok());
    let args = ChaincodeInput { args: vec!["f".into()], ..ChaincodeInput::default() };
    let workers = Workers::new();
    let call = call(peer(&workers), CHAINCODE, args, true);
    let simulation = call.simulation.clone();
    let sent = runtime().block_on(shim::fuzzing::converse(messages.collect(), Arc::new(call), CHANNEL, &workers));
    if let Some(simulation) = simulation {
        check_results(&simulation);
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::protos::chaincode_message::Type;

    fn seed(path: &str) -> Vec<u8> {
        std::fs::read(format!("{}/testdata/fuzz/{path}.pb", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    /// Where the checks before it refused everything, nothing would be found.
    #[test]
    fn calls_get_as_far_as_what_is_looked_into() {
        for (name, status, said) in [
            ("qscc_info", 200, ""),
            ("qscc_block", 200, ""),
            ("qscc_newest", 200, ""),
            ("qscc_hash", 500, "Failed to get block hash"),
            ("cscc_channels", 200, ""),
            ("cscc_config", 200, ""),
            ("cscc_join", 200, ""),
            ("lifecycle_install", 200, ""),
            ("lifecycle_approve_new", 200, ""),
            ("lifecycle_approved", 500, "private data matching public hash version is not available"),
            ("lifecycle_committed", 200, ""),
            ("lifecycle_commit", 500, "chaincode definition not agreed to by this org"),
        ] {
            let response = answered(&seed(&format!("system_call/{name}"))).unwrap();
            let found = response.status == status && response.message.contains(said);
            assert!(found, "{name}: {} {}", response.status, response.message);
        }
    }

    #[test]
    fn requests_get_as_far_as_what_is_looked_into() {
        for (name, answers) in [("state", "rrrrrr"), ("private", "rrrrrr"), ("batches", "rr"), ("calls", "rrer")] {
            let sent = conversation(&seed(&format!("shim_of_chaincode/{name}")));
            let shown = sent.iter().map(|message| match message.r#type() {
                Type::Response => 'r',
                Type::Error => 'e',
                other => panic!("{name}: {}", other.as_str_name()),
            });
            assert_eq!(shown.collect::<String>(), answers, "{name}: {sent:?}");
        }
    }
}
