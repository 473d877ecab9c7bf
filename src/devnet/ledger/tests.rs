use super::*;
use crate::pb::common::{BlockHeader, BlockMetadata};

fn block(number: u64) -> Block {
    Block {
        header: Some(BlockHeader { number, ..BlockHeader::default() }),
        data: None,
        metadata: Some(BlockMetadata::default()),
    }
}

fn ledger() -> Arc<Ledger> {
    Arc::new(Ledger::new("ch", "Org1MSP", block(0), Arc::default()))
}

/// A small language for simulations: `r k`, `w k v`, `d k`, `q start end` (whole range), `f start end` (its first entry).
fn simulate(ledger: &Arc<Ledger>, script: &str) -> ReadWriteSet {
    let mut simulator = Simulator::new(Arc::clone(ledger), "tx");
    for step in script.split(';').map(str::trim).filter(|step| !step.is_empty()) {
        let words: Vec<&str> = step.split_whitespace().collect();
        match words[..] {
            ["r", key] => drop(simulator.get("cc", key)),
            ["w", key, value] => simulator.put("cc", key, Some(Bytes::from(value.to_owned()))).unwrap(),
            ["d", key] => simulator.put("cc", key, None).unwrap(),
            ["q", start, end] => {
                let id = simulator.open_range("cc", start, end);
                simulator.next_of_range(id, usize::MAX).unwrap();
            }
            ["f", start, end] => {
                let id = simulator.open_range("cc", start, end);
                simulator.next_of_range(id, 1).unwrap();
            }
            _ => panic!("unknown step {step}"),
        }
    }
    ReadWriteSet::decode(&simulator.results().public).unwrap()
}

fn checked(tx_id: &str, set: ReadWriteSet) -> Checked {
    Checked { tx_id: tx_id.to_owned(), code: TxValidationCode::Valid, set: Some(set) }
}

/// Simulates all scripts on the same state, commits them in one block, and tells the codes.
fn outcome(before: &str, scripts: &[&str]) -> Vec<TxValidationCode> {
    let ledger = ledger();
    let first = simulate(&ledger, before);
    ledger.commit(&block(1), vec![checked("before", first)]);
    let sets = scripts
        .iter()
        .enumerate()
        .map(|(index, script)| checked(&format!("tx{index}"), simulate(&ledger, script)))
        .collect();
    ledger.commit(&block(2), sets);
    (0..scripts.len()).map(|index| ledger.transaction(&format!("tx{index}")).unwrap().code).collect()
}

#[test]
fn conflicts_in_one_block() {
    use TxValidationCode::{MvccReadConflict, PhantomReadConflict, Valid};

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
        (["w z 1", "f a zz"], [Valid, Valid]),
        (["w aa 1", "f a zz"], [Valid, Valid]),
        (["w a 9", "f a zz"], [Valid, PhantomReadConflict]),
        (["w p 1", "q x y"], [Valid, Valid]),
        (["w x1 1", "q x y"], [Valid, PhantomReadConflict]),
    ] {
        assert_eq!(outcome("w a 1; w b 1; w c 1", &scripts), expected, "for {scripts:?}");
    }
}

#[test]
fn a_conflicting_transaction_changes_nothing() {
    let ledger = ledger();
    let one = simulate(&ledger, "r a; w a 1; w b 1");
    let two = simulate(&ledger, "r a; w a 2; w b 2");
    ledger.commit(&block(1), vec![checked("one", one), checked("two", two)]);
    let mut reader = Simulator::new(Arc::clone(&ledger), "reader");
    assert_eq!(reader.get("cc", "b"), Some(Bytes::from("1")));
    let stored = ledger.blocks().get(1).unwrap();
    assert_eq!(stored.metadata.as_ref().unwrap().metadata[2][..], [0, 11]);
}

#[test]
fn a_simulation_sees_neither_its_own_writes_nor_later_blocks() {
    let ledger = ledger();
    let mut simulator = Simulator::new(Arc::clone(&ledger), "tx");
    simulator.put("cc", "a", Some(Bytes::from("own"))).unwrap();
    assert_eq!(simulator.get("cc", "a"), None);
    ledger.commit(&block(1), vec![checked("other", simulate(&ledger, "w b 1"))]);
    assert_eq!(simulator.get("cc", "b"), None);
}

#[test]
fn private_values_reach_members_only() {
    let own = implicit_collection("Org1MSP");
    let private = Arc::new(PrivateSets::default());
    let members = Arc::new(Ledger::new("ch", "Org1MSP", block(0), Arc::clone(&private)));
    let others = Arc::new(Ledger::new("ch", "Org2MSP", block(0), Arc::default()));
    let mut simulator = Simulator::new(Arc::clone(&members), "tx");
    simulator.put_private("_lifecycle", &own, "k", Some(Bytes::from("secret"))).unwrap();
    let results = simulator.results();
    assert!(!results.public.windows(6).any(|part| part == b"secret"), "only hashes are public");
    private.keep("ch", "tx", results.private.unwrap());
    for ledger in [&members, &others] {
        let set = ReadWriteSet::decode(&results.public).unwrap();
        ledger.commit(&block(1), vec![checked("tx", set)]);
    }
    let read = |ledger: &Arc<Ledger>| Simulator::new(Arc::clone(ledger), "r").get_private("_lifecycle", &own, "k");
    assert_eq!(read(&members), Ok(Some(Bytes::from("secret"))));
    assert!(matches!(read(&others), Err(SimulationError::NotAMember { .. })));
    let hash = |ledger: &Arc<Ledger>| {
        Simulator::new(Arc::clone(ledger), "r").get_private_hash("_lifecycle", &own, "k").unwrap()
    };
    assert_eq!(hash(&members), hash(&others));
}

#[test]
fn paged_queries_exclude_writes() {
    let ledger = ledger();
    ledger.commit(&block(1), vec![checked("tx", simulate(&ledger, "w a 1; w b 1; w c 1"))]);
    let mut simulator = Simulator::new(Arc::clone(&ledger), "tx");
    let (page, bookmark) = simulator.page_of_range("cc", "a", "", 2).unwrap();
    assert_eq!((page.len(), bookmark.as_str()), (2, "c"));
    assert!(matches!(simulator.put("cc", "x", None), Err(SimulationError::WriteAfterPaged { .. })));
}
