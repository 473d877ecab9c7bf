//! The blocks' way from the ordering service to a peer.
//!
//! A module of its own because neither knows the other: a peer commits what it is given, a chain tells its height. In a
//! network of processes this would be a deliver stream. A channel may have no chain yet, or none any more.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::devnet::deliver::Feed as _;
use crate::devnet::faults::Faults;
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
                if let Some(ledger) = peer.ledger(&channel) {
                    let pulled = follow(Arc::clone(&chains), ledger, peer.faults().clone());
                    inside.spawn(format!("blocks of {channel}"), pulled);
                }
                followed.insert(channel);
            }
            if joined.changed().await.is_err() {
                return Ok::<(), Infallible>(());
            }
        }
    });
}

async fn follow(chains: Arc<Chains>, ledger: Arc<Ledger>, faults: Faults) -> Result<(), Infallible> {
    let mut changed = chains.watch();
    loop {
        changed.mark_unchanged();
        if let Some(chain) = chains.get(ledger.channel().as_str()) {
            let ended = chain.ended();
            ended.run_until_cancelled(pull(&chain, &ledger, &faults)).await;
        }
        if changed.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Does not end before the chain is gone.
async fn pull(chain: &Chain, ledger: &Ledger, faults: &Faults) {
    let mut height = chain.blocks().watch();
    loop {
        let next = ledger.height();
        if height.wait_for(|height| *height > next).await.is_err() {
            return;
        }
        let Some(block) = chain.blocks().get(next) else { continue };
        faults.before_block().await;
        if let Err(error) = ledger.commit((*block).clone()).await {
            tracing::error!(channel = %ledger.channel(), block = next, %error, "block was not committed");
            tokio::time::sleep(PAUSE).await;
        }
    }
}
