//! Asking own peers and the ledger what there is.
//!
//! A module of its own because everything in it only asks: [`Foreseen`](super::Foreseen) does no more. Answers come from
//! others, so that everything that is taken over is parsed, and what cannot be learnt is said instead of guessed.

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};

use super::contracts::Contracts;
use super::missing::{DefinitionSeen, Observed, PeerSeen, ProposalSeen};
use super::text;
use crate::client::lifecycle::{CommittedDefinition, LifecycleError, OrgLifecycle};
use crate::client::{Client, Peer};
use crate::fabric::names::{ChannelName, PackageId};
use crate::opssc::calls::{ChaincodeOps, ChannelOps};
use crate::opssc::chaincode_ops::Status;
use crate::opssc::channel_ops::ChannelType;

/// How many definitions of a channel are asked about at the same time.
const AT_A_TIME: usize = 8;

/// Whom to ask.
#[derive(Debug, Clone)]
pub(super) struct Observer {
    pub(super) client: Client,
    pub(super) channels: ChannelOps,
    pub(super) chaincodes: ChaincodeOps,
    pub(super) contracts: Contracts,
}

impl Observer {
    /// Looks at everything.
    ///
    /// Cancel safety: nothing but questions.
    pub(super) async fn look(&self) -> Observed {
        let ops = self.channels.channel().name().clone();
        let mut seen = Observed {
            peers: join_all(self.client.peers().iter().map(|peer| self.peer(peer))).await,
            contracts: self.contracts.names(),
            channels: vec![ops.clone()],
            ..Observed::default()
        };
        if !is_in(&seen.peers, &ops) {
            return seen;
        }
        let definitions = self.definitions(&ops).await;
        // The ledger answers where the contract runs.
        let runs = |definitions: &[DefinitionSeen]| {
            let mut contracts = definitions.iter().filter(|it| it.definition.name == self.contracts.channel_ops);
            contracts.any(|it| it.approved && it.package.as_ref().is_none_or(|package| has(&seen.peers, package)))
        };
        let runs = definitions.as_deref().is_ok_and(runs);
        seen.definitions.insert(ops.clone(), definitions);
        if runs {
            self.application_channels(&mut seen).await;
        }
        let asked: Vec<ChannelName> =
            seen.channels.iter().filter(|it| **it != ops && is_in(&seen.peers, it)).cloned().collect();
        for (channel, definitions) in
            asked.iter().zip(join_all(asked.iter().map(|channel| self.definitions(channel))).await)
        {
            seen.definitions.insert(channel.clone(), definitions);
        }
        if self.needs_proposals(&seen) {
            self.proposals(&mut seen).await;
        }
        seen
    }

    async fn peer(&self, peer: &Peer) -> PeerSeen {
        let lifecycle = self.client.peer_lifecycle(peer);
        let told = match self.client.joined_channels(peer).await {
            Err(error) => Err(text::chain(&error)),
            Ok(joined) => match lifecycle.installed().await {
                Err(error) => Err(text::chain(&error)),
                Ok(installed) => Ok((joined, installed.into_iter().map(|it| it.package_id).collect())),
            },
        };
        PeerSeen { name: peer.name().to_owned(), told }
    }

    async fn application_channels(&self, seen: &mut Observed) {
        let own = self.client.msp_id().as_str();
        let listed = match self.channels.get_all_channels().await {
            Ok(listed) => listed,
            Err(error) => {
                seen.unknown.push(format!("the channels to join are not known: {}", text::chain(&error)));
                return;
            }
        };
        seen.listed = true;
        for channel in listed {
            if channel.channel_type != ChannelType::Application || !channel.has(own) {
                continue;
            }
            match ChannelName::parse(channel.id.as_str()) {
                Ok(name) if seen.channels.contains(&name) => {}
                Ok(name) => seen.channels.push(name),
                Err(error) => {
                    let id = text::bounded(&channel.id, 80);
                    tracing::warn!(id, %error, "the ledger lists a channel that cannot be");
                }
            }
        }
    }

    async fn definitions(&self, channel: &ChannelName) -> Result<Vec<DefinitionSeen>, String> {
        let lifecycle = self.client.channel(channel.clone()).lifecycle();
        let committed = lifecycle.committed_all().await.map_err(|error| text::chain(&error))?;
        let seen: Vec<Result<Option<DefinitionSeen>, LifecycleError>> = stream::iter(committed)
            .map(|committed| self.definition(&lifecycle, committed))
            .buffered(AT_A_TIME)
            .collect()
            .await;
        seen.into_iter().filter_map(Result::transpose).collect::<Result<_, _>>().map_err(|error| text::chain(&error))
    }

    /// A list does not tell who has approved, so each is asked about; one that is gone meanwhile is none.
    async fn definition(
        &self,
        lifecycle: &OrgLifecycle,
        listed: CommittedDefinition,
    ) -> Result<Option<DefinitionSeen>, LifecycleError> {
        let name = listed.definition.name;
        let Some(CommittedDefinition { definition, approvals }) = lifecycle.committed(&name).await? else {
            return Ok(None);
        };
        let approved = approvals.get(self.client.msp_id()).copied().unwrap_or(false);
        let package = if approved {
            lifecycle.query_approved(&name, Some(definition.sequence)).await?.and_then(|approved| approved.package_id)
        } else {
            None
        };
        Ok(Some(DefinitionSeen { definition, approved, package }))
    }

    /// Proposals are only asked for where something may have to be made from one.
    fn needs_proposals(&self, seen: &Observed) -> bool {
        let contracts = self.contracts.names();
        let ops = self.channels.channel().name();
        seen.definitions.iter().any(|(channel, definitions)| {
            definitions.as_deref().unwrap_or_default().iter().any(|it| {
                let is_contract = channel == ops && contracts.contains(&it.definition.name);
                let is_lost = it.package.as_ref().is_some_and(|package| !has(&seen.peers, package));
                !is_contract && (!it.approved || is_lost)
            })
        })
    }

    async fn proposals(&self, seen: &mut Observed) {
        match self.chaincodes.get_all_proposals().await {
            Ok(proposals) => {
                let committed = proposals.into_values().filter(|proposal| proposal.status == Status::Committed);
                seen.proposals = committed
                    .map(|proposal| ProposalSeen {
                        id: proposal.id,
                        channel: proposal.channel_id,
                        chaincode: proposal.chaincode_name,
                        sequence: proposal.chaincode_definition.sequence,
                    })
                    .collect();
            }
            Err(error) => seen.unknown.push(format!("the proposals are not known: {}", text::chain(&error))),
        }
    }
}

fn is_in(peers: &[PeerSeen], channel: &ChannelName) -> bool {
    peers.iter().any(|peer| peer.told.as_ref().is_ok_and(|(joined, _)| joined.contains(channel)))
}

fn has(peers: &[PeerSeen], package: &PackageId) -> bool {
    peers.iter().any(|peer| peer.told.as_ref().is_ok_and(|(_, installed)| installed.contains(package)))
}
