//! The versioned state of one channel on one peer.
//!
//! Every key keeps all of its versions, so a simulation reads the state as of one height while blocks are committed:
//! neither waits for the other. Nothing is ever pruned; the network is for trying and testing.
//!
//! A key has metadata beside its value, of which Fabric knows one kind: the policy of this key alone.
//!
//! Knows nothing of transactions: what may be applied is decided in [`mvcc`](super::mvcc).

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

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

/// What is kept of a key beside its value, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Metadata(Option<Arc<BTreeMap<String, Bytes>>>);

impl Metadata {
    /// Metadata with `entries`; of several of one name the last counts.
    pub(crate) fn new(entries: impl IntoIterator<Item = (String, Bytes)>) -> Self {
        let entries: BTreeMap<_, _> = entries.into_iter().collect();
        Self((!entries.is_empty()).then(|| Arc::new(entries)))
    }

    /// All entries.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&String, &Bytes)> {
        self.0.iter().flat_map(|entries| entries.iter())
    }

    /// The entry of a name.
    pub(crate) fn get(&self, name: &str) -> Option<&Bytes> {
        self.0.as_ref()?.get(name)
    }
}

/// A value with the place where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Versioned {
    pub(crate) version: Version,
    pub(crate) value: Bytes,
    pub(crate) metadata: Metadata,
}

/// One version of a key.
#[derive(Debug, Clone)]
struct Entry {
    version: Version,
    /// `None` is a deletion.
    value: Option<Bytes>,
    metadata: Metadata,
    /// Whether the value was written, and not its metadata alone.
    written: bool,
}

/// All versions of one key, the oldest first.
type Versions = Vec<Entry>;

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
    let entry = versions.iter().rev().find(|entry| view.sees(entry.version))?;
    let Entry { version, metadata, .. } = entry;
    let value = entry.value.clone()?;
    Some(Versioned { version: *version, value, metadata: metadata.clone() })
}

impl State {
    /// The value of a key.
    pub(crate) fn get(&self, namespace: &Namespace, key: &str, view: View) -> Option<Versioned> {
        visible(self.namespaces.get(namespace)?.get(key)?, view)
    }

    /// Whether anything was ever written to a chaincode's namespace or its collections.
    pub(crate) fn has_any(&self, namespace: &str) -> bool {
        self.namespaces.keys().any(|known| match known {
            Namespace::Public(name) | Namespace::Hashed(name, _) | Namespace::Private(name, _) => name == namespace,
        })
    }

    /// What was written to a key last, a deletion too.
    pub(super) fn last(&self, namespace: &Namespace, key: &str) -> Option<(Version, Option<Bytes>)> {
        let entry = self.namespaces.get(namespace)?.get(key)?.last()?;
        Some((entry.version, entry.value.clone()))
    }

    /// Whether block `block` has written or deleted the key already.
    pub(crate) fn touched_by(&self, namespace: &Namespace, key: &str, block: u64) -> bool {
        self.namespaces
            .get(namespace)
            .and_then(|keys| keys.get(key))
            .and_then(|versions| versions.last())
            .is_some_and(|entry| entry.version.block == block)
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

    /// Every value that was written to a key, the newest first; `None` is a deletion.
    pub(crate) fn history(&self, namespace: &Namespace, key: &str, view: View) -> Vec<(Version, Option<Bytes>)> {
        let versions = self.namespaces.get(namespace).and_then(|keys| keys.get(key));
        let written = versions.into_iter().flatten().rev().filter(|entry| entry.written && view.sees(entry.version));
        written.map(|entry| (entry.version, entry.value.clone())).collect()
    }

    /// Writes (or, with `None`, deletes) a key. What is deleted has no metadata.
    pub(crate) fn put(
        &mut self,
        namespace: &Namespace,
        key: &str,
        version: Version,
        value: Option<Bytes>,
        metadata: Metadata,
    ) {
        let metadata = if value.is_some() { metadata } else { Metadata::default() };
        self.add(namespace, key, Entry { version, value, metadata, written: true });
    }

    /// Sets the metadata of a key whose value stays.
    pub(crate) fn put_metadata(
        &mut self,
        namespace: &Namespace,
        key: &str,
        version: Version,
        value: Bytes,
        metadata: Metadata,
    ) {
        self.add(namespace, key, Entry { version, value: Some(value), metadata, written: false });
    }

    fn add(&mut self, namespace: &Namespace, key: &str, entry: Entry) {
        let keys = match self.namespaces.get_mut(namespace) {
            Some(keys) => keys,
            None => self.namespaces.entry(namespace.clone()).or_default(),
        };
        let versions = keys.entry(key.to_owned()).or_default();
        match versions.last_mut() {
            Some(last) if last.version == entry.version => {
                let written = last.written || entry.written;
                *last = Entry { written, ..entry };
            }
            _ => versions.push(entry),
        }
    }

    /// Forgets the values that a key had, up to and including `version`: only that it had some stays known.
    pub(crate) fn forget(&mut self, namespace: &Namespace, key: &str, version: Version) {
        let versions = self.namespaces.get_mut(namespace).and_then(|keys| keys.get_mut(key));
        for entry in versions.into_iter().flatten().filter(|entry| entry.version <= version) {
            entry.value = None;
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
            state.put(&namespace, "k", version, value.map(Bytes::from), Metadata::default());
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
            let version = Version { block: 1, transaction: 0 };
            state.put(&namespace, key, version, Some(Bytes::from(key)), Metadata::default());
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
