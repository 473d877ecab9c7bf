//! The versioned state of one channel on one peer.
//!
//! Every key keeps all of its versions, so a simulation reads the state as of one height while blocks are committed:
//! neither waits for the other. Nothing is ever pruned; the network is for trying and testing.
//!
//! Knows nothing of transactions: what may be applied is decided in [`mvcc`](super::mvcc).

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::pb::kvrwset;

/// Where a value was written: the block, and the transaction in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) block: u64,
    pub(crate) transaction: u64,
}

impl From<&kvrwset::Version> for Version {
    fn from(version: &kvrwset::Version) -> Self {
        Self { block: version.block_num, transaction: version.tx_num }
    }
}

impl From<Version> for kvrwset::Version {
    fn from(version: Version) -> Self {
        Self { block_num: version.block, tx_num: version.transaction }
    }
}

/// Whose keys: a chaincode's own, or those of a collection of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Namespace {
    Public(String),
    /// The hashes of a collection, which all peers hold; the keys are in hexadecimal.
    Hashed(String, String),
    /// The collection itself, which only its members hold.
    Private(String, String),
}

/// A value with the place where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Versioned {
    pub(crate) version: Version,
    pub(crate) value: Bytes,
}

/// All versions of one key, the oldest first; `None` is a deletion.
type Versions = Vec<(Version, Option<Bytes>)>;

/// The state: all versions of all keys.
#[derive(Debug, Default)]
pub(crate) struct State {
    namespaces: BTreeMap<Namespace, BTreeMap<String, Versions>>,
}

/// Up to where versions are seen: blocks below `height`, or everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    Below(u64),
    Latest,
}

impl View {
    fn sees(self, version: Version) -> bool {
        match self {
            Self::Below(height) => version.block < height,
            Self::Latest => true,
        }
    }
}

fn visible(versions: &Versions, view: View) -> Option<Versioned> {
    let (version, value) = versions.iter().rev().find(|(version, _)| view.sees(*version))?;
    value.as_ref().map(|value| Versioned { version: *version, value: value.clone() })
}

impl State {
    /// The value of a key.
    pub(crate) fn get(&self, namespace: &Namespace, key: &str, view: View) -> Option<Versioned> {
        visible(self.namespaces.get(namespace)?.get(key)?, view)
    }

    /// Whether block `block` has written or deleted the key already.
    pub(crate) fn touched_by(&self, namespace: &Namespace, key: &str, block: u64) -> bool {
        self.namespaces
            .get(namespace)
            .and_then(|keys| keys.get(key))
            .and_then(|versions| versions.last())
            .is_some_and(|(version, _)| version.block == block)
    }

    /// The entries from `start` on, up to `end` (excluded unless `include_end`; empty: no bound), at most `limit`.
    pub(crate) fn range(
        &self,
        namespace: &Namespace,
        start: &str,
        end: &str,
        include_end: bool,
        view: View,
        limit: usize,
    ) -> Vec<(String, Versioned)> {
        let upper = match (end, include_end) {
            ("", _) => Bound::Unbounded,
            (end, true) => Bound::Included(end),
            (end, false) => Bound::Excluded(end),
        };
        // BTreeMap::range panics on bounds that are the wrong way round.
        if !end.is_empty() && (start > end || (start == end && !include_end)) {
            return Vec::new();
        }
        let Some(keys) = self.namespaces.get(namespace) else { return Vec::new() };
        keys.range::<str, _>((Bound::Included(start), upper))
            .filter_map(|(key, versions)| visible(versions, view).map(|value| (key.clone(), value)))
            .take(limit)
            .collect()
    }

    /// Every version of a key, the newest first, with whether it is a deletion.
    pub(crate) fn history(&self, namespace: &Namespace, key: &str, view: View) -> Versions {
        self.namespaces
            .get(namespace)
            .and_then(|keys| keys.get(key))
            .map(|versions| versions.iter().rev().filter(|(version, _)| view.sees(*version)).cloned().collect())
            .unwrap_or_default()
    }

    /// Writes (or, with `None`, deletes) a key.
    pub(crate) fn put(&mut self, namespace: &Namespace, key: &str, version: Version, value: Option<Bytes>) {
        let keys = match self.namespaces.get_mut(namespace) {
            Some(keys) => keys,
            None => self.namespaces.entry(namespace.clone()).or_default(),
        };
        let versions = keys.entry(key.to_owned()).or_default();
        match versions.last_mut() {
            Some(last) if last.0 == version => last.1 = value,
            _ => versions.push((version, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_does_not_see_later_blocks() {
        let namespace = Namespace::Public("cc".to_owned());
        let mut state = State::default();
        for (block, value) in [(1, Some("one")), (2, None), (3, Some("three"))] {
            let version = Version { block, transaction: 0 };
            state.put(&namespace, "k", version, value.map(Bytes::from));
        }
        let seen = |height| state.get(&namespace, "k", View::Below(height)).map(|entry| entry.value);
        assert_eq!(seen(1), None);
        assert_eq!(seen(2), Some(Bytes::from("one")));
        assert_eq!(seen(3), None, "deleted in block 2");
        assert_eq!(seen(4), Some(Bytes::from("three")));
        assert_eq!(state.history(&namespace, "k", View::Latest).len(), 3);
    }

    #[test]
    fn ranges_are_half_open_and_never_panic() {
        let namespace = Namespace::Public("cc".to_owned());
        let mut state = State::default();
        for key in ["a", "b", "c"] {
            state.put(&namespace, key, Version { block: 1, transaction: 0 }, Some(Bytes::from(key)));
        }
        for (start, end, include_end, expected) in [
            ("", "", false, "abc"),
            ("a", "c", false, "ab"),
            ("a", "c", true, "abc"),
            ("b", "", false, "bc"),
            ("c", "a", false, ""),
            ("b", "b", false, ""),
            ("b", "b", true, "b"),
        ] {
            let found = state.range(&namespace, start, end, include_end, View::Latest, 9);
            let keys: String = found.into_iter().map(|(key, _)| key).collect();
            assert_eq!(keys, expected, "from {start:?} to {end:?}");
        }
    }
}
