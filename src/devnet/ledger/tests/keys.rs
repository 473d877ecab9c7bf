//! Keys with policies of their own, keys that go with time, keys that are purged; and long ranges.

use bytes::Bytes;
use prost::Message as _;

use super::kit::{Kit, simulate};
use crate::devnet::ledger::{Metadata, Simulation, SimulationError, VALIDATION_PARAMETER};
use crate::fabric::block::ValidationCode::{
    self, EndorsementPolicyFailure, MvccReadConflict, PhantomReadConflict, Valid,
};
use crate::fabric::identity::SigningIdentity;
use crate::fabric::policy::{ApplicationPolicy, dsl};
use crate::pb::kvrwset;
use crate::pb::protos::{
    CollectionConfig, CollectionConfigPackage, CollectionPolicyConfig, StaticCollectionConfig, collection_config,
    collection_policy_config,
};

/// The chaincode `cc`, which either peer endorses, with a collection of the first organization whose content lives for
/// two blocks (`short`) and one of both whose content stays (`shared`).
fn kit() -> Kit {
    let kit = Kit::new();
    let collection = |name: &str, members: &str, block_to_live| {
        let members = collection_policy_config::Payload::SignaturePolicy(dsl::parse(members).unwrap());
        let config = StaticCollectionConfig {
            name: name.to_owned(),
            member_orgs_policy: Some(CollectionPolicyConfig { payload: Some(members) }),
            block_to_live,
            ..StaticCollectionConfig::default()
        };
        CollectionConfig { payload: Some(collection_config::Payload::StaticCollectionConfig(config)) }
    };
    let config = vec![
        collection("short", "OR('Org1MSP.member')", 2),
        collection("shared", "OR('Org1MSP.member', 'Org2MSP.member')", 0),
    ];
    let either = ApplicationPolicy::Signature(dsl::parse("OR('Org1MSP.peer', 'Org2MSP.peer')").unwrap());
    kit.define("cc", &either, CollectionConfigPackage { config });
    kit
}

fn policy(rule: &str) -> Metadata {
    Metadata::new([(VALIDATION_PARAMETER.to_owned(), dsl::parse(rule).unwrap().encode_to_vec().into())])
}

/// What `work` does, endorsed by the peers of the organizations with the numbers in `who`.
fn endorsed(kit: &Kit, who: &str, work: impl FnOnce(&mut Simulation)) -> Bytes {
    let mut simulation = kit.ledger().simulate();
    work(&mut simulation);
    let endorsers: Vec<&SigningIdentity> =
        who.chars().map(|who| &kit.organizations[usize::from(who != '1')].peer).collect();
    kit.endorsed_by("cc", simulation.finish(), &endorsers).envelope
}

fn commit(kit: &Kit, who: &str, work: impl FnOnce(&mut Simulation)) -> ValidationCode {
    kit.commit(vec![endorsed(kit, who, work)])[0]
}

fn put(simulation: &mut Simulation, collection: &str, key: &str, value: &'static str) {
    let value = Bytes::from_static(value.as_bytes());
    let done = match collection {
        "" => simulation.put("cc", key, value),
        collection => simulation.private_put("cc", collection, key, value),
    };
    done.unwrap();
}

fn guard(simulation: &mut Simulation, collection: &str, key: &str, metadata: Metadata) {
    let done = match collection {
        "" => simulation.put_metadata("cc", key, metadata),
        collection => simulation.put_private_metadata("cc", collection, key, metadata),
    };
    done.unwrap();
}

#[test]
fn a_keys_own_policy_takes_the_place_of_the_chaincodes() {
    for collection in ["", "shared"] {
        let kit = kit();
        let write = |who: &str, key: &str| commit(&kit, who, |it| put(it, collection, key, "new"));
        // Whoever may write the key may guard it.
        let first = commit(&kit, "1", |it| {
            put(it, collection, "k", "old");
            guard(it, collection, "k", policy("OR('Org2MSP.peer')"));
        });
        assert_eq!(first, Valid);
        assert_eq!(write("1", "k"), EndorsementPolicyFailure);
        assert_eq!(write("1", "other"), Valid);
        assert_eq!(write("2", "k"), Valid, "the policy stays with a new value");
        assert_eq!(write("1", "k"), EndorsementPolicyFailure);
        let unguard = |who| commit(&kit, who, |it| guard(it, collection, "k", Metadata::default()));
        assert_eq!(unguard("1"), EndorsementPolicyFailure);
        assert_eq!(unguard("2"), Valid);
        assert_eq!(write("1", "k"), Valid);
    }
}

