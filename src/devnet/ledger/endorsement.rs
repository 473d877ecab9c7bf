//! Whether the endorsements of a transaction suffice for what it writes.
//!
//! A file of its own because it is where policies of chaincodes, of collections and of the channel meet: each namespace
//! that is written to is judged by its own, and the one that was invoked is judged even when it writes nothing.
//!
//! A key may have a policy of its own (state-based endorsement): it takes the place of the others for this key. One
//! that an earlier transaction of the same block has changed is not judged by: the later transaction is invalid.
//!
//! Source: Fabric 3.1.5 `core/committer/txvalidator/v20/plugindispatcher`, `core/common/validation/statebased/v20.go`,
//! `core/chaincode/lifecycle/deployedcc_infoprovider.go`.

use std::collections::{BTreeSet, HashSet};

use prost::Message as _;

use super::envelope::Endorsed;
use super::private::{implicit_owner, static_collection};
use super::rules::Rules;
use super::rwset::NamespaceSet;
use super::state::Metadata;
use crate::devnet::lifecycle::state::{Definition, LIFECYCLE};
use crate::fabric::block::ValidationCode;
use crate::fabric::identity::Identity;
use crate::fabric::names::hex;
use crate::fabric::policy::ApplicationPolicy;
use crate::pb::common::SignaturePolicyEnvelope;

const POLICY_FAILURE: ValidationCode = ValidationCode::EndorsementPolicyFailure;

/// The name of the metadata that is a key's own policy.
pub(crate) const VALIDATION_PARAMETER: &str = "VALIDATION_PARAMETER";

/// A key, by its namespace and collection (empty: none). Of a collection's it is the hash, in hexadecimal.
type Key = (String, String, String);

/// What is committed before a block, as far as policies ask.
pub(super) trait Committed {
    /// The definition of a chaincode.
    fn definition(&self, chaincode: &str) -> Option<Definition>;

    /// The metadata of a key; that of a collection's is told by its hash, in hexadecimal.
    fn metadata(&self, namespace: &str, collection: &str, key: &str) -> Metadata;
}

/// Judges the transactions of one block, in their order.
#[derive(Debug)]
pub(super) struct Judge<'a, C> {
    rules: &'a Rules,
    committed: &'a C,
    /// The keys whose policies earlier transactions of the block set, as far as those suffice.
    changed: HashSet<Key>,
}

impl<'a, C: Committed> Judge<'a, C> {
    pub(super) fn new(rules: &'a Rules, committed: &'a C) -> Self {
        Self { rules, committed, changed: HashSet::new() }
    }

    /// Checks the endorsements against the policies of all that is written.
    pub(super) fn check(&mut self, endorsed: &Endorsed) -> Result<(), ValidationCode> {
        let mut namespaces = BTreeSet::new();
        if !endorsed.set.namespaces.iter().all(|set| namespaces.insert(set.name.as_str())) {
            return Err(ValidationCode::IllegalWriteset);
        }
        let signers = signers(endorsed, self.rules);
        let invoked = endorsed.set.namespaces.iter().find(|set| set.name == endorsed.chaincode);
        let written = endorsed.set.namespaces.iter().filter(|set| set.name != endorsed.chaincode && set.writes());
        self.check_namespace(&endorsed.chaincode, invoked, &signers)?;
        for set in written {
            self.check_namespace(&set.name, Some(set), &signers)?;
        }
        Ok(())
    }

