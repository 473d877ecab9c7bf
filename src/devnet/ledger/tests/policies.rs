//! Whose endorsements suffice for what, and who governs that.

use bytes::Bytes;
use prost::Message as _;

use super::kit::{CHANNEL, Kit, codes, next_block, reference, run};
use crate::devnet::ledger::{SimulationError, implicit_collection};
use crate::devnet::lifecycle::state::LIFECYCLE;
use crate::fabric::block::ValidationCode::{self, EndorsementPolicyFailure, InvalidChaincode, Valid};
use crate::fabric::identity::{Signer as _, SigningIdentity};
use crate::fabric::policy::{ApplicationPolicy, dsl};
use crate::pb::common::{self, ConfigEnvelope, HeaderType};
use crate::pb::protos::{
    CollectionConfig, CollectionConfigPackage, CollectionPolicyConfig, StaticCollectionConfig, collection_config,
    collection_policy_config,
};

fn signature(rule: &str) -> ApplicationPolicy {
    ApplicationPolicy::Signature(dsl::parse(rule).unwrap())
}

fn collection(name: &str, members: &str, policy: Option<&str>) -> CollectionConfig {
    let members = collection_policy_config::Payload::SignaturePolicy(dsl::parse(members).unwrap());
    let config = StaticCollectionConfig {
        name: name.to_owned(),
        member_orgs_policy: Some(CollectionPolicyConfig { payload: Some(members) }),
        endorsement_policy: policy.map(|rule| signature(rule).to_message()),
        ..StaticCollectionConfig::default()
    };
    CollectionConfig { payload: Some(collection_config::Payload::StaticCollectionConfig(config)) }
}

/// Chaincodes under several policies.
fn kit() -> Kit {
    let kit = Kit::new();
    let none = CollectionConfigPackage::default();
    kit.define("majority", &reference("/Channel/Application/Endorsement"), none.clone());
    kit.define("nowhere", &reference("/Channel/Application/Missing"), none.clone());
    kit.define("any", &signature("OR('Org1MSP.peer', 'Org2MSP.peer')"), none.clone());
    kit.define("both", &signature("AND('Org1MSP.peer', 'Org2MSP.peer')"), none);
    let collections = CollectionConfigPackage {
        config: vec![
            collection("shared", "OR('Org1MSP.member', 'Org2MSP.member')", None),
            collection("second", "OR('Org2MSP.member')", Some("OR('Org2MSP.peer')")),
        ],
    };
    kit.define("private", &signature("OR('Org1MSP.peer')"), collections);
    kit
}

/// Who endorses: a digit for the peer of that organization, `c` for the first one's client.
fn endorsers<'a>(kit: &'a Kit, who: &str) -> Vec<&'a SigningIdentity> {
    who.chars()
        .map(|who| match who {
            '1' => &kit.organizations[0].peer,
            '2' => &kit.organizations[1].peer,
            _ => &kit.organizations[0].client,
        })
        .collect()
}