#[test]
fn where_all_keys_have_policies_the_chaincodes_does_not_count() {
    let kit = Kit::new();
    let both = ApplicationPolicy::Signature(dsl::parse("AND('Org1MSP.peer', 'Org2MSP.peer')").unwrap());
    kit.define("cc", &both, CollectionConfigPackage::default());
    let guarded = commit(&kit, "12", |it| {
        put(it, "", "k", "v");
        guard(it, "", "k", policy("OR('Org1MSP.peer')"));
    });
    assert_eq!(guarded, Valid);
    assert_eq!(commit(&kit, "1", |it| put(it, "", "k", "w")), Valid);
    assert_eq!(commit(&kit, "2", |it| put(it, "", "k", "w")), EndorsementPolicyFailure);
    let two = commit(&kit, "1", |it| {
        put(it, "", "k", "w");
        put(it, "", "l", "w");
    });
    assert_eq!(two, EndorsementPolicyFailure);
}

#[test]
fn a_policy_that_changes_in_a_block_stops_later_writes() {
    let kit = kit();
    assert_eq!(commit(&kit, "1", |it| put(it, "", "k", "v")), Valid);
    let change = endorsed(&kit, "1", |it| guard(it, "", "k", policy("OR('Org1MSP.peer')")));
    let write = endorsed(&kit, "1", |it| put(it, "", "k", "w"));
    let other = endorsed(&kit, "1", |it| put(it, "", "l", "w"));
    assert_eq!(kit.commit(vec![change, write, other]), [Valid, EndorsementPolicyFailure, Valid]);
    // One that does not suffice itself changes nothing, so it stops nobody.
    let change = endorsed(&kit, "2", |it| guard(it, "", "k", policy("OR('Org2MSP.peer')")));
    let write = endorsed(&kit, "1", |it| put(it, "", "k", "x"));
    assert_eq!(kit.commit(vec![change, write]), [EndorsementPolicyFailure, Valid]);
}

#[test]
fn a_policy_that_cannot_be_read_locks_its_key() {
    let kit = kit();
    let garbage = Metadata::new([(VALIDATION_PARAMETER.to_owned(), Bytes::from_static(b"\xff\xff"))]);
    let locked = commit(&kit, "1", |it| {
        put(it, "", "k", "v");
        guard(it, "", "k", garbage);
    });
    assert_eq!(locked, Valid);
    assert_eq!(commit(&kit, "12", |it| put(it, "", "k", "w")), EndorsementPolicyFailure);
}

#[test]
fn metadata_are_a_version_but_no_value() {
    let kit = kit();
    for collection in ["", "shared"] {
        assert_eq!(commit(&kit, "1", |it| put(it, collection, "k", "v")), Valid);
        let read = endorsed(&kit, "1", |it| {
            if collection.is_empty() {
                it.get("cc", "k");
            } else {
                it.private_get("cc", collection, "k").unwrap();
            }
            put(it, collection, "l", "v");
        });
        assert_eq!(commit(&kit, "1", |it| guard(it, collection, "k", policy("OR('Org1MSP.peer')"))), Valid);
        assert_eq!(kit.commit(vec![read]), [MvccReadConflict]);
        // A key that is not there gets none.
        assert_eq!(commit(&kit, "1", |it| guard(it, collection, "none", policy("OR('Org1MSP.peer')"))), Valid);
    }
    let mut simulation = kit.ledger().simulate();
    assert_eq!(simulation.history("cc", "k").len(), 1);
    assert_eq!(simulation.metadata("cc", "k"), policy("OR('Org1MSP.peer')"));
    assert_eq!(simulation.metadata("cc", "none"), Metadata::default());
    assert_eq!(simulation.private_metadata("cc", "shared", "k"), policy("OR('Org1MSP.peer')"));
    // Values follow the versions of their hashes, or they could not be read any more.
    assert_eq!(simulation.private_get("cc", "shared", "k"), Ok(Some(Bytes::from("v"))));
    // A deletion takes the metadata along.
    assert_eq!(commit(&kit, "1", |it| it.delete("cc", "k").unwrap()), Valid);
    assert_eq!(commit(&kit, "2", |it| put(it, "", "k", "w")), Valid);
    assert_eq!(kit.ledger().simulate().metadata("cc", "k"), Metadata::default());
}

#[test]
fn written_keys_tell_their_policies() {
    let kit = kit();
    let own = policy("OR('Org1MSP.peer')");
    commit(&kit, "1", |it| {
        put(it, "shared", "k", "v");
        guard(it, "shared", "k", own.clone());
    });
    let mut simulation = kit.ledger().simulate();
    put(&mut simulation, "shared", "k", "w");
    put(&mut simulation, "", "k", "w");
    simulation.private_get("cc", "shared", "l").unwrap();
    let results = simulation.finish();
    assert_eq!(results.written["cc"]["shared"]["k"], own);
    assert_eq!(results.written["cc"][""]["k"], Metadata::default());
    assert!(results.private_reads.contains(&("cc".to_owned(), "shared".to_owned())));
}

