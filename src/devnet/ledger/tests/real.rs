//! Blocks of a real network get the codes that real peers gave.
//!
//! The golden blocks are some of one chain. Where there is a gap an empty block stands, and what later blocks need of
//! it (the definition of one chaincode) is written by hand.

use std::path::Path;
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use prost::Message as _;

use super::kit::{LifecycleKeys, codes, run};
use crate::devnet::ledger::rwset::ReadWriteSet;
use crate::devnet::ledger::state::{Metadata, Namespace, State};
use crate::devnet::ledger::{Ledger, PrivateStore, Simulation, Version, apply};
use crate::devnet::lifecycle;
use crate::devnet::lifecycle::state::{Definition, NAMESPACES};
use crate::fabric::block;
use crate::fabric::names::MspId;
use crate::fabric::policy::{ApplicationPolicy, dsl};
use crate::pb::common::Block;
use crate::pb::kvrwset;

fn golden(case: &str) -> Block {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden/blocks").join(case).join("block.pb");
    Block::decode(std::fs::read(path).unwrap().as_slice()).unwrap()
}

/// The blocks by their folders, which begin with their numbers.
fn cases() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden/blocks");
    let mut cases: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(|first: char| first.is_ascii_digit()))
        .collect();
    cases.sort();
    cases
}

/// What the transactions of a block read and write.
fn sets_of(case: &str) -> Vec<ReadWriteSet> {
    let block = block::Block::new(golden(case)).unwrap();
    let actions = block.transactions().iter().flat_map(block::Transaction::actions);
    actions.map(|action| ReadWriteSet::decode(&action.results).unwrap()).collect()
}

/// The keys that a first definition of `golden` is written as.
fn written(definition: &Definition) -> Vec<kvrwset::KvWrite> {
    let mut simulation = Simulation::new(Arc::default(), 0);
    lifecycle::state::write(&mut LifecycleKeys(&mut simulation), NAMESPACES, "golden", definition).unwrap();
    ReadWriteSet::decode(&simulation.finish().public).unwrap().namespaces.remove(0).public.writes
}

/// Writes the definition of `chaincode` that block `number` held.
fn define(ledger: &Ledger, number: u64, chaincode: &str, rule: &str) {
    let mut definition = Definition { sequence: 1, ..Definition::default() };
    definition.parameters.validation.validation_plugin = "vscc".to_owned();
    definition.parameters.validation.validation_parameter =
        ApplicationPolicy::Signature(dsl::parse(rule).unwrap()).encode();
    let mut simulation = ledger.simulate();
    lifecycle::state::write(&mut LifecycleKeys(&mut simulation), NAMESPACES, chaincode, &definition).unwrap();
    let set = ReadWriteSet::decode(&simulation.finish().public).unwrap();
    let version = Version { block: number, transaction: 0 };
    apply::apply(&mut ledger.state.write().unwrap(), &set, version, &[], &mut apply::Applied::default());
}

/// What a simulation of the same steps makes of them, on a state in which everything has the version that was read.
fn again(set: &ReadWriteSet) -> Bytes {
    let mut state = State::default();
    let value = Some(Bytes::from_static(b"v"));
    for in_namespace in &set.namespaces {
        let namespace = Namespace::Public(in_namespace.name.clone());
        let ranges = in_namespace.public.range_queries_info.iter().flat_map(raw_reads);
        for read in in_namespace.public.reads.iter().chain(ranges) {
            if let Some(version) = &read.version {
                state.put(&namespace, &read.key, version.into(), value.clone(), Metadata::default());
            }
        }
    }
    let mut simulation = Simulation::new(Arc::new(RwLock::new(state)), u64::MAX);
    for in_namespace in set.namespaces.iter().rev() {
        let name = &in_namespace.name;
        for query in &in_namespace.public.range_queries_info {
            assert!(query.itr_exhausted);
            simulation.range(name, &query.start_key, &query.end_key);
        }
        for write in in_namespace.public.writes.iter().rev() {
            simulation.put(name, &write.key, write.value.clone()).unwrap();
        }
        for read in in_namespace.public.reads.iter().rev() {
            simulation.get(name, &read.key);
        }
    }
    simulation.finish().public
}

fn raw_reads(query: &kvrwset::RangeQueryInfo) -> Vec<&kvrwset::KvRead> {
    match &query.reads_info {
        Some(kvrwset::range_query_info::ReadsInfo::RawReads(reads)) => reads.kv_reads.iter().collect(),
        _ => Vec::new(),
    }
}

#[test]
fn sets_have_the_bytes_of_real_peers() {
    let mut compared = 0;
    for case in cases() {
        let block = block::Block::new(golden(&case)).unwrap();
        for action in block.transactions().iter().flat_map(block::Transaction::actions) {
            let set = ReadWriteSet::decode(&action.results).unwrap();
            // Of collections only hashes are known.
            if set.namespaces.iter().all(|set| set.collections.is_empty()) {
                assert_eq!(again(&set), action.results, "in {case}");
                compared += 1;
            }
        }
    }
    assert!(compared > 10, "{compared} transactions without collections");
}

#[test]
fn real_blocks_get_the_codes_of_real_peers() {
    let genesis = golden("00-genesis");
    let ledger = Ledger::create(genesis, Arc::new(PrivateStore::default()), MspId::parse("Org1MSP").unwrap()).unwrap();
    for case in cases().iter().skip(1) {
        let block = golden(case);
        let number = block.header.as_ref().unwrap().number;
        let theirs = codes(&block);
        if number == ledger.height() && ledger.blocks.last().header.is_some() {
            run(ledger.commit(block)).unwrap();
        } else {
            while ledger.height() < number {
                ledger.blocks.append(Arc::new(Block::default()));
            }
            if case == "12-endorsement-policy" {
                define(&ledger, 6, "strict", "AND('Org1MSP.peer', 'Org2MSP.peer')");
            }
            let judged = run(ledger.judge(&block));
            ledger.apply(block, number, judged);
        }
        assert_eq!(codes(&ledger.block(number).unwrap()), theirs, "in {case}");
    }
    // Up to the first gap the whole chain is there.
    for (number, case) in (1..).zip(["01-approve-golden", "02-approve-golden", "03-commit-golden"]) {
        let commit_hash = |block: &Block| block.metadata.as_ref().unwrap().metadata[4].clone();
        let theirs = commit_hash(&golden(case));
        assert!(!theirs.is_empty());
        assert_eq!(commit_hash(&ledger.block(number).unwrap()), theirs, "in {case}");
    }
    assert_eq!(ledger.current().rules.config().sequence(), 1, "the update of block 26");
    let definition = ledger.definition("golden").unwrap();
    assert_eq!(definition.parameters.collections.config.len(), 1);
    assert_eq!(written(&definition), sets_of("03-commit-golden")[0].namespaces[0].public.writes);
}
