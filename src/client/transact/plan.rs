//! Whom to ask for endorsements when organizations or peers are named.

use super::{Endorsers, SubmitError};
use crate::client::channel::Channel;
use crate::client::discovery;
use crate::client::node::Peer;
use crate::fabric::names::MspId;

/// The peers of one organization, the best first.
pub(super) struct Group {
    pub(super) msp_id: MspId,
    pub(super) peers: Vec<Peer>,
}

/// Who is asked: the first `needed` groups, and the others where those fail.
pub(super) struct Plan {
    pub(super) groups: Vec<Group>,
    pub(super) needed: usize,
}

pub(super) fn own(channel: &Channel) -> Group {
    let client = channel.client();
    Group { msp_id: client.msp_id().clone(), peers: client.own_peers() }
}

pub(super) async fn plan(channel: &Channel, endorsers: &Endorsers) -> Result<Plan, SubmitError> {
    let client = channel.client();
    let no_one = |missing: Vec<MspId>| SubmitError::NoEndorsers { missing, failures: Vec::new() };
    let wanted = match endorsers {
        Endorsers::Own => return Ok(Plan { groups: vec![own(channel)], needed: 1 }),
        Endorsers::Orgs(wanted) if wanted.iter().all(|msp_id| msp_id == client.msp_id()) && !wanted.is_empty() => {
            return Ok(Plan { groups: vec![own(channel)], needed: 1 });
        }
        Endorsers::Peers(peers) if peers.is_empty() => return Err(no_one(Vec::new())),
        Endorsers::Peers(peers) => {
            let alone = |peer: &Peer| Group { msp_id: peer.msp_id().clone(), peers: vec![peer.clone()] };
            return Ok(Plan { groups: peers.iter().map(alone).collect(), needed: peers.len() });
        }
        Endorsers::Orgs(wanted) | Endorsers::AtLeast { of: wanted, .. } => Some(wanted),
        Endorsers::AllOrgs | Endorsers::Majority | Endorsers::Discovered => None,
    };
    let view = discovery::view(channel)
        .await
        .map_err(|failures| SubmitError::NoEndorsers { missing: wanted.cloned().unwrap_or_default(), failures })?;
    let msp_ids = match wanted {
        Some(wanted) => wanted.clone(),
        None => view.organizations.keys().cloned().collect(),
    };
    let msp_ids = own_first(channel, msp_ids);
    let all = msp_ids.len();
    let (groups, missing): (Vec<Group>, Vec<Group>) = msp_ids
        .into_iter()
        .map(|msp_id| {
            if msp_id == *client.msp_id() {
                return own(channel);
            }
            let peers = view.organizations.get(&msp_id).cloned().unwrap_or_default();
            Group { msp_id, peers }
        })
        .partition(|group| !group.peers.is_empty());
    let needed = needed(endorsers, all);
    if groups.len() < needed || needed == 0 {
        channel.cache.forget();
        return Err(no_one(missing.into_iter().map(|group| group.msp_id).collect()));
    }
    Ok(Plan { groups, needed })
}

/// Each once, the own organization first: it answers soonest, and its word is the one to compare with.
pub(super) fn own_first(channel: &Channel, mut msp_ids: Vec<MspId>) -> Vec<MspId> {
    msp_ids.sort_by_key(|msp_id| (msp_id != channel.client().msp_id(), msp_id.clone()));
    msp_ids.dedup();
    msp_ids
}

/// How many of `all` organizations.
pub(super) fn needed(endorsers: &Endorsers, all: usize) -> usize {
    match endorsers {
        Endorsers::Majority => all / 2 + 1,
        Endorsers::AtLeast { needed, .. } => *needed,
        _ => all,
    }
}
