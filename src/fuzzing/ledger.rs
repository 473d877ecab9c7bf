//! Blocks, transactions, proposals, configurations, and what `_lifecycle` says.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use bytes::Bytes;
use prost::Message;

use crate::fabric::block::{self, Block, BlockWithPrivateData, Kind};
use crate::fabric::config::{ChannelConfig, go_duration};
use crate::fabric::identity::Role;
use crate::fabric::lifecycle::{ChaincodeDefinition, approved_package};
use crate::fabric::names::{ChaincodeName, ChannelName, Label, MspId, PackageId, TxId};
use crate::fabric::policy::Member;
use crate::fabric::tx::{Proposal, UnsignedTransaction};
use crate::pb::common::Envelope;
use crate::pb::rwset::TxPvtReadWriteSet;
use crate::pb::{lifecycle as pb, protos};

const PRIVATE: &[u8] = include_bytes!("../../testdata/golden/blocks/22-private/block.pb");
const GENESIS: &[u8] = include_bytes!("../../testdata/golden/blocks/00-genesis/block.pb");

fn owned(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// The configuration of a channel whose blocks are among the seeds.
fn known() -> &'static ChannelConfig {
    static KNOWN: OnceLock<ChannelConfig> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let genesis = Block::decode(GENESIS).expect("a file of this repository");
        ChannelConfig::from_block(genesis.raw()).expect("a file of this repository")
    })
}

/// A block, its transactions, metadata, events and hashes.
///
/// What is decoded, encoded and decoded again is the same, and events are those of readable transactions.
pub fn block(input: &[u8]) {
    let Ok(block) = Block::decode(owned(input)) else { return };
    let again = Block::decode(block.raw().encode_to_vec()).expect("what was encoded can be decoded");
    assert_eq!(again.raw(), block.raw());
    assert_eq!(again.hash(), block.hash());
    if known().check_block(&block).is_ok() {
        assert!(block.check_data().is_ok(), "what orderers vouch for does not contradict itself");
    }
    let _ = block.is_config();
    let _ = (block::signatures(block.raw()), block::last_config(block.raw()), block::commit_hash(block.raw()));
    for transaction in block.transactions() {
        let _ = transaction.creator();
        for action in transaction.actions() {
            let _ = action.read_write_set();
        }
    }
    let lenient = block::filtered_block_leniently("", block.raw());
    assert!(lenient.filtered_transactions.len() <= block.transactions().len());
    if let Ok(filtered) = block::filtered_block("", block.raw()) {
        assert_eq!(filtered, lenient, "nothing is hidden where everything can be read");
    }
    let Ok(events) = block::chaincode_events(block.raw()) else { return };
    for event in events {
        let transaction = &block.transactions()[event.tx_index];
        assert!(transaction.validation.is_valid());
        assert_eq!(transaction.tx_id.as_ref(), Some(&event.tx_id));
        // The events are found with a shorter look than transactions are taken apart with.
        if let Kind::Endorsed(actions) = &transaction.kind {
            let names = actions.iter().filter_map(|action| action.event.as_ref()).map(|event| &event.event_name);
            assert!(names.collect::<BTreeSet<_>>().contains(&event.name));
        }
    }
}

/// A block with private data beside it, or a set of such data.
///
/// What is found to belong to its block is written by one of the block's transactions.
pub fn private_data(input: &[u8]) {
    let mut messages: Vec<_> = protos::BlockAndPrivateData::decode(input).into_iter().collect();
    if let Ok(set) = TxPvtReadWriteSet::decode(input) {
        let block = Block::decode(PRIVATE).expect("a file of this repository").into_raw();
        messages.push(protos::BlockAndPrivateData { block: Some(block), private_data_map: [(0, set)].into() });
    }
    for message in messages {
        let found = BlockWithPrivateData::of_message(message);
        let (writes, checked) = (found.writes(), found.check());
        let count = found.block.data.as_ref().map_or(0, |data| data.data.len());
        if checked.is_ok() {
            assert!(writes.is_ok_and(|writes| writes.iter().all(|write| write.tx_index < count as u64)));
        }
    }
}

/// A filtered block.
pub fn filtered_block(input: &[u8]) {
    let Ok(block) = protos::FilteredBlock::decode(input) else { return };
    for event in block::filtered_events(&block).unwrap_or_default() {
        assert!(event.tx_index < block.filtered_transactions.len());
    }
}

