//! Chaincode definitions on a channel, as one organization approves and commits them.

use std::collections::BTreeMap;

use super::{LifecycleError, absent, approvals, decode, malformed};
use crate::client::channel::Channel;
use crate::client::discovery;
use crate::client::transact::{Committed, Endorsers};
use crate::fabric::lifecycle::{
    ChaincodeDefinition, approved_all_args, approved_args, approved_package, committed_all_args, committed_args,
};
use crate::fabric::names::{ChaincodeName, MspId, PackageId};
use crate::fabric::tx::Invocation;
use crate::pb::lifecycle::{
    CheckCommitReadinessResult, QueryApprovedChaincodeDefinitionResult, QueryApprovedChaincodeDefinitionsResult,
    QueryChaincodeDefinitionResult, QueryChaincodeDefinitionsResult,
};
use crate::runtime::retry::Backoff;

/// What the own organization has approved.
#[derive(Debug, Clone, PartialEq)]
pub struct ApprovedDefinition {
    /// The definition, with what the peers filled in.
    pub definition: ChaincodeDefinition,
    /// The package that the organization's peers run; `None` when they run none.
    pub package_id: Option<PackageId>,
}

/// What a channel has committed.
#[derive(Debug, Clone, PartialEq)]
pub struct CommittedDefinition {
    /// The definition, with what the peers filled in.
    pub definition: ChaincodeDefinition,
    /// Which organizations have approved it. Not told in a list of all definitions.
    pub approvals: BTreeMap<MspId, bool>,
}

/// The chaincode definitions of a channel.
#[derive(Debug, Clone)]
pub struct OrgLifecycle {
    pub(super) channel: Channel,
}

impl OrgLifecycle {
    pub(in crate::client) fn new(channel: Channel) -> Self {
        Self { channel }
    }

    /// Approves a definition for the own organization and waits until an own peer has committed the approval. Only own
    /// peers are asked. [`ensure_approved`](Self::ensure_approved) is the form that may be repeated.
    ///
    /// Cancel safety: a cancellation ends the wait; the approval may be committed all the same.
    ///
    /// # Errors
    /// [`LifecycleError::Submit`], also when exactly this is approved already.
    pub async fn approve(
        &self,
        definition: &ChaincodeDefinition,
        package: Option<&PackageId>,
    ) -> Result<Committed, LifecycleError> {
        let invocation = Invocation::lifecycle("ApproveChaincodeDefinitionForMyOrg", &definition.approve_args(package));
        Ok(self.channel.submit_with_retry(&invocation, Endorsers::Own, Backoff::conflicts()).await?)
    }

