//! Lifecycle steps that may be repeated: they look first, act where there is something to do, and tell what they did.
//!
//! A module of its own because Fabric's own calls refuse what is done already, with a text for each case, and some of
//! those refusals come as transactions that fail. What counts is never the refusal but what a query shows afterwards.

use futures_util::future::try_join_all;

use super::{ApprovedDefinition, LifecycleError, OrgLifecycle, PeerLifecycle};
use crate::client::error::CallError;
use crate::client::gateway::Client;
use crate::client::transact::{Committed, SubmitError};
use crate::fabric::lifecycle::{ChaincodeDefinition, Difference, Field};
use crate::fabric::names::PackageId;
use crate::fabric::package::Package;

/// What the installation of a package on a peer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installation {
    /// The peer has the package now.
    New,
    /// The peer had exactly this package before.
    Already,
}

/// What an approval did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// The organization approves it now, and had approved nothing for this sequence.
    New(Committed),
    /// The organization approves it now, and had approved something else for this sequence.
    Changed {
        /// The transaction.
        committed: Committed,
        /// In what its former approval differed; the package among it.
        from: Vec<Difference>,
    },
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

impl Approval {
    /// The transaction, when there was one.
    pub fn committed(&self) -> Option<&Committed> {
        match self {
            Self::New(committed) | Self::Changed { committed, .. } => Some(committed),
            Self::Already => None,
        }
    }
}

impl Commitment {
    /// The transaction, when there was one.
    pub fn committed(&self) -> Option<&Committed> {
        match self {
            Self::New(committed) => Some(committed),
            Self::Already => None,
        }
    }
}

impl Client {
    /// Sees to it that all own peers have a package, at the same time, and tells of each what was done, in the order of
    /// [`peers`](Self::peers).
    ///
    /// Cancel safety: a cancellation ends the wait; the peers go on. Call it again.
    ///
    /// # Errors
    /// [`LifecycleError`] of the first peer that failed.
    pub async fn ensure_installed(&self, package: &Package) -> Result<Vec<Installation>, LifecycleError> {
        let lifecycles: Vec<PeerLifecycle> = self.peers().iter().map(|peer| self.peer_lifecycle(peer)).collect();
        try_join_all(lifecycles.iter().map(|lifecycle| lifecycle.ensure_installed(package))).await
    }
}

impl PeerLifecycle {
    /// Sees to it that the peer has a package; it builds it meanwhile, which may take minutes.
    ///
    /// Cancel safety: a cancellation ends the wait; the peer goes on. Call it again.
    ///
    /// # Errors
    /// [`LifecycleError::Call`] with the peer's words, such as why the build failed.
    pub async fn ensure_installed(&self, package: &Package) -> Result<Installation, LifecycleError> {
        // Megabytes need not travel for nothing. The peer's own word on a repeated installation is an error text.
        if self.has(package.id()).await? {
            return Ok(Installation::Already);
        }
        match self.install(package).await {
            Ok(_) => Ok(Installation::New),
            // Someone else installed it meanwhile.
            Err(error @ LifecycleError::Call(CallError::Chaincode { .. } | CallError::Refused { .. })) => {
                if matches!(self.has(package.id()).await, Ok(true)) { Ok(Installation::Already) } else { Err(error) }
            }
            Err(error) => Err(error),
        }
    }
}

impl OrgLifecycle {
    /// Sees to it that the own organization approves a definition, with the package that its peers are to run, and
    /// waits until an own peer has committed the approval. An approval of something else under the same sequence is
    /// replaced. Only own peers are asked.
    ///
    /// Cancel safety: a cancellation ends the wait; the approval may be committed all the same. Call it again.
    ///
    /// # Errors
    /// [`LifecycleError`]: [`Differs`](LifecycleError::Differs) when the channel has committed another definition with
    /// this sequence, [`Sequence`](LifecycleError::Sequence) when the sequence is past or not due yet.
    pub async fn ensure_approved(
        &self,
        definition: &ChaincodeDefinition,
        package: Option<&PackageId>,
    ) -> Result<Approval, LifecycleError> {
        // Asked first: a peer of 2.5 endorses the same approval of a committed definition once more, with nothing in its
        // write set, and the transaction then fails the endorsement policy.
        let before = self.query_approved(&definition.name, Some(definition.sequence)).await;
        let before = match before {
            Ok(Some(before)) if before.is(definition, package) => return Ok(Approval::Already),
            Ok(before) => before,
            // Whoever may not ask may still approve.
            Err(error) if error.refusal().is_some() => None,
            Err(error) => return Err(error),
        };
        match self.approve(definition, package).await {
            Ok(committed) => Ok(match before {
                Some(before) => Approval::Changed { committed, from: before.against(definition, package) },
                None => Approval::New(committed),
            }),
            Err(LifecycleError::Submit(error @ (SubmitError::Endorse { .. } | SubmitError::Invalidated { .. }))) => {
                // The same approval may have come in between. Fabric refuses it with a text for each case: what counts
                // is what is approved.
                let approved = self.query_approved(&definition.name, Some(definition.sequence)).await;
                if matches!(approved, Ok(Some(approved)) if approved.is(definition, package)) {
                    return Ok(Approval::Already);
                }
                Err(self.explained(definition, error.into()).await)
            }
            Err(error) => Err(error),
        }
    }

