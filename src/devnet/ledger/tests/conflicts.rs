//! Which of several transactions of one block hold.

use bytes::Bytes;

use super::kit::{Kit, run, simulate};
use crate::devnet::ledger::{SimulationError, implicit_collection};
use crate::fabric::block::ValidationCode::{self, DuplicateTxid, MvccReadConflict, PhantomReadConflict, Valid};

/// Simulates all scripts on the same state, commits them in one block, and tells the codes.
fn outcome(before: &str, scripts: &[&str]) -> Vec<ValidationCode> {
    let kit = Kit::with_chaincode();
    let first = kit.endorsed("cc", simulate(kit.ledger(), before));
    assert_eq!(kit.commit(vec![first.envelope]), [Valid]);
    let envelopes = scripts.iter().map(|script| kit.endorsed("cc", simulate(kit.ledger(), script)).envelope).collect();
    kit.commit(envelopes)
}

#[test]
fn conflicts_in_one_block() {
    for (scripts, expected) in [
        (["w a 2", "w a 3"], [Valid, Valid]),
        (["w a 2", "r a; w b 1"], [Valid, MvccReadConflict]),
        (["r a; w b 1", "w a 2"], [Valid, Valid]),
        (["d a", "r a"], [Valid, MvccReadConflict]),
        (["w new 1", "r new"], [Valid, MvccReadConflict]),
        (["d new", "r new"], [Valid, MvccReadConflict]),
        (["w aa 1", "q a b"], [Valid, PhantomReadConflict]),
        (["w a 2", "q a b"], [Valid, PhantomReadConflict]),
        (["d a", "q a b"], [Valid, PhantomReadConflict]),
        (["w c 1", "q a b"], [Valid, Valid]),
        // What comes after the one entry that was read does not count.
        (["w aa 1", "f a zz"], [Valid, Valid]),
        (["w a 9", "f a zz"], [Valid, PhantomReadConflict]),
        (["w 0 9", "f 0 zz"], [Valid, PhantomReadConflict]),
        (["d a", "f 0 zz"], [Valid, PhantomReadConflict]),
        (["w x 9", "f x zz"], [Valid, PhantomReadConflict]),
        (["w p 1", "q x y"], [Valid, Valid]),
        (["w x1 1", "q x y"], [Valid, PhantomReadConflict]),
    ] {
        assert_eq!(outcome("w a 1; w b 1; w c 1", &scripts), expected, "for {scripts:?}");
    }
}

#[test]
fn a_conflicting_transaction_changes_nothing() {
    let kit = Kit::with_chaincode();
    let one = kit.endorsed("cc", simulate(kit.ledger(), "r a; w a 1; w b 1"));
    let two = kit.endorsed("cc", simulate(kit.ledger(), "r a; w a 2; w b 2"));
    assert_eq!(kit.commit(vec![one.envelope, two.envelope]), [Valid, MvccReadConflict]);
    assert_eq!(kit.ledger().simulate().get("cc", "b"), Some(Bytes::from("1")));
    let stored = kit.ledger().transaction(&two.tx_id).unwrap();
    assert_eq!(stored.validation_code, 11);
}

#[test]
fn the_first_transaction_with_an_id_counts() {
    let kit = Kit::with_chaincode();
    let one = kit.endorsed("cc", simulate(kit.ledger(), "w a 1"));
    let twice = vec![one.envelope.clone(), one.envelope.clone()];
    assert_eq!(kit.commit(twice), [Valid, DuplicateTxid]);
    assert_eq!(kit.commit(vec![one.envelope]), [DuplicateTxid]);
    assert_eq!(kit.ledger().transaction(&one.tx_id).unwrap().validation_code, 0);
    assert_eq!(kit.ledger().place(&one.tx_id).unwrap().block, 2);
}

#[test]
fn a_simulation_sees_neither_its_own_writes_nor_later_blocks() {
    let kit = Kit::with_chaincode();
    let mut simulation = kit.ledger().simulate();
    simulation.put("cc", "a", Bytes::from("own")).unwrap();
    assert_eq!(simulation.get("cc", "a"), None);
    let other = kit.endorsed("cc", simulate(kit.ledger(), "w b 1"));
    assert_eq!(kit.commit(vec![other.envelope]), [Valid]);
    assert_eq!(simulation.get("cc", "b"), None);
    assert_eq!(kit.ledger().simulate().get("cc", "b"), Some(Bytes::from("1")));
}

#[test]
fn private_values_reach_members_only() {
    let kit = Kit::with_chaincode();
    let own = implicit_collection("Org1MSP");
    let mut simulation = kit.ledger().simulate();
    simulation.private_put("_lifecycle", &own, "k", Bytes::from("secret")).unwrap();
    let results = simulation.finish();
    assert!(!results.public.windows(6).any(|part| part == b"secret"), "only hashes are public");
    let transaction = kit.endorsed("_lifecycle", results);
    assert_eq!(kit.commit(vec![transaction.envelope]), [Valid]);
    let read = |at: usize| kit.ledgers[at].simulate().private_get("_lifecycle", &own, "k");
    assert_eq!(read(0), Ok(Some(Bytes::from("secret"))));
    assert!(matches!(read(1), Err(SimulationError::NotAvailable { .. })));
    let hash = |at: usize| kit.ledgers[at].simulate().private_hash("_lifecycle", &own, "k").unwrap();
    assert_eq!(hash(0), hash(1));
}

#[test]
fn paged_queries_exclude_writes() {
    let kit = Kit::with_chaincode();
    let transaction = kit.endorsed("cc", simulate(kit.ledger(), "w a 1; w b 1; w c 1"));
    kit.commit(vec![transaction.envelope]);
    let mut simulation = kit.ledger().simulate();
    let page = simulation.open_page("cc", "a", "", 2).unwrap();
    let entries: Vec<_> = std::iter::from_fn(|| simulation.next_of_range(page).unwrap()).collect();
    assert_eq!((entries.len(), simulation.bookmark(page).as_str()), (2, "c"));
    let refused = simulation.delete("cc", "x").unwrap_err().to_string();
    assert!(
        refused.ends_with("Transaction has already performed a paginated query. Writes are not allowed"),
        "{refused}"
    );
    let mut simulation = kit.ledger().simulate().of("t");
    simulation.delete("cc", "x").unwrap();
    let refused = simulation.open_page("cc", "a", "", 2).unwrap_err().to_string();
    let expected = "txid [t]: unsuppored transaction. Paginated queries are supported only in a read-only transaction";
    assert_eq!(refused, expected);
}

#[test]
fn watchers_see_the_block_they_are_told_of() {
    let kit = Kit::with_chaincode();
    let mut watch = kit.ledger().watch();
    let transaction = kit.endorsed("cc", simulate(kit.ledger(), "w a 1"));
    kit.commit(vec![transaction.envelope]);
    run(watch.changed()).unwrap();
    let height = *watch.borrow();
    assert_eq!((height, kit.ledger().height()), (3, 3));
    assert!(kit.ledger().block(2).is_some());
}