    /// What the own organization has approved, of a sequence or the newest; `None` when nothing.
    ///
    /// Cancel safety: a query has no effect.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub async fn query_approved(
        &self,
        chaincode: &ChaincodeName,
        sequence: Option<i64>,
    ) -> Result<Option<ApprovedDefinition>, LifecycleError> {
        const FUNCTION: &str = "QueryApprovedChaincodeDefinition";
        let result = self.query(FUNCTION, &approved_args(chaincode, sequence.unwrap_or(0))).await;
        let Some(result) = absent(result, "could not fetch approved chaincode definition")? else { return Ok(None) };
        let approved: QueryApprovedChaincodeDefinitionResult = decode(FUNCTION, result)?;
        let package_id = approved_package(approved.source.as_ref())
            .map(PackageId::parse)
            .transpose()
            .map_err(malformed(FUNCTION))?;
        let definition = ChaincodeDefinition::from_approved(chaincode.clone(), approved);
        Ok(Some(ApprovedDefinition { definition, package_id }))
    }

    /// All approvals of the own organization on the channel. Peers know the function from Fabric 3.0 on.
    ///
    /// Cancel safety: a query has no effect.
    ///
    /// # Errors
    /// [`LifecycleError`]; [`Unsupported`](LifecycleError::Unsupported) from a peer of Fabric 2.5.
    pub async fn query_approved_all(&self) -> Result<Vec<ApprovedDefinition>, LifecycleError> {
        const FUNCTION: &str = "QueryApprovedChaincodeDefinitions";
        let result = self.query(FUNCTION, &approved_all_args()).await;
        // What peers say of a function for which they have no access rule, because they do not have it.
        let Some(result) = absent(result, "Unmapped policy for")? else {
            return Err(LifecycleError::Unsupported { function: FUNCTION });
        };
        let list: QueryApprovedChaincodeDefinitionsResult = decode(FUNCTION, result)?;
        list.approved_chaincode_definitions
            .into_iter()
            .map(|one| {
                let package_id = approved_package(one.source.as_ref())
                    .map(PackageId::parse)
                    .transpose()
                    .map_err(malformed(FUNCTION))?;
                let definition = ChaincodeDefinition {
                    name: ChaincodeName::parse(one.name).map_err(malformed(FUNCTION))?,
                    version: one.version,
                    sequence: one.sequence,
                    endorsement_plugin: one.endorsement_plugin,
                    validation_plugin: one.validation_plugin,
                    validation_parameter: one.validation_parameter,
                    collections: one.collections,
                    init_required: one.init_required,
                };
                Ok(ApprovedDefinition { definition, package_id })
            })
            .collect()
    }

    /// Which organizations have approved exactly this definition. [`agreement`](Self::agreement) also tells why the
    /// others have not.
    ///
    /// Cancel safety: a query has no effect.
    ///
    /// # Errors
    /// [`LifecycleError`], also when the sequence is not the next one.
    pub async fn readiness(&self, definition: &ChaincodeDefinition) -> Result<BTreeMap<MspId, bool>, LifecycleError> {
        approvals("CheckCommitReadiness", self.check_readiness(definition).await?.approvals)
    }

    pub(super) async fn check_readiness(
        &self,
        definition: &ChaincodeDefinition,
    ) -> Result<CheckCommitReadinessResult, LifecycleError> {
        const FUNCTION: &str = "CheckCommitReadiness";
        decode(FUNCTION, self.query(FUNCTION, &definition.readiness_args()).await?)
    }

    /// Commits a definition with the endorsements of organizations that have approved it, and waits until an own peer
    /// has committed it. [`ensure_committed`](Self::ensure_committed) is the form that may be repeated.
    ///
    /// Cancel safety: a cancellation ends the wait; the definition may be committed all the same.
    ///
    /// # Errors
    /// [`LifecycleError`]; [`NotReady`](LifecycleError::NotReady) while too few organizations agree.
    pub async fn commit(&self, definition: &ChaincodeDefinition) -> Result<Committed, LifecycleError> {
        let readiness = self.readiness(definition).await?;
        let agreed: Vec<MspId> =
            readiness.iter().filter(|(_, approved)| **approved).map(|(msp_id, _)| msp_id.clone()).collect();
        let needed = discovery::view(&self.channel)
            .await
            .ok()
            .and_then(|view| view.lifecycle_endorsements)
            .unwrap_or(agreed.len())
            .max(1);
        if agreed.len() < needed {
            let (chaincode, sequence) = (definition.name.clone(), definition.sequence);
            let agreement = self.agreement(definition).await?;
            return Err(LifecycleError::NotReady { chaincode, sequence, agreement, needed });
        }
        let invocation = Invocation::lifecycle("CommitChaincodeDefinition", &definition.commit_args());
        let endorsers = Endorsers::AtLeast { needed, of: agreed };
        Ok(self.channel.submit_with_retry(&invocation, endorsers, Backoff::conflicts()).await?)
    }

    /// The channel's definition of a chaincode; `None` when it has none.
    ///
    /// Cancel safety: a query has no effect.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub async fn committed(&self, chaincode: &ChaincodeName) -> Result<Option<CommittedDefinition>, LifecycleError> {
        const FUNCTION: &str = "QueryChaincodeDefinition";
        let result = self.query(FUNCTION, &committed_args(chaincode)).await;
        let Some(result) = absent(result, "is not defined")? else { return Ok(None) };
        let mut committed: QueryChaincodeDefinitionResult = decode(FUNCTION, result)?;
        let approvals = approvals(FUNCTION, std::mem::take(&mut committed.approvals))?;
        let definition = ChaincodeDefinition::from_committed(chaincode.clone(), committed);
        Ok(Some(CommittedDefinition { definition, approvals }))
    }

    /// All definitions of the channel.
    ///
    /// Cancel safety: a query has no effect.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub async fn committed_all(&self) -> Result<Vec<CommittedDefinition>, LifecycleError> {
        const FUNCTION: &str = "QueryChaincodeDefinitions";
        let list: QueryChaincodeDefinitionsResult =
            decode(FUNCTION, self.query(FUNCTION, &committed_all_args()).await?)?;
        list.chaincode_definitions
            .into_iter()
            .map(|one| {
                let definition = ChaincodeDefinition {
                    name: ChaincodeName::parse(one.name).map_err(malformed(FUNCTION))?,
                    version: one.version,
                    sequence: one.sequence,
                    endorsement_plugin: one.endorsement_plugin,
                    validation_plugin: one.validation_plugin,
                    validation_parameter: one.validation_parameter,
                    collections: one.collections,
                    init_required: one.init_required,
                };
                Ok(CommittedDefinition { definition, approvals: BTreeMap::new() })
            })
            .collect()
    }

    async fn query(&self, function: &str, argument: &impl prost::Message) -> Result<bytes::Bytes, LifecycleError> {
        Ok(self.channel.evaluate(&Invocation::lifecycle(function, argument)).await?)
    }
}
