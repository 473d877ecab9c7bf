//! Long range queries in short: a tree of hashes over what was read.
//!
//! A module of its own because endorsers make such a summary and committers make it again to compare: both must reach
//! the same bytes.
//!
//! Source: Fabric 3.1.5 `core/ledger/kvledger/txmgmt/rwsetutil/query_results_helper.go`.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::pb::kvrwset::{KvRead, QueryReads, QueryReadsMerkleSummary};

/// How many reads, and then hashes, are taken together. Results up to so many are told as they are.
pub(super) const DEGREE: u32 = 50;

/// The level of the hashes of reads; those above are of hashes.
const LEAVES: u32 = 1;

/// Summarizes reads, one after the other.
#[derive(Debug)]
pub(super) struct Summary {
    degree: usize,
    pending: Vec<KvRead>,
    levels: BTreeMap<u32, Vec<[u8; 32]>>,
    top: u32,
}

impl Summary {
    /// A summary of nothing. `None` where no tree can have this degree.
    pub(super) fn new(degree: u32) -> Option<Self> {
        let size = usize::try_from(degree).ok().filter(|degree| *degree >= 2)?;
        Some(Self { degree: size, pending: Vec::new(), levels: BTreeMap::new(), top: LEAVES })
    }

    /// Adds what was read next.
    pub(super) fn add(&mut self, read: KvRead) {
        self.pending.push(read);
        if self.pending.len() > self.degree {
            self.hash_pending();
        }
    }

    fn hash_pending(&mut self) {
        let reads = QueryReads { kv_reads: std::mem::take(&mut self.pending) };
        let mut hash: [u8; 32] = Sha256::digest(reads.encode_to_vec()).into();
        let mut level = LEAVES;
        loop {
            let hashes = self.levels.entry(level).or_default();
            hashes.push(hash);
            if hashes.len() <= self.degree {
                return;
            }
            hash = combined(&std::mem::take(hashes));
            level += 1;
            self.top = self.top.max(level);
        }
    }

    /// The end: the reads as they are where they are few, or a summary of them.
    pub(super) fn finish(mut self) -> Result<Vec<KvRead>, QueryReadsMerkleSummary> {
        if self.levels.values().all(Vec::is_empty) {
            return Ok(self.pending);
        }
        if !self.pending.is_empty() {
            self.hash_pending();
        }
        for level in LEAVES..self.top {
            let hashes = self.levels.remove(&level).unwrap_or_default();
            let hash = match hashes.as_slice() {
                [] => continue,
                [hash] => *hash,
                several => combined(several),
            };
            self.levels.entry(level + 1).or_default().push(hash);
        }
        let mut hashes = self.levels.remove(&self.top).unwrap_or_default();
        if hashes.len() > self.degree {
            hashes = vec![combined(&hashes)];
            self.top += 1;
        }
        Err(QueryReadsMerkleSummary {
            max_degree: u32::try_from(self.degree).unwrap_or(u32::MAX),
            max_level: self.top,
            max_level_hashes: hashes.iter().map(|hash| Bytes::copy_from_slice(hash)).collect(),
        })
    }
}

fn combined(hashes: &[[u8; 32]]) -> [u8; 32] {
    Sha256::digest(hashes.concat()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::names::hex;
    use crate::pb::kvrwset::Version;

    fn summary(degree: u32, count: u64) -> Result<usize, (u32, Vec<String>)> {
        let mut summary = Summary::new(degree).unwrap();
        for number in 0..count {
            let version = Some(Version { block_num: 1, tx_num: number });
            summary.add(KvRead { key: format!("key_{number:03}"), version });
        }
        match summary.finish() {
            Ok(reads) => Ok(reads.len()),
            Err(tree) => {
                assert_eq!(tree.max_degree, degree);
                Err((tree.max_level, tree.max_level_hashes.iter().map(|hash| hex(&hash[..4])).collect()))
            }
        }
    }

    #[test]
    fn few_reads_stay_and_many_become_a_tree() {
        assert_eq!(summary(DEGREE, 0), Ok(0));
        assert_eq!(summary(DEGREE, 50), Ok(50));
        let levels = |degree, count| summary(degree, count).map_err(|(level, hashes)| (level, hashes.len()));
        assert_eq!(levels(DEGREE, 51), Err((1, 1)));
        assert_eq!(levels(DEGREE, 52), Err((1, 2)));
        assert_eq!(levels(DEGREE, 51 * 50), Err((1, 50)));
        assert_eq!(levels(DEGREE, 51 * 51), Err((2, 1)));
        assert_eq!(levels(2, 100), Err((4, 2)));
        assert!(Summary::new(1).is_none());
    }

    #[test]
    fn one_other_read_is_another_tree() {
        let whole = summary(3, 40).unwrap_err();
        assert_eq!(whole, summary(3, 40).unwrap_err());
        assert_ne!(whole, summary(3, 41).unwrap_err());
    }
}
