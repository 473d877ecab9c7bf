//! What the network looks like from here, asked now and then.
//!
//! A module of its own so that whoever wants to know (the page, probes, counters) reads what was seen last and asks no
//! node itself: however many look, the nodes are asked once in a period. It only looks. What is seen may be a period old,
//! and says so.

mod certificates;
mod network;
mod snapshot;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::client::Client;
use crate::opssc::calls::ChannelOps;
use crate::runtime::CancellationToken;

pub use certificates::CertificateFile;
pub use snapshot::{CertificateView, ChaincodeView, ChannelView, OrdererView, PeerChannel, PeerView, Snapshot, now_ms};

/// What was seen last; `None` before the first look has ended.
pub type Seen = watch::Receiver<Option<Arc<Snapshot>>>;

/// Looks at the network.
pub(super) struct Survey {
    client: Client,
    channels: ChannelOps,
    files: Vec<CertificateFile>,
    period: Duration,
    seen: watch::Sender<Option<Arc<Snapshot>>>,
}

impl Survey {
    pub(super) fn new(client: Client, channels: ChannelOps, files: Vec<CertificateFile>, period: Duration) -> Self {
        Self { client, channels, files, period, seen: watch::Sender::new(None) }
    }

    /// What it sees, for whoever wants to know.
    pub(super) fn seen(&self) -> Seen {
        self.seen.subscribe()
    }

    /// Looks, rests, until told to stop.
    pub(super) async fn run(self, stop: CancellationToken) -> Result<(), Infallible> {
        let looking = async {
            loop {
                let before = self.seen.borrow().clone();
                let mut snapshot = network::look(&self.client, &self.channels, before.as_deref()).await;
                snapshot.certificates = certificates::all(&self.client, self.files.clone()).await;
                warn_of_changes(before.as_deref(), &snapshot);
                self.seen.send_replace(Some(Arc::new(snapshot)));
                tokio::time::sleep(self.period).await;
            }
        };
        stop.run_until_cancelled(looking).await;
        Ok(())
    }
}

/// Nodes that went away or came back since the last look, to the log.
fn warn_of_changes(before: Option<&Snapshot>, now: &Snapshot) {
    let nodes = |snapshot: &Snapshot| -> Vec<(String, bool, Option<String>)> {
        let peers = snapshot.peers.iter().map(|peer| (peer.name.clone(), peer.up, peer.error.clone()));
        peers.chain(snapshot.orderers.iter().map(|node| (node.name.clone(), node.up, node.error.clone()))).collect()
    };
    let before = before.map(nodes).unwrap_or_default();
    for (node, up, error) in nodes(now) {
        let was_up = before.iter().find(|(name, ..)| *name == node).is_none_or(|(_, up, _)| *up);
        match (was_up, up) {
            (true, false) => tracing::warn!(node, error, "node cannot be reached"),
            (false, true) => tracing::info!(node, "node can be reached again"),
            _ => {}
        }
    }
}

/// Files of certificates that are shown by their names.
pub(super) fn files<const N: usize>(named: [(&'static str, Option<&(PathBuf, PathBuf)>); N]) -> Vec<CertificateFile> {
    let set = named.into_iter().filter_map(|(what, pair)| Some((what, &pair?.0)));
    set.map(|(what, path)| CertificateFile { what, path: path.clone() }).collect()
}