#[test]
fn what_is_written_decides() {
    let kit = kit();
    let own = implicit_collection("Org1MSP");
    let other = implicit_collection("Org3MSP");
    // The chaincode that is invoked, the places that are written to (`namespace` or `namespace/collection`), who.
    let cases: &[(&str, &[&str], &str, ValidationCode)] = &[
        ("majority", &["majority"], "12", Valid),
        ("majority", &["majority"], "1", EndorsementPolicyFailure),
        ("majority", &["majority"], "1c", EndorsementPolicyFailure),
        ("majority", &[], "1", EndorsementPolicyFailure),
        ("nowhere", &["nowhere"], "12", EndorsementPolicyFailure),
        ("any", &["any"], "1", Valid),
        ("any", &["any"], "2", Valid),
        ("any", &["any"], "c", EndorsementPolicyFailure),
        ("both", &["both"], "21", Valid),
        ("both", &["both"], "2", EndorsementPolicyFailure),
        // One chaincode calls another.
        ("any", &["any", "both"], "1", EndorsementPolicyFailure),
        ("any", &["both"], "12", Valid),
        ("any", &["any", "undefined"], "12", InvalidChaincode),
        ("undefined", &[], "12", InvalidChaincode),
        ("qscc", &[], "12", InvalidChaincode),
        // Approvals and commits.
        (LIFECYCLE, &[LIFECYCLE], "12", Valid),
        (LIFECYCLE, &[LIFECYCLE], "1", EndorsementPolicyFailure),
        (LIFECYCLE, &["_lifecycle/own"], "1", Valid),
        (LIFECYCLE, &["_lifecycle/own"], "2", EndorsementPolicyFailure),
        (LIFECYCLE, &["_lifecycle/own", LIFECYCLE], "1", EndorsementPolicyFailure),
        (LIFECYCLE, &["_lifecycle/other"], "12", EndorsementPolicyFailure),
        (LIFECYCLE, &["_lifecycle/shared"], "12", EndorsementPolicyFailure),
        // Collections.
        ("private", &["private/shared"], "1", Valid),
        ("private", &["private/shared"], "2", EndorsementPolicyFailure),
        ("private", &["private/second"], "2", Valid),
        ("private", &["private/second"], "1", EndorsementPolicyFailure),
        ("private", &["private/second", "private"], "2", EndorsementPolicyFailure),
        ("private", &["private/none"], "12", EndorsementPolicyFailure),
    ];
    for (invoked, places, who, code) in cases {
        let mut simulation = kit.ledger().simulate();
        for place in *places {
            let value = Bytes::from_static(b"v");
            match place.split_once('/') {
                None => simulation.put(place, "k", value).unwrap(),
                Some((namespace, "own")) => simulation.private_put(namespace, &own, "k", value).unwrap(),
                Some((namespace, "other")) => simulation.private_put(namespace, &other, "k", value).unwrap(),
                Some((namespace, collection)) => {
                    simulation.private_put(namespace, collection, "k", value).unwrap();
                }
            }
        }
        let transaction = kit.endorsed_by(invoked, simulation.finish(), &endorsers(&kit, who));
        assert_eq!(kit.commit(vec![transaction.envelope]), [*code], "{invoked} writes {places:?}, endorsed by {who}");
    }
}

#[test]
fn members_of_a_collection_hold_it() {
    let kit = kit();
    let mut simulation = kit.ledger().simulate();
    simulation.private_put("private", "shared", "k", Bytes::from("for both")).unwrap();
    simulation.private_put("private", "second", "k", Bytes::from("for one")).unwrap();
    let transaction = kit.endorsed("private", simulation.finish());
    assert_eq!(kit.commit(vec![transaction.envelope]), [Valid]);
    let read = |at: usize, collection| kit.ledgers[at].simulate().private_get("private", collection, "k");
    for at in [0, 1] {
        assert_eq!(read(at, "shared"), Ok(Some(Bytes::from("for both"))));
    }
    assert!(matches!(read(0, "second"), Err(SimulationError::NotAvailable { .. })));
    assert_eq!(read(1, "second"), Ok(Some(Bytes::from("for one"))));
    let range = kit.ledgers[1].simulate().private_range("private", "second", "", "");
    assert_eq!(range, Ok(vec![("k".to_owned(), Bytes::from("for one"))]));
}

#[test]
fn a_definition_counts_from_the_next_block() {
    let kit = Kit::new();
    let transaction = |kit: &Kit| {
        let mut simulation = kit.ledger().simulate();
        simulation.put("new", "k", Bytes::from_static(b"v")).unwrap();
        kit.endorsed("new", simulation.finish()).envelope
    };
    let before = transaction(&kit);
    assert_eq!(kit.commit(vec![before]), [InvalidChaincode]);
    kit.define("new", &signature("OR('Org1MSP.peer')"), CollectionConfigPackage::default());
    let after = transaction(&kit);
    assert_eq!(kit.commit(vec![after]), [Valid]);
}

