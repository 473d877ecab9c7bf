//! Whose policies a transaction has to satisfy, told with its endorsement: who else must endorse follows from it.
//!
//! Source: Fabric 3.1.5 `core/endorser/endorser.go`.

use std::collections::BTreeMap;

use prost::Message as _;

use super::resolve::is_system;
use crate::devnet::ledger::{Results, VALIDATION_PARAMETER};
use crate::pb::common::SignaturePolicyEnvelope;
use crate::pb::protos::{ChaincodeCall, ChaincodeInterest};
use crate::pb::rwset::TxReadWriteSet;

/// The namespace of definitions as they were before Fabric 2, where peers look too.
const LEGACY_LIFECYCLE: &str = "lscc";

/// What is demanded in one namespace.
#[derive(Debug, Default)]
struct Demands {
    /// By collection (empty: the public state), whether the policy of the collection, or the chaincode's, counts.
    required: BTreeMap<String, bool>,
    /// The policies of single keys.
    keys: Vec<SignaturePolicyEnvelope>,
}

/// The interest of a simulated transaction.
pub(super) fn of(results: &Results) -> ChaincodeInterest {
    let mut demands: BTreeMap<String, Demands> = BTreeMap::new();
    for (namespace, collections) in &results.written {
        let demanded = demands.entry(namespace.clone()).or_default();
        demanded.required.insert(String::new(), false);
        for (collection, keys) in collections {
            for metadata in keys.values() {
                match metadata.get(VALIDATION_PARAMETER) {
                    // One that cannot be read lets nobody write the key, and helps nobody to endorse.
                    Some(policy) => demanded.keys.extend(SignaturePolicyEnvelope::decode(policy.clone())),
                    None => drop(demanded.required.insert(collection.clone(), true)),
                }
            }
        }
    }
    let public = TxReadWriteSet::decode(results.public.clone()).unwrap_or_default();
    for set in public.ns_rwset {
        let only_read = || Demands { required: BTreeMap::from([(String::new(), true)]), keys: Vec::new() };
        demands.entry(set.namespace).or_insert_with(only_read);
    }
    for (namespace, collection) in &results.private_reads {
        demands.entry(namespace.clone()).or_default().required.insert(collection.clone(), true);
    }
    let mut chaincodes = Vec::new();
    let of_peers = |name: &str| is_system(name) || name == LEGACY_LIFECYCLE;
    for (name, Demands { required, keys }) in demands.into_iter().filter(|(name, _)| !of_peers(name)) {
        let whole = required.get("") == Some(&true);
        for collection in required.into_keys() {
            let call = ChaincodeCall { name: name.clone(), ..ChaincodeCall::default() };
            if !collection.is_empty() {
                let no_private_reads = !results.private_reads.contains(&(name.clone(), collection.clone()));
                chaincodes.push(ChaincodeCall { collection_names: vec![collection], no_private_reads, ..call });
            } else if whole || !keys.is_empty() {
                let disregard_namespace_policy = !whole;
                chaincodes.push(ChaincodeCall { key_policies: keys.clone(), disregard_namespace_policy, ..call });
            }
        }
    }
    ChaincodeInterest { chaincodes }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use bytes::Bytes;

    use super::*;
    use crate::devnet::ledger::Metadata;
    use crate::fabric::policy::dsl;
    use crate::pb::rwset::NsReadWriteSet;

    /// Calls as `name/collection`, with `+n` for `n` keys of their own, `!` where the chaincode's policy does not count,
    /// `-` where nothing is read.
    fn shown(read: &[&str], written: &[(&str, &str, bool)], private_reads: &[(&str, &str)]) -> Vec<String> {
        let set = |name: &&str| NsReadWriteSet { namespace: (*name).to_owned(), ..NsReadWriteSet::default() };
        let public = TxReadWriteSet { ns_rwset: read.iter().map(set).collect(), ..TxReadWriteSet::default() };
        let policy = Bytes::from(dsl::parse("OR('Org1MSP.peer')").unwrap().encode_to_vec());
        let mut keys: BTreeMap<String, BTreeMap<String, BTreeMap<String, Metadata>>> = BTreeMap::new();
        for (number, (namespace, collection, own)) in written.iter().enumerate() {
            let entries = own.then(|| (VALIDATION_PARAMETER.to_owned(), policy.clone()));
            let in_namespace = keys.entry((*namespace).to_owned()).or_default();
            let in_collection = in_namespace.entry((*collection).to_owned()).or_default();
            in_collection.insert(number.to_string(), Metadata::new(entries));
        }
        let private_reads: BTreeSet<_> =
            private_reads.iter().map(|(name, collection)| ((*name).to_owned(), (*collection).to_owned())).collect();
        let results = Results { public: public.encode_to_vec().into(), private: None, written: keys, private_reads };
        let shown = |call: ChaincodeCall| {
            let keys =
                if call.key_policies.is_empty() { String::new() } else { format!("+{}", call.key_policies.len()) };
            let (disregard, blind) = (call.disregard_namespace_policy, call.no_private_reads);
            let (disregard, blind) = (if disregard { "!" } else { "" }, if blind { "-" } else { "" });
            format!("{}/{}{keys}{disregard}{blind}", call.name, call.collection_names.concat())
        };
        of(&results).chaincodes.into_iter().map(shown).collect()
    }

    #[test]
    fn what_is_touched_is_of_interest() {
        assert_eq!(shown(&["cc", "_lifecycle", "lscc"], &[], &[]), ["cc/"]);
        assert_eq!(shown(&["cc"], &[("cc", "", false)], &[]), ["cc/"]);
        assert_eq!(shown(&["cc"], &[("cc", "", true)], &[]), ["cc/+1!"]);
        assert_eq!(shown(&["cc"], &[("cc", "", true), ("cc", "", false)], &[]), ["cc/+1"]);
        assert_eq!(shown(&["cc"], &[("cc", "c", false)], &[]), ["cc/c-"]);
        assert_eq!(shown(&["cc"], &[("cc", "c", false)], &[("cc", "c")]), ["cc/c"]);
        assert_eq!(shown(&["cc"], &[], &[("cc", "c")]), ["cc/", "cc/c"]);
        assert_eq!(shown(&["cc"], &[("cc", "c", true)], &[]), ["cc/+1!"]);
        assert_eq!(shown(&["a", "b"], &[("a", "", false)], &[]), ["a/", "b/"]);
    }
}