/// A block that sets a channel's configuration, with all that is in it: organizations, policies, values.
pub fn config_block(input: &[u8]) {
    let Ok(block) = Block::decode(owned(input)) else { return };
    let _ = crate::client::fuzzing::topology(block.raw());
    let Ok(config) = ChannelConfig::from_block(block.raw()) else { return };
    let again = ChannelConfig::from_config(config.channel().clone(), config.config().clone());
    assert_eq!(again.expect("it was read before").sequence(), config.sequence());
    let _ = config.orderer_addresses();
    let members: Vec<Member> = config
        .application()
        .keys()
        .chain(config.orderers().keys())
        .flat_map(|msp_id| Role::ALL.into_iter().map(|role| Member { msp_id: msp_id.clone(), role }))
        .collect();
    for path in ["Readers", "Writers", "Admins", "Application/Endorsement", "Orderer/BlockValidation"] {
        let path = format!("/Channel/{path}");
        let known = config.policies().contains(&path);
        assert!(known || config.policies().evaluate_members(&path, &members).is_err());
        assert!(known || config.policies().signature_policy(&path).is_none());
        let _ = config.policies().evaluate(&path, &[]);
    }
    let _ = config.check_block(&block);
    for transaction in block.transactions() {
        let _ = config.identity(&transaction.creator);
    }
}

/// An envelope: a transaction, a configuration update, a request for blocks.
pub fn envelope(input: &[u8]) {
    let _ = crate::client::fuzzing::updated_channel(owned(input));
    let Ok(envelope) = Envelope::decode(input) else { return };
    if let Ok(transaction) = UnsignedTransaction::decode(envelope.payload.clone()) {
        assert_eq!(transaction.payload(), &envelope.payload);
        let again = UnsignedTransaction::decode(transaction.payload().clone()).expect("it was read before");
        assert_eq!(again.tx_id(), transaction.tx_id());
        assert_eq!(again.digest(), transaction.digest());
    }
}

/// A proposal that comes from elsewhere, or a signed one.
pub fn proposal(input: &[u8]) {
    let signed = protos::SignedProposal::decode(input).map(|signed| signed.proposal_bytes);
    for bytes in [Some(owned(input)), signed.ok()].into_iter().flatten() {
        let Ok(proposal) = Proposal::decode(bytes.clone()) else { continue };
        assert_eq!(proposal.bytes(), &bytes);
        let again = Proposal::decode(bytes).expect("it was read before");
        assert_eq!((again.tx_id(), again.hash()), (proposal.tx_id(), proposal.hash()));
        let _ = proposal.adopt(&owned(input));
    }
}

/// The answer of an endorser.
pub fn proposal_response(input: &[u8]) {
    let response = protos::ProposalResponse::decode(input).unwrap_or_default();
    let proposal = crate::client::fuzzing::proposal();
    if let Ok(transaction) = proposal.assemble(&[response.clone(), response]) {
        let (_, result) = proposal.adopt(transaction.payload()).unwrap_or_else(|_| (transaction, Bytes::new()));
        assert!(result.len() <= input.len());
    }
    let _ = proposal.adopt(&owned(input));
}

/// What `_lifecycle` is asked and answers.
pub fn lifecycle(input: &[u8]) {
    fn read<M: Message + Default>(input: &[u8]) -> Option<M> {
        M::decode(input).ok()
    }
    let name = ChaincodeName::parse("basic").expect("a name that is in order");
    let defined = |definition: ChaincodeDefinition| {
        let complete = definition.with_defaults();
        assert_eq!(complete.clone().with_defaults(), complete);
        let commit = complete.commit_args();
        assert_eq!(read::<pb::CommitChaincodeDefinitionArgs>(&commit.encode_to_vec()), Some(commit));
    };
    if let Some(approved) = read::<pb::QueryApprovedChaincodeDefinitionResult>(input) {
        let _ = approved_package(approved.source.as_ref());
        defined(ChaincodeDefinition::from_approved(name.clone(), approved));
    }
    if let Some(committed) = read::<pb::QueryChaincodeDefinitionResult>(input) {
        defined(ChaincodeDefinition::from_committed(name, committed));
    }
    let _ = read::<pb::QueryInstalledChaincodesResult>(input);
    let _ = read::<pb::CheckCommitReadinessResult>(input);
    let _ = read::<pb::QueryChaincodeDefinitionsResult>(input);
    let _ = read::<pb::ApproveChaincodeDefinitionForMyOrgArgs>(input);
}

/// Names and other short texts of the ledger.
pub fn names(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    macro_rules! kept {
        ($($name:ident)+) => {$(
            match $name::parse(&*text) {
                Ok(name) => assert_eq!(name.as_str(), text),
                Err(error) => assert!(error.to_string().len() < 2000, "an error is for reading"),
            }
        )+};
    }
    kept!(ChannelName MspId ChaincodeName Label PackageId TxId);
    let _ = go_duration(&text);
}
