//! Whether enough peers are there to hold what a transaction writes to a collection.
//!
//! Fabric sends private data to other peers before it endorses, so that they are not lost with one peer. Here all peers
//! of a network share them; a collection that demands other peers still demands that they are up.
//!
//! Source: Fabric 3.1.5 `gossip/privdata/distributor.go`.

use std::sync::Arc;

use super::Peer;
use super::context::Refused;
use super::proposal::UnpackedProposal;
use crate::fabric::identity::Signer as _;
use crate::fabric::policy;
use crate::pb::common::SignaturePolicyEnvelope;
use crate::pb::protos::{collection_config, collection_policy_config};
use crate::pb::rwset::TxPvtReadWriteSet;

impl Peer {
    /// Holds that as many other peers are up as the collections of `private` demand.
    pub(super) fn check_dissemination(
        &self,
        private: &TxPvtReadWriteSet,
        proposal: &UnpackedProposal,
    ) -> Result<(), Refused> {
        let Some(channel) = self.channel(proposal.channel()) else { return Ok(()) };
        for in_namespace in &private.ns_pvt_rwset {
            let Some(definition) = channel.ledger().definition(&in_namespace.namespace) else { continue };
            for written in &in_namespace.collection_pvt_rwset {
                let name = &written.collection_name;
                let config = definition.parameters.collections.config.iter().find_map(|config| match &config.payload {
                    Some(collection_config::Payload::StaticCollectionConfig(config)) if config.name == *name => {
                        Some(config)
                    }
                    _ => None,
                });
                let required = config.map_or(0, |config| usize::try_from(config.required_peer_count).unwrap_or(0));
                let policy = config.and_then(|config| config.member_orgs_policy.as_ref()?.payload.as_ref());
                let Some(collection_policy_config::Payload::SignaturePolicy(policy)) = policy else { continue };
                let eligible = if required == 0 { 0 } else { self.eligible(proposal.channel(), policy) };
                if eligible < required {
                    return Err(Refused(format!(
                        "Failed to distribute private collection, txID {}, channel {}, due to could not build private \
                         data dissemination plan for chaincode {} and collection {name}: required to disseminate to at \
                         least {required} peers, but know of only {eligible} eligible peers",
                        proposal.tx_id(),
                        proposal.channel(),
                        in_namespace.namespace,
                    )));
                }
            }
        }
        Ok(())
    }

    /// How many other peers on `channel` may hold what `policy` lets.
    fn eligible(&self, channel: &str, policy: &SignaturePolicyEnvelope) -> usize {
        let others = self.topology().map(|topology| topology.members()).unwrap_or_default();
        let may_hold = |peer: &Self| {
            let Some(channel) = peer.channel(channel) else { return false };
            let identity = channel.access().identity(peer.signer.creator());
            identity.is_ok_and(|identity| policy::evaluate(policy, &[identity]))
        };
        others.iter().filter(|other| !std::ptr::eq(Arc::as_ptr(&other.peer), self) && may_hold(&other.peer)).count()
    }
}