    /// Sees to it that the channel has a definition: commits it with the endorsements of organizations that have approved
    /// it, and waits until an own peer has committed it.
    ///
    /// Cancel safety: a cancellation ends the wait; the definition may be committed all the same. Call it again.
    ///
    /// # Errors
    /// [`LifecycleError`]: [`NotReady`](LifecycleError::NotReady) while too few organizations agree, with the reasons,
    /// [`Differs`](LifecycleError::Differs) when the channel has committed another definition with this sequence,
    /// [`Sequence`](LifecycleError::Sequence) when the sequence is past or not due yet.
    pub async fn ensure_committed(&self, definition: &ChaincodeDefinition) -> Result<Commitment, LifecycleError> {
        if self.has_committed(definition).await? {
            return Ok(Commitment::Already);
        }
        match self.commit(definition).await {
            Ok(committed) => Ok(Commitment::New(committed)),
            // Another organization may have been faster.
            Err(
                error @ (LifecycleError::Evaluate(_)
                | LifecycleError::Submit(SubmitError::Endorse { .. } | SubmitError::Invalidated { .. })),
            ) => match self.has_committed(definition).await {
                Ok(true) => Ok(Commitment::Already),
                // It knows better what is the matter.
                Err(found @ (LifecycleError::Differs { .. } | LifecycleError::Sequence { .. })) => Err(found),
                Ok(false) | Err(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Whether the channel has this definition; `false` when it is the next one.
    async fn has_committed(&self, definition: &ChaincodeDefinition) -> Result<bool, LifecycleError> {
        let committed = self.committed(&definition.name).await?;
        let sequence = committed.as_ref().map_or(0, |committed| committed.definition.sequence);
        match committed {
            Some(committed) if sequence == definition.sequence => {
                let differences = definition.differences(&committed.definition);
                if differences.is_empty() {
                    return Ok(true);
                }
                let chaincode = definition.name.clone();
                Err(LifecycleError::Differs { chaincode, sequence, differences })
            }
            _ if sequence.checked_add(1) == Some(definition.sequence) => Ok(false),
            _ => Err(LifecycleError::Sequence {
                chaincode: definition.name.clone(),
                requested: definition.sequence,
                committed: sequence,
            }),
        }
    }

    /// Why an approval was refused, in types, where the channel's definition tells; else `error`.
    async fn explained(&self, definition: &ChaincodeDefinition, error: LifecycleError) -> LifecycleError {
        match self.has_committed(definition).await {
            Err(found @ (LifecycleError::Differs { .. } | LifecycleError::Sequence { .. })) => found,
            _ => error,
        }
    }
}

impl ApprovedDefinition {
    /// Whether this is the approval of `definition` with `package`.
    pub fn is(&self, definition: &ChaincodeDefinition, package: Option<&PackageId>) -> bool {
        self.package_id.as_ref() == package && self.definition.is_same(definition)
    }

    /// In what this approval differs from that of `definition` with `package`.
    pub fn against(&self, definition: &ChaincodeDefinition, package: Option<&PackageId>) -> Vec<Difference> {
        let mut differences = definition.differences(&self.definition);
        if self.package_id.as_ref() != package {
            let shown = |id: Option<&PackageId>| id.map_or_else(|| "none".to_owned(), ToString::to_string);
            differences.push(Difference::plain(Field::Package, shown(package), shown(self.package_id.as_ref())));
        }
        differences
    }
}
