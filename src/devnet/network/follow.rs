//! The blocks' way from the ordering service to a peer.
//!
//! A module of its own because neither knows the other: a peer commits what it is given, a chain tells its height. In a
//! network of processes this would be a deliver stream.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::devnet::deliver::Feed as _;
use crate::devnet::ledger::Ledger;
use crate::devnet::orderer::{Chain, Chains};
use crate::devnet::peer::Peer;
use crate::runtime::Workers;

/// Before a block that was refused is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Brings `peer` the blocks of all channels that it is in, and of those that it joins later.
pub(super) fn start(peer: &Arc<Peer>, chains: &Arc<Chains>, workers: &Workers) {
    let (peer, chains, inside) = (Arc::clone(peer), Arc::clone(chains), workers.clone());
    workers.spawn("channels of a peer", async move {
        let mut joined = peer.watch_channels();
        let mut followed = BTreeSet::new();
        loop {
            let channels = joined.borrow_and_update().clone();
            for channel in channels {
                if followed.contains(&channel) {
                    continue;
                }
                if let (Some(chain), Some(ledger)) = (chains.get(channel.as_str()), peer.ledger(&channel)) {
                    inside.spawn(format!("blocks of {channel}"), pull(chain, ledger));
                } else {
                    tracing::warn!(%channel, "channel is unknown to the ordering service");
                }
                followed.insert(channel);
            }
            if joined.changed().await.is_err() {
                return Ok::<(), Infallible>(());
            }
        }
    });
}

async fn pull(chain: Arc<Chain>, ledger: Arc<Ledger>) -> Result<(), Infallible> {
    let mut height = chain.blocks().watch();
    loop {
        let next = ledger.height();
        if height.wait_for(|height| *height > next).await.is_err() {
            return Ok(());
        }
        let Some(block) = chain.blocks().get(next) else { continue };
        if let Err(error) = ledger.commit((*block).clone()).await {
            tracing::error!(channel = %ledger.channel(), block = next, %error, "block was not committed");
            tokio::time::sleep(PAUSE).await;
        }
    }
}
