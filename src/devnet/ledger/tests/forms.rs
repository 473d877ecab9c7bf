//! The code that each defect of a transaction gets, and that no bytes do harm.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;

use super::draft::Draft;
use super::kit::{Kit, next_block, run, simulate};
use crate::devnet::ledger::LedgerError;
use crate::fabric::block::ValidationCode::{self, Valid};
use crate::fabric::identity::Signer as _;
use crate::pb::common::{HeaderType, SignatureHeader};
use crate::pb::rwset::TxReadWriteSet;

#[test]
fn defects_and_their_codes() {
    type Change = fn(&mut Draft);
    let cases: [(&str, Change, ValidationCode); 19] = [
        ("none", |_| {}, Valid),
        ("kind unknown", |draft| draft.channel_header.r#type = 99, ValidationCode::BadCommonHeader),
        (
            "an update as such",
            |draft| draft.channel_header.r#type = HeaderType::ConfigUpdate.into(),
            ValidationCode::UnsupportedTxPayload,
        ),
        ("epoch", |draft| draft.channel_header.epoch = 1, ValidationCode::BadCommonHeader),
        ("no nonce", |draft| draft.signature_header.nonce.clear(), ValidationCode::BadCommonHeader),
        ("no creator", |draft| draft.signature_header.creator.clear(), ValidationCode::BadCommonHeader),
        (
            "creator unknown",
            |draft| {
                draft.signature_header.creator = Bytes::from("nobody");
                draft.rename();
            },
            ValidationCode::BadCreatorSignature,
        ),
        (
            "other channel",
            |draft| draft.channel_header.channel_id = "other".to_owned(),
            ValidationCode::TargetChainNotFound,
        ),
        ("ID of another", |draft| draft.channel_header.tx_id = "ab".repeat(32), ValidationCode::BadProposalTxid),
        ("no action", |draft| draft.actions = 0, ValidationCode::InvalidEndorserTransaction),
        ("two actions", |draft| draft.actions = 2, ValidationCode::InvalidEndorserTransaction),
        (
            "action without signer",
            |draft| draft.action_header = SignatureHeader::default(),
            ValidationCode::InvalidEndorserTransaction,
        ),
        (
            "endorsed for another proposal",
            |draft| draft.proposal_hash = Some(Bytes::from_static(&[7; 32])),
            ValidationCode::InvalidEndorserTransaction,
        ),
        (
            "another chaincode ran",
            |draft| draft.action.chaincode_id.as_mut().unwrap().name = "other".to_owned(),
            ValidationCode::InvalidChaincode,
        ),
        (
            "no version",
            |draft| draft.action.chaincode_id.as_mut().unwrap().version.clear(),
            ValidationCode::InvalidChaincode,
        ),
        ("no chaincode", |draft| draft.action.chaincode_id = None, ValidationCode::InvalidOtherReason),
        ("results are rubbish", |draft| draft.action.results = Bytes::from_static(&[1, 2]), ValidationCode::BadRwset),
        (
            "event of another chaincode",
            |draft| {
                let event =
                    crate::pb::protos::ChaincodeEvent { chaincode_id: "other".to_owned(), ..Default::default() };
                draft.action.events = event.encode_to_vec().into();
            },
            ValidationCode::InvalidOtherReason,
        ),
        (
            "namespace twice",
            |draft| {
                let mut set = TxReadWriteSet::decode(draft.action.results.clone()).unwrap();
                set.ns_rwset.push(set.ns_rwset[0].clone());
                draft.action.results = set.encode_to_vec().into();
            },
            ValidationCode::IllegalWriteset,
        ),
    ];
    let kit = Kit::with_chaincode();
    let endorsers: Vec<_> = kit.organizations.iter().map(|organization| &organization.peer).collect();
    for (defect, change, code) in cases {
        let mut draft = Draft::of(&kit.endorsed("cc", simulate(kit.ledger(), "w a 1")));
        change(&mut draft);
        let envelope = draft.sign(&kit.organizations[0].client, &endorsers);
        assert_eq!(kit.commit(vec![envelope]), [code], "{defect}");
    }
}

#[test]
fn signatures_are_checked() {
    let kit = Kit::with_chaincode();
    let endorsed = kit.endorsed("cc", simulate(kit.ledger(), "w a 1"));
    let draft = Draft::of(&endorsed);
    let peers: Vec<_> = kit.organizations.iter().map(|organization| &organization.peer).collect();
    let by_another = draft.sign(&kit.organizations[1].client, &peers);
    assert_eq!(kit.commit(vec![by_another]), [ValidationCode::BadCreatorSignature]);
    // Its ID is used up, whatever became of it.
    assert_eq!(kit.commit(vec![endorsed.envelope]), [ValidationCode::DuplicateTxid]);
    assert!(kit.organizations[0].client.msp_id() != kit.organizations[1].client.msp_id());
}

#[test]
fn only_the_next_block_of_this_chain_is_taken() {
    let kit = Kit::new();
    let next = next_block(kit.ledger(), vec![Bytes::from("rubbish")]);
    let mut of_another_chain = next.clone();
    of_another_chain.header.as_mut().unwrap().previous_hash = Bytes::from_static(&[1; 32]);
    let mut changed = next.clone();
    changed.data.as_mut().unwrap().data.push(Bytes::from("more"));
    let mut early = next.clone();
    early.header.as_mut().unwrap().number = 2;
    let mut headless = next.clone();
    headless.header = None;
    let refused = |block| run(kit.ledger().commit(block)).unwrap_err();
    assert!(matches!(refused(of_another_chain), LedgerError::PreviousHash(1)));
    assert!(matches!(refused(changed), LedgerError::DataHash(1)));
    assert!(matches!(refused(early), LedgerError::NotNext { expected: 1, got: 2 }));
    assert!(matches!(refused(headless), LedgerError::Missing("header")));
    assert_eq!(kit.ledger().height(), 1);
    run(kit.ledger().commit(next.clone())).unwrap();
    assert!(matches!(refused(next), LedgerError::NotNext { expected: 2, got: 1 }));
}

#[test]
fn rubbish_is_marked() {
    let kit = Kit::new();
    let bytes = prop::collection::vec(any::<u8>(), 0..200);
    proptest!(ProptestConfig::with_cases(64), |(envelopes in prop::collection::vec(bytes, 0..8))| {
        let count = envelopes.len();
        let codes = kit.commit(envelopes.into_iter().map(Bytes::from).collect());
        prop_assert_eq!(codes.len(), count);
        prop_assert!(codes.iter().all(|code| !code.is_valid()));
    });
}

#[test]
fn one_changed_bit_makes_it_invalid() {
    let kit = Kit::with_chaincode();
    let results = || simulate(kit.ledger(), "r b; q a c; w a 1");
    proptest!(ProptestConfig::with_cases(100), |(at in any::<prop::sample::Index>(), bit in 0..8_u8)| {
        let mut envelope = kit.endorsed("cc", results()).envelope.to_vec();
        let at = at.index(envelope.len());
        envelope[at] ^= 1 << bit;
        let codes = kit.commit(vec![envelope.into()]);
        prop_assert!(!codes[0].is_valid(), "byte {}", at);
    });
}
