//! Endorsements by whoever must, as the network says.
//!
//! A module of its own because it takes two questions: an own peer runs the proposal and tells what it touches, and the
//! discovery service tells who must endorse that. Its answer is a choice of layouts: so many peers of this group and
//! so many of that. The layout that lacks least is tried first, and left when a group runs out of peers.
//!
//! Source: `fabric-protos/discovery/protocol.proto`; Fabric 3.1.5 `discovery/endorsement`.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::endorse::{ask, join};
use super::plan::own;
use super::{Endorsed, SubmitError};
use crate::client::channel::Channel;
use crate::client::discovery::{self, Layouts};
use crate::client::error::CallError;
use crate::client::node::Peer;
use crate::fabric::names::MspId;
use crate::fabric::tx::{ChaincodeCall, Proposal};
use crate::pb::protos::{ChaincodeInterest, ProposalResponse, SignedProposal};

pub(super) async fn endorse(
    channel: &Channel,
    proposal: &Proposal,
    signed: &SignedProposal,
) -> Result<Endorsed, SubmitError> {
    let tx_id = || proposal.tx_id().clone();
    let mut failures = Vec::new();
    let mut first = None;
    let mut interest = ChaincodeInterest { chaincodes: proposal.interest().iter().map(call).collect() };
    if interest.chaincodes.is_empty() {
        match ask(channel, own(channel).peers, signed).await {
            Ok((_, response)) => {
                interest = response.interest.clone().unwrap_or_default();
                first = Some(response);
            }
            // What is for the endorsers alone is shown to no one of whom it is not known that he must see it.
            Err(errors) if proposal.has_transient() || errors.iter().any(|error| !error.is_of_this_node()) => {
                return Err(SubmitError::Endorse { tx_id: tx_id(), failures: errors, endorsed: Vec::new() });
            }
            Err(errors) => failures = errors,
        }
    }
    if interest.chaincodes.is_empty() {
        interest.chaincodes.push(call(&ChaincodeCall::new(proposal.chaincode())));
    }
    if proposal.has_transient() {
        // Likewise: only those who may read a collection.
        for call in &mut interest.chaincodes {
            call.no_private_reads = false;
        }
    }
    let layouts = discovery::layouts(channel, interest)
        .await
        .map_err(|failures| SubmitError::NoEndorsers { missing: Vec::new(), failures })?;
    let mut progress = Progress::new(layouts);
    if let Some(first) = first {
        progress.credit(&first);
    }
    loop {
        let Some(missing) = progress.missing() else {
            channel.cache.forget();
            failures.append(&mut progress.failures);
            if failures.is_empty() {
                return Err(SubmitError::NoEndorsers { missing: Vec::new(), failures });
            }
            return Err(SubmitError::Endorse { tx_id: tx_id(), failures, endorsed: progress.endorsed() });
        };
        if missing.is_empty() {
            return join(proposal, &progress.responses());
        }
        let answers = join_all(missing.into_iter().map(|(group, peers)| async {
            let answer = ask(channel, peers, signed).await;
            (group, answer)
        }));
        for (group, answer) in answers.await {
            progress.take(&group, answer);
        }
        if progress.failures.iter().any(|error| !error.is_of_this_node()) {
            failures.append(&mut progress.failures);
            return Err(SubmitError::Endorse { tx_id: tx_id(), failures, endorsed: progress.endorsed() });
        }
    }
}

pub(in crate::client) fn call(call: &ChaincodeCall) -> crate::pb::protos::ChaincodeCall {
    crate::pb::protos::ChaincodeCall {
        name: call.name.clone(),
        collection_names: call.collections.clone(),
        no_private_reads: call.no_private_reads,
        no_public_writes: call.no_public_writes,
        ..Default::default()
    }
}

/// Who has endorsed, who may still be asked.
struct Progress {
    layouts: Vec<BTreeMap<String, usize>>,
    groups: BTreeMap<String, Members>,
    failures: Vec<CallError>,
}

#[derive(Default)]
struct Members {
    /// The best first.
    left: Vec<discovery::Endorser>,
    responses: Vec<(Option<MspId>, ProposalResponse)>,
}

impl Progress {
    fn new(Layouts { groups, layouts }: Layouts) -> Self {
        let members = |left| Members { left, responses: Vec::new() };
        let groups = groups.into_iter().map(|(name, left)| (name, members(left))).collect();
        Self { layouts, groups, failures: Vec::new() }
    }

    /// Counts an endorsement that was there before, in every group that its endorser is in.
    fn credit(&mut self, response: &ProposalResponse) {
        let Some(endorser) = response.endorsement.as_ref().map(|endorsement| endorsement.endorser.clone()) else {
            return;
        };
        for members in self.groups.values_mut() {
            if let Some(at) = members.left.iter().position(|candidate| candidate.identity == endorser) {
                let candidate = members.left.remove(at);
                members.responses.push((Some(candidate.peer.msp_id().clone()), response.clone()));
            }
        }
    }

    /// Whom to ask to fulfil the layout that lacks least: a list of peers, of which one must endorse, for each
    /// endorsement that lacks. `None` when no layout can be fulfilled any more.
    fn missing(&self) -> Option<Vec<(String, Vec<Peer>)>> {
        let lacks = |layout: &BTreeMap<String, usize>| {
            layout.iter().try_fold(0_usize, |sum, (group, quantity)| {
                let members = self.groups.get(group)?;
                let lacking = quantity.saturating_sub(members.responses.len());
                (lacking <= members.left.len()).then_some(sum.saturating_add(lacking))
            })
        };
        let (_, layout) = self
            .layouts
            .iter()
            .filter_map(|layout| Some((lacks(layout)?, layout)))
            .min_by_key(|(lacking, _)| *lacking)?;
        let mut missing = Vec::new();
        for (group, quantity) in layout {
            let members = self.groups.get(group)?;
            let lacking = quantity.saturating_sub(members.responses.len());
            for place in 0..lacking {
                let peers = members.left.iter().skip(place).step_by(lacking).map(|endorser| endorser.peer.clone());
                missing.push((group.clone(), peers.collect()));
            }
        }
        Some(missing)
    }

    fn take(&mut self, group: &str, answer: Result<(Peer, ProposalResponse), Vec<CallError>>) {
        let Some(members) = self.groups.get_mut(group) else { return };
        match answer {
            Ok((peer, response)) => {
                members.left.retain(|endorser| endorser.peer != peer);
                members.responses.push((Some(peer.msp_id().clone()), response));
            }
            Err(errors) => {
                let failed = |endorser: &discovery::Endorser| {
                    errors.iter().any(|error| error.node() == Some(endorser.peer.node()))
                };
                members.left.retain(|endorser| !failed(endorser));
                self.failures.extend(errors);
            }
        }
    }

    fn responses(&self) -> Vec<ProposalResponse> {
        self.groups.values().flat_map(|members| &members.responses).map(|(_, response)| response.clone()).collect()
    }

    fn endorsed(&self) -> Vec<MspId> {
        let mut endorsed: Vec<MspId> =
            self.groups.values().flat_map(|members| &members.responses).filter_map(|(by, _)| by.clone()).collect();
        endorsed.sort();
        endorsed.dedup();
        endorsed
    }
}