/// A configuration as an orderer puts it into a block, changed by `change`.
fn config(kit: &Kit, change: impl FnOnce(&mut common::Config)) -> Bytes {
    let signer = &kit.organizations[0].peer;
    let mut config = kit.ledger().current().rules.config().config().clone();
    config.sequence += 1;
    change(&mut config);
    let channel_header = common::ChannelHeader {
        r#type: HeaderType::Config.into(),
        channel_id: CHANNEL.to_owned(),
        ..common::ChannelHeader::default()
    };
    let signature_header =
        common::SignatureHeader { creator: signer.creator().clone(), nonce: Bytes::from_static(b"nonce") };
    let payload = common::Payload {
        header: Some(common::Header {
            channel_header: channel_header.encode_to_vec().into(),
            signature_header: signature_header.encode_to_vec().into(),
        }),
        data: ConfigEnvelope { config: Some(config), last_update: None }.encode_to_vec().into(),
    };
    let payload = Bytes::from(payload.encode_to_vec());
    let signature = signer.sign_now(&payload);
    common::Envelope { payload, signature }.encode_to_vec().into()
}

#[test]
fn a_configuration_rules_from_the_next_block() {
    let kit = kit();
    let write = |kit: &Kit| {
        let mut simulation = kit.ledger().simulate();
        simulation.put("any", "k", Bytes::from_static(b"v")).unwrap();
        kit.endorsed_by("any", simulation.finish(), &endorsers(kit, "2")).envelope
    };
    let before = kit.ledger().height();
    let skipped = config(&kit, |config| config.sequence += 1);
    assert_eq!(kit.commit(vec![skipped]), [ValidationCode::InvalidConfigTransaction]);
    let broken = config(&kit, |config| config.channel_group = None);
    assert_eq!(kit.commit(vec![broken]), [ValidationCode::InvalidConfigTransaction]);
    assert_eq!(kit.ledger().current().rules.config().sequence(), 0);
    let transaction = write(&kit);
    assert_eq!(kit.commit(vec![transaction]), [Valid]);

    let without_second = config(&kit, |config| {
        for section in ["Application", "Orderer"] {
            let group = config.channel_group.as_mut().unwrap().groups.get_mut(section).unwrap();
            assert!(group.groups.remove("Org2MSP").is_some());
        }
    });
    assert_eq!(kit.commit(vec![without_second]), [Valid]);
    assert_eq!(kit.ledger().current().rules.config().sequence(), 1);
    assert_eq!(kit.ledger().config_block().header.as_ref().unwrap().number, before + 3);
    let transaction = write(&kit);
    assert_eq!(kit.commit(vec![transaction]), [EndorsementPolicyFailure]);
    // One of one organization is a majority now.
    let mut simulation = kit.ledger().simulate();
    simulation.put("majority", "k", Bytes::from_static(b"v")).unwrap();
    let transaction = kit.endorsed_by("majority", simulation.finish(), &endorsers(&kit, "1"));
    assert_eq!(kit.commit(vec![transaction.envelope]), [Valid]);
}

#[test]
fn blocks_are_found_by_number_hash_and_transaction() {
    let kit = kit();
    let mut simulation = kit.ledger().simulate();
    simulation.put("any", "k", Bytes::from_static(b"v")).unwrap();
    let transaction = kit.endorsed("any", simulation.finish());
    let block = next_block(kit.ledger(), vec![transaction.envelope.clone()]);
    run(kit.ledger().commit(block)).unwrap();
    let number = kit.ledger().height() - 1;
    let block = kit.ledger().block(number).unwrap();
    assert_eq!(codes(&block), [Valid]);
    let info = kit.ledger().info();
    assert_eq!(info.height, number + 1);
    assert_eq!(kit.ledger().block_by_hash(&info.current_block_hash), Some(block.clone()));
    assert_eq!(kit.ledger().block_by_tx_id(&transaction.tx_id), Some(block));
    assert_eq!(kit.ledger().block_by_hash(b"none"), None);
    assert!(kit.ledger().block(number + 1).is_none());
    assert!(kit.ledger().has_tx(&transaction.tx_id));
    let found = kit.ledger().transaction(&transaction.tx_id).unwrap();
    assert_eq!(found.transaction_envelope.unwrap().encode_to_vec(), transaction.envelope);
}