#[test]
fn content_lives_for_its_blocks() {
    let kit = kit();
    let read = || kit.ledger().simulate().private_get("cc", "short", "k");
    let tick = || assert_eq!(commit(&kit, "1", |it| put(it, "", "tick", "t")), Valid);
    assert_eq!(commit(&kit, "1", |it| put(it, "short", "k", "v")), Valid);
    let written = kit.ledger().height() - 1;
    tick();
    tick();
    assert_eq!(read(), Ok(Some(Bytes::from("v"))), "it lives for two blocks more");
    assert_eq!(kit.ledger().private_data(written, |_| true).len(), 1);
    assert!(kit.ledgers[1].private_data(written, |_| true).is_empty(), "a peer of the other organization has none");
    tick();
    assert_eq!(read(), Ok(None));
    assert!(kit.ledger().private_data(written, |_| true).is_empty());
    for ledger in &kit.ledgers {
        assert_eq!(ledger.simulate().private_hash("cc", "short", "k"), None, "the hash goes too, at every peer");
    }
    // What is written again lives on.
    commit(&kit, "1", |it| put(it, "short", "k", "one"));
    tick();
    commit(&kit, "1", |it| put(it, "short", "k", "two"));
    tick();
    tick();
    assert_eq!(read(), Ok(Some(Bytes::from("two"))));
    tick();
    assert_eq!(read(), Ok(None));
}

#[test]
fn what_is_purged_is_gone_from_the_past_too() {
    let kit = kit();
    commit(&kit, "1", |it| {
        put(it, "shared", "k", "secret");
        put(it, "shared", "l", "stays");
    });
    let written = kit.ledger().height() - 1;
    let before = kit.ledger().simulate();
    assert_eq!(commit(&kit, "1", |it| it.private_purge("cc", "shared", "k").unwrap()), Valid);
    for ledger in &kit.ledgers {
        assert_eq!(ledger.simulate().private_get("cc", "shared", "k"), Ok(None));
        let data = ledger.private_data(written, |_| true).remove(&0).unwrap();
        assert!(!data.encode_to_vec().windows(6).any(|part| part == b"secret"));
        assert!(data.encode_to_vec().windows(5).any(|part| part == b"stays"));
    }
    let mut before = before;
    let read = before.private_get("cc", "shared", "k").unwrap_err();
    let at = format!("{{BlockNum: {written}, TxNum: 0}}");
    assert_eq!(
        read.to_string(),
        format!(
            "private data matching public hash version is not available. Public hash version = {at}, Private data \
             version = <nil>"
        )
    );
    assert!(matches!(read, SimulationError::NotAvailable { .. }));
    commit(&kit, "1", |it| put(it, "shared", "k", "again"));
    let again = kit.ledger().height() - 1;
    assert_eq!(kit.ledger().simulate().private_get("cc", "shared", "k"), Ok(Some(Bytes::from("again"))));
    assert_eq!(kit.ledger().private_data(again, |_| true).len(), 1);
}

#[test]
fn long_ranges_are_told_by_hashes_and_guarded_by_them() {
    let kit = Kit::with_chaincode();
    let fill: Vec<_> = (0..130).map(|number| format!("w k{number:03} v")).collect();
    let filled = kit.endorsed("cc", simulate(kit.ledger(), &fill.join(";")));
    assert_eq!(kit.commit(vec![filled.envelope]), [Valid]);
    let ranged = || kit.endorsed("cc", simulate(kit.ledger(), "q k l; w r v"));
    let results = simulate(kit.ledger(), "q k l");
    let set = crate::devnet::ledger::rwset::ReadWriteSet::decode(&results.public).unwrap();
    let told = set.namespaces[0].public.range_queries_info[0].reads_info.clone();
    let Some(kvrwset::range_query_info::ReadsInfo::ReadsMerkleHashes(summary)) = told else {
        panic!("{told:?} is no summary")
    };
    assert_eq!((summary.max_degree, summary.max_level, summary.max_level_hashes.len()), (50, 1, 3));
    let quiet = ranged();
    assert_eq!(kit.commit(vec![quiet.envelope]), [Valid]);
    for change in ["w k0005 v", "w k129 w", "d k000", "w k9 v"] {
        let changed = kit.endorsed("cc", simulate(kit.ledger(), change));
        let stale = ranged();
        assert_eq!(kit.commit(vec![changed.envelope, stale.envelope]), [Valid, PhantomReadConflict], "after {change}");
    }
}
