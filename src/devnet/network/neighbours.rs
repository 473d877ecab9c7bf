//! Which nodes are up, as gossip would tell peers of each other, and the way from a peer to the orderers.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use tonic::{Status, async_trait};

use crate::devnet::disturb;
use crate::devnet::orderer::Orderer;
use crate::devnet::peer::{Member, Peer, Topology};
use crate::pb::common::Envelope;
use crate::pb::orderer::BroadcastResponse;

/// All nodes of the network.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    peers: RwLock<Vec<Neighbour>>,
    /// By their addresses.
    orderers: RwLock<BTreeMap<String, Arc<Orderer>>>,
}

#[derive(Debug)]
struct Neighbour {
    member: Member,
    is_up: bool,
}

impl Neighbours {
    /// Adds a peer, which is not up yet.
    pub(super) fn add(&self, peer: Arc<Peer>, endpoint: String) {
        let neighbour = Neighbour { member: Member { peer, endpoint }, is_up: false };
        self.peers.write().unwrap_or_else(PoisonError::into_inner).push(neighbour);
    }

    /// Adds an orderer.
    pub(super) fn add_orderer(&self, orderer: Arc<Orderer>, endpoint: String) {
        self.orderers.write().unwrap_or_else(PoisonError::into_inner).insert(endpoint, orderer);
    }

    /// Notes that the peer `name` has come up, or gone down.
    pub(super) fn up(&self, name: &str, is_up: bool) {
        let mut all = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        for neighbour in all.iter_mut().filter(|neighbour| neighbour.member.peer.name() == name) {
            neighbour.is_up = is_up;
        }
    }
}

#[async_trait]
impl Topology for Neighbours {
    fn members(&self) -> Vec<Member> {
        let all = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|neighbour| neighbour.is_up).map(|neighbour| neighbour.member.clone()).collect()
    }

    async fn broadcast(&self, address: &str, envelope: Envelope) -> Result<BroadcastResponse, Status> {
        let known = self.orderers.read().unwrap_or_else(PoisonError::into_inner).get(address).cloned();
        let Some(orderer) = known.filter(|orderer| orderer.is_up()) else {
            return Err(Status::unavailable(format!(
                "connection error: desc = \"transport: Error while dialing: dial tcp {address}: connect: connection \
                 refused\""
            )));
        };
        disturb::between_nodes(orderer.faults(), orderer.broadcast(envelope)).await
    }
}
