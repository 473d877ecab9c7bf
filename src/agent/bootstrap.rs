//! Bringing the own peers to where the ledger says they belong.
//!
//! A reconciliation: what is missing is worked out anew each time and done, so it may run at any moment and as often as
//! wanted. It runs at the start, whenever a channel's members have changed, and now and then in between. A peer that is
//! down holds up nothing but itself.
//!
//! Does not deploy chaincode.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::OnceCell;

use crate::client::channels::{ChannelError, Joined};
use crate::client::{Client, Peer};
use crate::fabric::names::ChannelName;
use crate::opssc::calls::ChannelOps;
use crate::opssc::channel_ops::ChannelType;
use crate::pb::common::Block;
use crate::runtime::CancellationToken;
use crate::runtime::retry::Backoff;

use super::daemon::Bells;
use super::text;

/// How long it rests when nothing is missing.
const PERIOD: Duration = Duration::from_mins(10);
/// How often it looks when it was woken, and how soon again: the peer that is asked may be behind the one that told.
const LOOKS: u32 = 4;
const SOON: Duration = Duration::from_secs(5);
/// How soon it looks again at the latest while something is missing.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// What brings the own peers into their channels.
pub(super) struct Bootstrap {
    client: Client,
    ops_channel: ChannelName,
    channels: ChannelOps,
    /// Rung when there may be something to do.
    bells: Arc<Bells>,
    stop: CancellationToken,
}

impl Bootstrap {
    pub(super) fn new(client: Client, channels: ChannelOps, bells: Arc<Bells>, stop: CancellationToken) -> Self {
        let ops_channel = channels.channel().name().clone();
        Self { client, ops_channel, channels, bells, stop }
    }

    /// Looks, acts, rests, until told to stop.
    pub(super) async fn run(self) -> Result<(), Infallible> {
        let schedule = || Backoff::new(Duration::from_secs(1), LONGEST_WAIT);
        let mut waits = schedule();
        let mut looks = 0_u32;
        loop {
            let Some(missing) = self.stop.run_until_cancelled(self.once()).await else { return Ok(()) };
            let rest = if missing.is_empty() {
                waits = schedule();
                looks = looks.saturating_sub(1);
                if looks > 0 { SOON } else { PERIOD }
            } else {
                let wait = waits.next().unwrap_or(LONGEST_WAIT);
                tracing::warn!(missing = missing.join("; "), again_in = ?wait, "own peers are not where they belong yet");
                wait
            };
            let resting = async {
                tokio::select! {
                    () = self.bells.bootstrap.notified() => looks = LOOKS,
                    () = tokio::time::sleep(rest) => {}
                }
            };
            if self.stop.run_until_cancelled(resting).await.is_none() {
                return Ok(());
            }
        }
    }

    /// Does what there is to do and gives what is still missing, in words.
    async fn once(&self) -> Vec<String> {
        let mut missing = self.join(std::slice::from_ref(&self.ops_channel)).await;
        let own = self.client.msp_id().as_str();
        match self.channels.get_all_channels().await {
            Ok(channels) => {
                let mut wanted = Vec::new();
                for channel in channels {
                    if channel.channel_type != ChannelType::Application || !channel.has(own) {
                        continue;
                    }
                    match ChannelName::parse(channel.id.as_str()) {
                        Ok(name) => wanted.push(name),
                        Err(error) => {
                            let id = text::bounded(&channel.id, 80);
                            tracing::warn!(id, %error, "the ledger lists a channel that cannot be");
                        }
                    }
                }
                missing.extend(self.join(&wanted).await);
            }
            Err(error) => missing.push(format!("the channels to join are not known: {}", text::chain(&error))),
        }
        missing
    }

    /// Has all own peers join these channels, peers side by side. Gives who is missing where.
    async fn join(&self, channels: &[ChannelName]) -> Vec<String> {
        let blocks: Vec<FirstBlock<'_>> =
            channels.iter().map(|channel| FirstBlock::new(&self.client, channel)).collect();
        let peers = self.client.peers().iter().map(|peer| self.join_one(peer, &blocks));
        join_all(peers).await.concat()
    }

    async fn join_one(&self, peer: &Peer, blocks: &[FirstBlock<'_>]) -> Vec<String> {
        let joined = match self.client.joined_channels(peer).await {
            Ok(joined) => joined,
            Err(error) if blocks.is_empty() => {
                tracing::debug!(%error, peer = peer.name(), "peer does not tell its channels");
                return Vec::new();
            }
            Err(error) => return vec![format!("{} does not tell its channels: {}", peer.name(), text::chain(&error))],
        };
        let mut missing = Vec::new();
        // One after the other: a peer makes one ledger at a time.
        for first in blocks.iter().filter(|first| !joined.contains(first.channel)) {
            let result = match first.get().await {
                Ok(block) => self.client.join(peer, block).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(Joined::New) => tracing::info!(peer = peer.name(), channel = %first.channel, "peer joined"),
                Ok(Joined::Already) => {}
                Err(error) => {
                    missing.push(format!("{} in {}: {}", peer.name(), first.channel, text::chain(&error)));
                }
            }
        }
        missing
    }
}

/// The first block of a channel, fetched when the first peer needs it.
struct FirstBlock<'a> {
    client: &'a Client,
    channel: &'a ChannelName,
    block: OnceCell<Block>,
}

impl<'a> FirstBlock<'a> {
    fn new(client: &'a Client, channel: &'a ChannelName) -> Self {
        Self { client, channel, block: OnceCell::new() }
    }

    async fn get(&self) -> Result<&Block, ChannelError> {
        self.block.get_or_try_init(|| self.client.genesis_block(self.channel)).await
    }
}
