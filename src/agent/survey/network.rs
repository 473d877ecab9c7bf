//! The questions that a look at the network consists of.
//!
//! Every node is asked side by side with the others and has a few seconds: one that hangs does not make the others look
//! old. Approvals that are complete are not asked for each time, since they stay so until the channel gets a member.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use tokio::time::Instant;

use super::snapshot::{ChaincodeView, ChannelView, OrdererView, PeerChannel, PeerView, Snapshot, now_ms};
use crate::agent::text;
use crate::client::lifecycle::OrgLifecycle;
use crate::client::{CallError, Client, Orderer, Peer};
use crate::fabric::names::{ChaincodeName, ChannelName};
use crate::opssc::calls::ChannelOps;
use crate::opssc::channel_ops;

/// How long one question may take.
const LIMIT: Duration = Duration::from_secs(10);
/// At most this many channels, and chaincodes of one channel, are looked at.
const CHANNELS: usize = 200;
const CHAINCODES: usize = 200;
/// At most this many members of a channel are told.
const MEMBERS: usize = 500;
/// At most this many channels are looked at side by side.
const SIDE_BY_SIDE: usize = 4;
/// How long complete approvals are believed.
const BELIEVED: Duration = Duration::from_mins(10);

/// At most this many characters of a reason.
const REASON: usize = 300;

pub(super) async fn look(client: &Client, ops: &ChannelOps, before: Option<&Snapshot>) -> Snapshot {
    let begun = Instant::now();
    let mut remarks = Vec::new();
    let peers = join_all(client.peers().iter().map(|peer| look_at_peer(client, peer)));
    let orderers = join_all(client.orderers().iter().map(|orderer| look_at_orderer(client, ops, orderer)));
    let (peers, orderers, known) = tokio::join!(peers, orderers, timed(ops.get_all_channels()));
    let known = match known {
        Some(Ok(known)) => known,
        Some(Err(error)) => {
            remarks.push(format!("channel-ops does not tell the channels: {}", reason(&error)));
            Vec::new()
        }
        None => {
            remarks.push("channel-ops does not tell the channels in time".to_owned());
            Vec::new()
        }
    };
    let mut channels = outline(client.msp_id().as_str(), ops.channel().name(), &peers, known);
    if channels.len() > CHANNELS {
        remarks.push(format!("{} channels are not shown", channels.len() - CHANNELS));
        channels.truncate(CHANNELS);
    }
    let fresh = before.is_some_and(|before| now_ms() / ms(BELIEVED) == before.taken_ms / ms(BELIEVED));
    let looks = channels.into_iter().map(|channel| {
        let seen =
            before.filter(|_| fresh).and_then(|before| before.channels.iter().find(|seen| seen.name == channel.name));
        look_at_channel(client, channel, seen)
    });
    // In their order, and only a few at a time.
    let channels = stream::iter(looks).buffered(SIDE_BY_SIDE).collect().await;
    Snapshot {
        taken_ms: now_ms(),
        took_ms: ms(begun.elapsed()),
        peers,
        orderers,
        channels,
        certificates: Vec::new(),
        remarks,
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

async fn timed<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(LIMIT, work).await.ok()
}

fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    text::bounded(&text::chain(error), REASON)
}

fn silent() -> String {
    format!("no answer within {} s", LIMIT.as_secs())
}

async fn look_at_peer(client: &Client, peer: &Peer) -> PeerView {
    let (up, error, joined) = match timed(client.joined_channels(peer)).await {
        Some(Ok(joined)) => (true, None, joined),
        Some(Err(error)) => (error.refusal().is_some(), Some(reason(&error)), Vec::new()),
        None => (false, Some(silent()), Vec::new()),
    };
    let heights = joined.into_iter().take(CHANNELS).map(|name| async move {
        let height = timed(client.channel(name.clone()).height_of(peer)).await.and_then(Result::ok);
        PeerChannel { name: name.to_string(), height }
    });
    let channels = stream::iter(heights).buffered(SIDE_BY_SIDE).collect().await;
    PeerView { name: text::bounded(peer.name(), 200), address: text::bounded(peer.address(), 200), up, error, channels }
}

