//! Chaincode definitions on a channel, as one organization approves and commits them.

use std::collections::BTreeMap;

use super::{LifecycleError, decode, malformed};
use crate::client::channel::{Channel, EvaluateError};
use crate::client::discovery;
use crate::client::transact::{Committed, Endorsers, SubmitError};
use crate::fabric::lifecycle::{
    ChaincodeDefinition, approved_args, approved_package, committed_all_args, committed_args,
};
use crate::fabric::names::{ChaincodeName, MspId, PackageId};
use crate::fabric::tx::Invocation;
use crate::pb::lifecycle::{
    CheckCommitReadinessResult, QueryApprovedChaincodeDefinitionResult, QueryChaincodeDefinitionResult,
    QueryChaincodeDefinitionsResult,
};
use crate::runtime::retry::Backoff;

/// What an approval did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// The organization approves it now.
    New(Committed),
    /// The organization had approved exactly this before.
    Already,
}

/// What a commit of a definition did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commitment {
    /// The channel has the definition now.
    New(Committed),
    /// The channel had exactly this definition before.
    Already,
}

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
    channel: Channel,
}

impl OrgLifecycle {
    pub(in crate::client) fn new(channel: Channel) -> Self {
        Self { channel }
    }

    /// Approves a definition for the own organization and waits until an own peer has committed the approval. Only own
    /// peers are asked.
    ///
    /// Cancel safety: a cancellation ends the wait; the approval may be committed all the same. Call it again.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub async fn approve(
        &self,
        definition: &ChaincodeDefinition,
        package: Option<&PackageId>,
    ) -> Result<Approval, LifecycleError> {
        // Asked first: a peer of 2.5 endorses the same approval of a committed definition once more, with nothing in its
        // write set, and the transaction then fails the endorsement policy.
        if self.has_approved(definition, package).await {
            return Ok(Approval::Already);
        }
        let invocation = Invocation::lifecycle("ApproveChaincodeDefinitionForMyOrg", &definition.approve_args(package));
        match self.channel.submit_with_retry(&invocation, Endorsers::Own, Backoff::conflicts()).await {
            Ok(committed) => Ok(Approval::New(committed)),
            // The same approval may have come in between. Fabric refuses it with a text for each case: what counts is what
            // is approved.
            Err(SubmitError::Endorse { .. } | SubmitError::Invalidated { .. })
                if self.has_approved(definition, package).await =>
            {
                Ok(Approval::Already)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether exactly this is known to be approved.
    async fn has_approved(&self, definition: &ChaincodeDefinition, package: Option<&PackageId>) -> bool {
        let approved = self.query_approved(&definition.name, Some(definition.sequence)).await;
        matches!(approved, Ok(Some(approved)) if approved.is(definition, package))
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
        let query = Invocation::lifecycle(FUNCTION, &approved_args(chaincode, sequence.unwrap_or(0)));
        let Some(result) =
            absent(self.channel.evaluate(&query).await, "could not fetch approved chaincode definition")?
        else {
            return Ok(None);
        };
        let approved: QueryApprovedChaincodeDefinitionResult = decode(FUNCTION, result)?;
        let package_id = approved_package(approved.source.as_ref())
            .map(PackageId::parse)
            .transpose()
            .map_err(malformed(FUNCTION))?;
        let definition = ChaincodeDefinition::from_approved(chaincode.clone(), approved);
        Ok(Some(ApprovedDefinition { definition, package_id }))
    }

    /// Which organizations have approved exactly this definition.
    ///
    /// Cancel safety: a query has no effect.
    ///
    /// # Errors
    /// [`LifecycleError`], also when the sequence is not the next one.
    pub async fn readiness(&self, definition: &ChaincodeDefinition) -> Result<BTreeMap<MspId, bool>, LifecycleError> {
        const FUNCTION: &str = "CheckCommitReadiness";
        let query = Invocation::lifecycle(FUNCTION, &definition.readiness_args());
        let result: CheckCommitReadinessResult = decode(FUNCTION, self.channel.evaluate(&query).await?)?;
        approvals(FUNCTION, result.approvals)
    }

    /// Commits a definition with the endorsements of organizations that have approved it, and waits until an own peer
    /// has committed it.
    ///
    /// Cancel safety: a cancellation ends the wait; the definition may be committed all the same. Call it again.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub async fn commit(&self, definition: &ChaincodeDefinition) -> Result<Commitment, LifecycleError> {
        let approvals = match self.readiness(definition).await {
            Ok(approvals) => approvals,
            // The sequence is not the next one: perhaps because it is done.
            Err(error) if error.refusal().is_some() => return self.committed_or(definition, error).await,
            Err(error) => return Err(error),
        };
        let agreed: Vec<MspId> =
            approvals.iter().filter(|(_, approved)| **approved).map(|(msp_id, _)| msp_id.clone()).collect();
        let needed = discovery::view(&self.channel)
            .await
            .ok()
            .and_then(|view| view.lifecycle_endorsements)
            .unwrap_or(agreed.len())
            .max(1);
        if agreed.len() < needed {
            let (chaincode, sequence) = (definition.name.clone(), definition.sequence);
            return Err(LifecycleError::NotReady { chaincode, sequence, approvals, needed });
        }
        let invocation = Invocation::lifecycle("CommitChaincodeDefinition", &definition.commit_args());
        let endorsers = Endorsers::AtLeast { needed, of: agreed };
        match self.channel.submit_with_retry(&invocation, endorsers, Backoff::conflicts()).await {
            Ok(committed) => Ok(Commitment::New(committed)),
            // Another organization may have been faster.
            Err(error @ (SubmitError::Endorse { .. } | SubmitError::Invalidated { .. })) => {
                self.committed_or(definition, error.into()).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The channel's definition of a chaincode; `None` when it has none.
    ///
    /// Cancel safety: a query has no effect.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub async fn committed(&self, chaincode: &ChaincodeName) -> Result<Option<CommittedDefinition>, LifecycleError> {
        const FUNCTION: &str = "QueryChaincodeDefinition";
        let query = Invocation::lifecycle(FUNCTION, &committed_args(chaincode));
        let Some(result) = absent(self.channel.evaluate(&query).await, "is not defined")? else { return Ok(None) };
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
        let query = Invocation::lifecycle(FUNCTION, &committed_all_args());
        let list: QueryChaincodeDefinitionsResult = decode(FUNCTION, self.channel.evaluate(&query).await?)?;
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

    /// Success when the channel has the definition, else `error`.
    async fn committed_or(
        &self,
        definition: &ChaincodeDefinition,
        error: LifecycleError,
    ) -> Result<Commitment, LifecycleError> {
        match self.committed(&definition.name).await {
            Ok(Some(committed))
                if committed.definition.clone().with_defaults() == definition.clone().with_defaults() =>
            {
                Ok(Commitment::Already)
            }
            _ => Err(error),
        }
    }
}

impl ApprovedDefinition {
    /// Whether this is the approval of `definition` with `package`.
    pub fn is(&self, definition: &ChaincodeDefinition, package: Option<&PackageId>) -> bool {
        self.package_id.as_ref() == package
            && self.definition.clone().with_defaults() == definition.clone().with_defaults()
    }
}

fn approvals(
    function: &'static str,
    approvals: BTreeMap<String, bool>,
) -> Result<BTreeMap<MspId, bool>, LifecycleError> {
    approvals
        .into_iter()
        .map(|(msp_id, approved)| Ok((MspId::parse(msp_id).map_err(malformed(function))?, approved)))
        .collect()
}

/// `_lifecycle` knows no status for "there is none": it tells with these words.
fn absent<T>(result: Result<T, EvaluateError>, words: &str) -> Result<Option<T>, EvaluateError> {
    match result {
        Ok(result) => Ok(Some(result)),
        Err(error) if error.refusal().is_some_and(|(_, message)| message.contains(words)) => Ok(None),
        Err(error) => Err(error),
    }
}
