//! The private parts of transactions, kept between endorsement and commit.
//!
//! In a network of processes they travel by gossip among the peers of the organizations that may hold them; here all
//! peers share one store, and each takes from it only what its own organization may hold. What is in a block decides:
//! a private set whose hash is not the one in the transaction is not taken over.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::devnet::files::FileError;
use crate::devnet::storage::{Log, Store};
use crate::fabric::names::TxId;
use crate::pb::protos::{CollectionConfigPackage, StaticCollectionConfig, collection_config, collection_policy_config};
use crate::pb::{common, msp, rwset};

/// What an endorsement wrote to one collection.
#[derive(Debug, PartialEq, Eq)]
struct CollectionWrites {
    namespace: String,
    collection: String,
    set: Bytes,
}

/// What endorsements wrote privately, by transaction. Nothing is removed: a peer may catch up at any time.
#[derive(Debug, Default)]
pub(crate) struct PrivateStore {
    sets: Mutex<HashMap<TxId, Vec<CollectionWrites>>>,
    log: Option<Log>,
}

impl PrivateStore {
    /// What `store` has kept, which is to keep what comes, too.
    ///
    /// # Errors
    /// [`FileError`].
    pub(crate) fn kept(store: &Store) -> Result<Self, FileError> {
        let Some((log, records)) = store.log("private")? else { return Ok(Self::default()) };
        let kept = Self { sets: Mutex::default(), log: Some(log) };
        for record in records {
            if let Some((tx_id, set)) = read_record(&record) {
                kept.insert(tx_id, set);
            }
        }
        Ok(kept)
    }

    /// Keeps what the endorsement of a transaction wrote privately. What other endorsers wrote stays beside it.
    ///
    /// # Errors
    /// [`FileError`] when it could not be written where the network is kept.
    pub(crate) fn put(&self, tx_id: TxId, set: rwset::TxPvtReadWriteSet) -> Result<(), FileError> {
        if let Some(log) = &self.log {
            log.append_blocking(&[tx_id.as_str().as_bytes(), b"\n", &set.encode_to_vec()].concat())?;
        }
        self.insert(tx_id, set);
        Ok(())
    }

    fn insert(&self, tx_id: TxId, set: rwset::TxPvtReadWriteSet) {
        let mut store = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = store.entry(tx_id).or_default();
        for in_namespace in set.ns_pvt_rwset {
            for in_collection in in_namespace.collection_pvt_rwset {
                let writes = CollectionWrites {
                    namespace: in_namespace.namespace.clone(),
                    collection: in_collection.collection_name,
                    set: in_collection.rwset,
                };
                if !kept.contains(&writes) {
                    kept.push(writes);
                }
            }
        }
    }

    /// What a transaction wrote to one collection, if some endorser told what has the `hash` in the transaction.
    pub(super) fn get(&self, tx_id: &TxId, namespace: &str, collection: &str, hash: &[u8]) -> Option<Bytes> {
        let store = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let found = store.get(tx_id)?.iter().find(|writes| {
            writes.namespace == namespace && writes.collection == collection && Sha256::digest(&writes.set)[..] == *hash
        })?;
        Some(found.set.clone())
    }
}

/// A record of the log: the transaction's ID in a line, then the set.
fn read_record(record: &Bytes) -> Option<(TxId, rwset::TxPvtReadWriteSet)> {
    let end = record.iter().position(|byte| *byte == b'\n')?;
    let tx_id = TxId::parse(std::str::from_utf8(&record[..end]).ok()?).ok()?;
    Some((tx_id, rwset::TxPvtReadWriteSet::decode(record.slice(end + 1..)).ok()?))
}

const IMPLICIT_PREFIX: &str = "_implicit_org_";

/// The collection that each organization has by itself.
pub(crate) fn implicit_collection(organization: &str) -> String {
    format!("{IMPLICIT_PREFIX}{organization}")
}

/// Whose implicit collection this is, if it is one.
pub(crate) fn implicit_owner(collection: &str) -> Option<&str> {
    collection.strip_prefix(IMPLICIT_PREFIX)
}

/// One of the collections of a chaincode's definition.
pub(crate) fn static_collection<'a>(
    collections: &'a CollectionConfigPackage,
    name: &str,
) -> Option<&'a StaticCollectionConfig> {
    collections.config.iter().find_map(|collection| match &collection.payload {
        Some(collection_config::Payload::StaticCollectionConfig(config)) if config.name == name => Some(config),
        _ => None,
    })
}

/// Whether the peers of `organization` hold the content of a collection.
pub(crate) fn is_member(organization: &str, collection: &StaticCollectionConfig) -> bool {
    let Some(collection_policy_config::Payload::SignaturePolicy(policy)) =
        collection.member_orgs_policy.as_ref().and_then(|policy| policy.payload.as_ref())
    else {
        return false;
    };
    policy.identities.iter().any(|principal| principal_organization(principal).as_deref() == Some(organization))
}

fn principal_organization(principal: &common::MspPrincipal) -> Option<String> {
    use common::msp_principal::Classification;

    let bytes = principal.principal.clone();
    match principal.principal_classification() {
        Classification::Role => Some(common::MspRole::decode(bytes).ok()?.msp_identifier),
        Classification::OrganizationUnit => Some(common::OrganizationUnit::decode(bytes).ok()?.msp_identifier),
        Classification::Identity => Some(msp::SerializedIdentity::decode(bytes).ok()?.mspid),
        Classification::Anonymity | Classification::Combined => None,
    }
}
