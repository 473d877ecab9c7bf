//! Whether the endorsements of a transaction suffice for what it writes.
//!
//! A file of its own because it is where policies of chaincodes, of collections and of the channel meet: each namespace
//! that is written to is judged by its own, and the one that was invoked is judged even when it writes nothing.
//!
//! Policies of single keys (state-based endorsement) do not exist here: a transaction that sets one is invalid.
//!
//! Source: Fabric 3.1.5 `core/committer/txvalidator/v20/plugindispatcher`, `core/common/validation/statebased/v20.go`,
//! `core/chaincode/lifecycle/deployedcc_infoprovider.go`.

use std::collections::BTreeSet;

use prost::Message as _;

use super::envelope::Endorsed;
use super::private::{implicit_owner, static_collection};
use super::rules::Rules;
use super::rwset::NamespaceSet;
use crate::devnet::lifecycle::state::{Definition, LIFECYCLE};
use crate::fabric::block::ValidationCode;
use crate::fabric::identity::Identity;
use crate::fabric::policy::ApplicationPolicy;

const POLICY_FAILURE: ValidationCode = ValidationCode::EndorsementPolicyFailure;

/// Checks the endorsements against the policies of all that is written. `definitions` yields what is committed.
pub(super) fn check(
    endorsed: &Endorsed,
    rules: &Rules,
    mut definitions: impl FnMut(&str) -> Option<Definition>,
) -> Result<(), ValidationCode> {
    let mut namespaces = BTreeSet::new();
    for set in &endorsed.set.namespaces {
        if !namespaces.insert(set.name.as_str()) {
            return Err(ValidationCode::IllegalWriteset);
        }
        if set.sets_metadata() {
            return Err(ValidationCode::InvalidWriteset);
        }
    }
    let signers = signers(endorsed, rules);
    let invoked = endorsed.set.namespaces.iter().find(|set| set.name == endorsed.chaincode);
    let written = endorsed.set.namespaces.iter().filter(|set| set.name != endorsed.chaincode && set.writes());
    check_namespace(&endorsed.chaincode, invoked, rules, &signers, &mut definitions)?;
    for set in written {
        check_namespace(&set.name, Some(set), rules, &signers, &mut definitions)?;
    }
    Ok(())
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

/// Judges one namespace: its public writes, and those to its collections.
fn check_namespace(
    name: &str,
    set: Option<&NamespaceSet>,
    rules: &Rules,
    signers: &[Identity],
    definitions: &mut impl FnMut(&str) -> Option<Definition>,
) -> Result<(), ValidationCode> {
    let (definition, policy) = if name == LIFECYCLE {
        (None, rules.lifecycle_policy())
    } else {
        let definition = definitions(name).ok_or(ValidationCode::InvalidChaincode)?;
        let validation = &definition.parameters.validation;
        if validation.validation_plugin.is_empty() || validation.validation_parameter.is_empty() {
            return Err(ValidationCode::InvalidChaincode);
        }
        let policy = ApplicationPolicy::decode(&validation.validation_parameter).map_err(|_| POLICY_FAILURE)?;
        (Some(definition), policy)
    };
    let demand = |policy: &ApplicationPolicy| rules.satisfied(policy, signers).then_some(()).ok_or(POLICY_FAILURE);
    let mut judged = false;
    if set.is_some_and(NamespaceSet::writes_publicly) {
        demand(&policy)?;
        judged = true;
    }
    for collection in set.iter().flat_map(|set| &set.collections).filter(|collection| collection.writes()) {
        let own = collection_policy(&collection.name, definition.as_ref(), rules)?;
        demand(own.as_ref().unwrap_or(&policy))?;
        judged = true;
    }
    if judged { Ok(()) } else { demand(&policy) }
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