async fn look_at_orderer(client: &Client, ops: &ChannelOps, orderer: &Orderer) -> OrdererView {
    let (up, error, height) = match timed(client.height_of_orderer(orderer, ops.channel().name())).await {
        Some(Ok(height)) => (true, None, Some(height)),
        // One that refuses is there. It may not be in the ops channel, or not know this organization yet.
        Some(Err(error @ CallError::Refused { .. })) => (true, Some(reason(&error)), None),
        Some(Err(error)) => (false, Some(reason(&error)), None),
        None => (false, Some(silent()), None),
    };
    let (name, address) = (text::bounded(orderer.name(), 200), text::bounded(orderer.address(), 200));
    OrdererView { name, address, up, error, height }
}

/// The channels, by what the peers and OpsSC know of them: the ops channel first, then by their names.
fn outline(own: &str, ops: &ChannelName, peers: &[PeerView], known: Vec<channel_ops::Channel>) -> Vec<ChannelView> {
    let empty = |name: &str| ChannelView {
        name: name.to_owned(),
        kind: None,
        organizations: Vec::new(),
        height: None,
        missing_peers: Vec::new(),
        chaincodes: Vec::new(),
        error: None,
    };
    let mut channels: BTreeMap<String, ChannelView> = BTreeMap::new();
    for joined in peers.iter().flat_map(|peer| &peer.channels) {
        let channel = channels.entry(joined.name.clone()).or_insert_with(|| empty(&joined.name));
        channel.height = channel.height.max(joined.height);
    }
    let mut wanted = vec![ops.to_string()];
    for channel in known {
        let is_wanted = channel.has(own) && channel.channel_type == channel_ops::ChannelType::Application;
        // The ledger may list what cannot be a channel.
        if ChannelName::parse(channel.id.as_str()).is_err() {
            continue;
        }
        if is_wanted {
            wanted.push(channel.id.clone());
        } else if !channels.contains_key(&channel.id) {
            continue;
        }
        let view = channels.entry(channel.id.clone()).or_insert_with(|| empty(&channel.id));
        view.kind = Some(text::bounded(channel.channel_type.as_str(), 40));
        let members = channel.organizations.unwrap_or_default().into_keys().take(MEMBERS);
        view.organizations = members.map(|member| text::bounded(&member, 120)).collect();
    }
    for name in &wanted {
        let view = channels.entry(name.clone()).or_insert_with(|| empty(name));
        let absent = peers.iter().filter(|peer| peer.up && !peer.channels.iter().any(|joined| joined.name == *name));
        view.missing_peers = absent.map(|peer| peer.name.clone()).collect();
    }
    let first = channels.remove(ops.as_str());
    first.into_iter().chain(channels.into_values()).collect()
}

async fn look_at_channel(client: &Client, mut channel: ChannelView, before: Option<&ChannelView>) -> ChannelView {
    // Without a peer in it there is nobody to ask.
    let (Some(_), Ok(name)) = (channel.height, ChannelName::parse(channel.name.as_str())) else { return channel };
    let lifecycle = client.channel(name).lifecycle();
    let mut committed = match timed(lifecycle.committed_all()).await {
        Some(Ok(committed)) => committed,
        Some(Err(error)) => {
            channel.error = Some(reason(&error));
            return channel;
        }
        None => {
            channel.error = Some(silent());
            return channel;
        }
    };
    if committed.len() > CHAINCODES {
        channel.error = Some(format!("{} chaincodes are not shown", committed.len() - CHAINCODES));
        committed.truncate(CHAINCODES);
    }
    for definition in committed.into_iter().map(|committed| committed.definition) {
        let (version, sequence) = (text::bounded(&definition.version, 80), definition.sequence);
        let mut view =
            ChaincodeView { name: definition.name.to_string(), sequence, version, approvals: BTreeMap::new() };
        let complete = before.and_then(|before| {
            before.chaincodes.iter().find(|seen| {
                let same = seen.name == view.name && seen.sequence == view.sequence;
                same && !seen.approvals.is_empty() && seen.approvals.values().all(|approved| *approved)
            })
        });
        view.approvals = match complete {
            Some(seen) => seen.approvals.clone(),
            None => approvals(&lifecycle, &definition.name).await,
        };
        channel.chaincodes.push(view);
    }
    channel
}

/// Who has approved what is committed; nobody where that is not told.
async fn approvals(lifecycle: &OrgLifecycle, chaincode: &ChaincodeName) -> BTreeMap<String, bool> {
    match timed(lifecycle.committed(chaincode)).await {
        Some(Ok(Some(committed))) => {
            let approvals = committed.approvals.into_iter().take(MEMBERS);
            approvals.map(|(msp_id, approved)| (text::bounded(msp_id.as_str(), 120), approved)).collect()
        }
        _ => BTreeMap::new(),
    }
}