    /// Judges one namespace: its public writes, and those to its collections.
    fn check_namespace(
        &mut self,
        name: &str,
        set: Option<&NamespaceSet>,
        signers: &[Identity],
    ) -> Result<(), ValidationCode> {
        let (definition, policy) = if name == LIFECYCLE {
            (None, self.rules.lifecycle_policy())
        } else {
            let definition = self.committed.definition(name).ok_or(ValidationCode::InvalidChaincode)?;
            let validation = &definition.parameters.validation;
            if validation.validation_plugin.is_empty() || validation.validation_parameter.is_empty() {
                return Err(ValidationCode::InvalidChaincode);
            }
            let policy = ApplicationPolicy::decode(&validation.validation_parameter).map_err(|_| POLICY_FAILURE)?;
            (Some(definition), policy)
        };
        let rules = self.rules;
        let demand = |policy: &ApplicationPolicy| rules.satisfied(policy, signers).then_some(()).ok_or(POLICY_FAILURE);
        let mut judged = BTreeSet::new();
        let mut some_judged = false;
        for (collection, key) in set.iter().flat_map(|set| written_keys(set)) {
            some_judged = true;
            if let Some(own) = self.own_policy(name, collection, &key)? {
                demand(&own)?;
                continue;
            }
            if !judged.insert(collection) {
                continue;
            }
            let of_collection = match collection {
                "" => None,
                collection => collection_policy(collection, definition.as_ref(), rules)?,
            };
            demand(of_collection.as_ref().unwrap_or(&policy))?;
        }
        if !some_judged {
            demand(&policy)?;
        }
        self.changed.extend(set.iter().flat_map(|set| {
            let public = set.public.metadata_writes.iter().map(|write| (String::new(), write.key.clone()));
            let private = set.collections.iter().flat_map(|collection| {
                let writes = &collection.hashed.metadata_writes;
                writes.iter().map(|write| (collection.name.clone(), hex(&write.key_hash)))
            });
            public.chain(private).map(|(collection, key)| (name.to_owned(), collection, key)).collect::<Vec<_>>()
        }));
        Ok(())
    }

    /// The policy of a key alone, if it has one.
    fn own_policy(
        &self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<Option<ApplicationPolicy>, ValidationCode> {
        if self.changed.contains(&(namespace.to_owned(), collection.to_owned(), key.to_owned())) {
            return Err(POLICY_FAILURE);
        }
        let metadata = self.committed.metadata(namespace, collection, key);
        let Some(policy) = metadata.get(VALIDATION_PARAMETER).filter(|policy| !policy.is_empty()) else {
            return Ok(None);
        };
        // Peers of Fabric stop at a policy that cannot be read; nobody may write the key here.
        let policy = SignaturePolicyEnvelope::decode(policy.clone()).map_err(|_| POLICY_FAILURE)?;
        Ok(Some(ApplicationPolicy::Signature(policy)))
    }
}

/// All keys that are written in a namespace or whose metadata are, with their collections (empty: none).
fn written_keys(set: &NamespaceSet) -> impl Iterator<Item = (&str, String)> {
    let public = &set.public;
    let open =
        public.writes.iter().map(|write| &write.key).chain(public.metadata_writes.iter().map(|write| &write.key));
    let private = set.collections.iter().flat_map(|collection| {
        let hashed = &collection.hashed;
        let written = hashed.hashed_writes.iter().map(|write| &write.key_hash);
        let written = written.chain(hashed.metadata_writes.iter().map(|write| &write.key_hash));
        written.map(|hash| (collection.name.as_str(), hex(hash)))
    });
    open.map(|key| ("", key.clone())).chain(private)
}

/// The endorsers whose signatures are good. The others are passed over: what remains may suffice.
fn signers(endorsed: &Endorsed, rules: &Rules) -> Vec<Identity> {
    let good = |endorsement: &crate::pb::protos::Endorsement| {
        let identity = rules.identity(&endorsement.endorser)?;
        let message = [endorsed.response_payload.as_ref(), &endorsement.endorser].concat();
        identity.verify(&message, &endorsement.signature).is_ok().then_some(identity)
    };
    endorsed.endorsements.iter().filter_map(good).collect()
}

/// The policy of a collection, or `None` where the chaincode's counts.
fn collection_policy(
    collection: &str,
    definition: Option<&Definition>,
    rules: &Rules,
) -> Result<Option<ApplicationPolicy>, ValidationCode> {
    if let Some(owner) = implicit_owner(collection) {
        return rules.implicit_collection_policy(owner).map(Some).ok_or(POLICY_FAILURE);
    }
    let config = definition
        .and_then(|definition| static_collection(&definition.parameters.collections, collection))
        .ok_or(POLICY_FAILURE)?;
    let Some(policy) = &config.endorsement_policy else { return Ok(None) };
    ApplicationPolicy::decode(&policy.encode_to_vec()).map(Some).map_err(|_| POLICY_FAILURE)
}
