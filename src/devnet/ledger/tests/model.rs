//! Blocks of random transactions leave the state that a plain map would have after the valid ones, one by one.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::kit::{Kit, simulate};
use crate::fabric::block::ValidationCode::{self, MvccReadConflict, PhantomReadConflict, Valid};

#[derive(Debug, Clone)]
enum Step {
    Read(u8),
    Write(u8),
    Delete(u8),
    Range(u8, u8),
    First(u8, u8),
}

const KEYS: std::ops::Range<u8> = 0..8;

fn key(number: u8) -> String {
    char::from(b'a' + number).to_string()
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        KEYS.prop_map(Step::Read),
        KEYS.prop_map(Step::Write),
        KEYS.prop_map(Step::Delete),
        (KEYS, KEYS).prop_map(|(start, end)| Step::Range(start, end)),
        (KEYS, KEYS).prop_map(|(start, end)| Step::First(start, end)),
    ]
}

/// The map: each key with its value and the transaction that wrote it.
type Map = BTreeMap<String, (String, usize)>;

/// Which transactions wrote what a transaction reads.
#[derive(Debug, Default)]
struct Seen {
    single: Vec<(String, Option<usize>)>,
    ranges: Vec<Vec<(String, usize)>>,
}

/// One transaction, as the map sees it.
struct Transaction {
    steps: Vec<Step>,
    number: usize,
}

impl Transaction {
    fn script(&self) -> String {
        let words: Vec<String> = self
            .steps
            .iter()
            .map(|step| match step {
                Step::Read(at) => format!("r {}", key(*at)),
                Step::Write(at) => format!("w {} {}", key(*at), self.number),
                Step::Delete(at) => format!("d {}", key(*at)),
                Step::Range(start, end) => format!("q {} {}", key(*start), key(*end)),
                Step::First(start, end) => format!("f {} {}", key(*start), key(*end)),
            })
            .collect();
        words.join(";")
    }

    /// What must be found again, were it to run on `map`: single keys, and ranges.
    fn sees(&self, map: &Map) -> Seen {
        let Seen { mut single, mut ranges } = Seen::default();
        let within = |start: u8, end: u8, limit: usize| {
            map.iter()
                .filter(|(name, _)| **name >= key(start) && **name < key(end))
                .map(|(name, (_, writer))| (name.clone(), *writer))
                .take(limit)
                .collect()
        };
        for step in &self.steps {
            match step {
                Step::Read(at) => single.push((key(*at), map.get(&key(*at)).map(|(_, writer)| *writer))),
                Step::Range(start, end) => ranges.push(within(*start, *end, usize::MAX)),
                Step::First(start, end) => ranges.push(within(*start, *end, 1)),
                Step::Write(_) | Step::Delete(_) => {}
            }
        }
        Seen { single, ranges }
    }

    fn apply(&self, map: &mut Map, touched: &mut BTreeSet<String>) {
        // The last write to a key counts, as in a simulation.
        for step in &self.steps {
            match step {
                Step::Write(at) => {
                    map.insert(key(*at), (self.number.to_string(), self.number));
                    touched.insert(key(*at));
                }
                Step::Delete(at) => {
                    map.remove(&key(*at));
                    touched.insert(key(*at));
                }
                _ => {}
            }
        }
    }
}

/// Commits a block to the map, and tells the codes.
fn commit(map: &mut Map, block: &[Transaction]) -> Vec<ValidationCode> {
    let before = map.clone();
    let mut touched = BTreeSet::new();
    let mut codes = Vec::new();
    for transaction in block {
        let (then, now) = (transaction.sees(&before), transaction.sees(map));
        let code = if then.single != now.single || then.single.iter().any(|(name, _)| touched.contains(name)) {
            MvccReadConflict
        } else if then.ranges != now.ranges {
            PhantomReadConflict
        } else {
            transaction.apply(map, &mut touched);
            Valid
        };
        codes.push(code);
    }
    codes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn equals_a_map(
        blocks in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(step(), 1..6), 1..6),
            1..4,
        ),
    ) {
        let kit = Kit::with_chaincode();
        let mut map = Map::new();
        let mut number = 0;
        for block in blocks {
            let block: Vec<Transaction> = block
                .into_iter()
                .map(|steps| {
                    number += 1;
                    Transaction { steps, number }
                })
                .collect();
            let envelopes = block
                .iter()
                .map(|transaction| kit.endorsed("cc", simulate(kit.ledger(), &transaction.script())).envelope)
                .collect();
            let codes = kit.commit(envelopes);
            prop_assert_eq!(codes, commit(&mut map, &block));
            let mut simulation = kit.ledger().simulate();
            let state = simulation.range("cc", "", "");
            let expected: Vec<_> =
                map.iter().map(|(name, (value, _))| (name.clone(), Bytes::from(value.clone()))).collect();
            prop_assert_eq!(state, expected);
        }
    }
}
