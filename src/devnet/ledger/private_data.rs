//! What is private in a block, for those who may see it.
//!
//! A file of its own because nothing in the ledger needs it: a peer tells it to clients that ask for blocks with their
//! private data, and what a client may see is not what the peer may hold. What has expired or was purged since is no
//! longer told.
//!
//! Source: Fabric 3.1.5 `core/peer/deliverevents.go`, `core/ledger/pvtdatastorage`.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use bytes::Bytes;
use prost::Message as _;

use super::envelope::{Bound, Endorsed, Headers};
use super::expiry::{HashedKey, expires_with};
use super::private::{implicit_owner, static_collection};
use super::state::{State, Version, View};
use super::{Ledger, definitions};
use crate::fabric::block::{ValidationCode, validation};
use crate::fabric::identity::Role;
use crate::pb::common::{SignaturePolicy, SignaturePolicyEnvelope, signature_policy};
use crate::pb::kvrwset::KvrwSet;
use crate::pb::protos::collection_policy_config;
use crate::pb::rwset::{CollectionPvtReadWriteSet, NsPvtReadWriteSet, TxPvtReadWriteSet, tx_read_write_set::DataModel};

impl Ledger {
    /// The private sets of the transactions of a block, by their places in it: those that this peer holds, of
    /// collections whose member policy `may_read` lets pass.
    pub(crate) fn private_data(
        &self,
        number: u64,
        may_read: impl Fn(&SignaturePolicyEnvelope) -> bool,
    ) -> BTreeMap<u64, TxPvtReadWriteSet> {
        let Some(block) = self.block(number) else { return BTreeMap::new() };
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = BTreeMap::new();
        for (index, envelope) in block.data.iter().flat_map(|data| &data.data).enumerate() {
            // Peers keep what they were told, whatever the policies and the state then say to the transaction.
            let kept = matches!(
                validation(&block, index),
                ValidationCode::Valid
                    | ValidationCode::EndorsementPolicyFailure
                    | ValidationCode::MvccReadConflict
                    | ValidationCode::PhantomReadConflict
            );
            let decoded = || Endorsed::decode(Bound::decode(Headers::decode(envelope).ok()?).ok()?).ok();
            let Some(endorsed) = kept.then(decoded).flatten() else { continue };
            let version = Version { block: number, transaction: index as u64 };
            let sets = self.readable_sets(&state, version, &endorsed, &may_read);
            if !sets.is_empty() {
                let set = TxPvtReadWriteSet { data_model: DataModel::Kv.into(), ns_pvt_rwset: sets };
                found.insert(index as u64, set);
            }
        }
        found
    }

    fn readable_sets(
        &self,
        state: &State,
        version: Version,
        endorsed: &Endorsed,
        may_read: &impl Fn(&SignaturePolicyEnvelope) -> bool,
    ) -> Vec<NsPvtReadWriteSet> {
        let number = version.block;
        let mut sets = Vec::new();
        for in_namespace in &endorsed.set.namespaces {
            let namespace = &in_namespace.name;
            let readable = in_namespace.collections.iter().filter(|collection| collection.writes()).filter_map(|it| {
                let (policy, blocks_to_live) = member_policy(state, number, namespace, &it.name)?;
                let expired = expires_with(number, blocks_to_live).is_some_and(|with| with < self.height());
                if expired || !may_read(&policy) || !self.holds(namespace, &it.name, state, number) {
                    return None;
                }
                let rwset = self.private.get(&endorsed.tx_id, namespace, &it.name, &it.private_hash)?;
                let rwset = self.without_purged(namespace, &it.name, version, rwset);
                Some(CollectionPvtReadWriteSet { collection_name: it.name.clone(), rwset })
            });
            let collection_pvt_rwset: Vec<_> = readable.collect();
            if !collection_pvt_rwset.is_empty() {
                sets.push(NsPvtReadWriteSet { namespace: namespace.clone(), collection_pvt_rwset });
            }
        }
        sets
    }

    /// A private set without the keys that were purged, then or later.
    fn without_purged(&self, namespace: &str, collection: &str, version: Version, set: Bytes) -> Bytes {
        let Ok(mut keys) = KvrwSet::decode(set.clone()) else { return set };
        let schedule = self.schedule.lock().unwrap_or_else(PoisonError::into_inner);
        let before = keys.writes.len();
        keys.writes.retain(|write| !schedule.is_purged(&HashedKey::of(namespace, collection, &write.key), version));
        if keys.writes.len() == before {
            return set;
        }
        keys.encode_to_vec().into()
    }
}

/// Who is a member of a collection, and for how many blocks its content lives, as of the definition that was in force
/// for block `number`.
fn member_policy(
    state: &State,
    number: u64,
    namespace: &str,
    collection: &str,
) -> Option<(SignaturePolicyEnvelope, u64)> {
    if let Some(owner) = implicit_owner(collection) {
        let signed = SignaturePolicy { r#type: Some(signature_policy::Type::SignedBy(0)) };
        let identities = vec![Role::Member.principal(owner)];
        return Some((SignaturePolicyEnvelope { version: 0, rule: Some(signed), identities }, 0));
    }
    let definition = definitions::definition(state, View::Below(number), namespace)?;
    let config = static_collection(&definition.parameters.collections, collection)?;
    match config.member_orgs_policy.as_ref()?.payload.as_ref()? {
        collection_policy_config::Payload::SignaturePolicy(policy) => Some((policy.clone(), config.block_to_live)),
    }
}
