//! Which peers are up, as gossip would tell them of each other.

use std::sync::{Arc, PoisonError, RwLock};

use crate::devnet::peer::{Member, Peer, Topology};

/// All peers of the network.
#[derive(Debug, Default)]
pub(super) struct Neighbours(RwLock<Vec<Neighbour>>);

#[derive(Debug)]
struct Neighbour {
    member: Member,
    is_up: bool,
}

impl Neighbours {
    /// Adds a peer, which is not up yet.
    pub(super) fn add(&self, peer: Arc<Peer>, endpoint: String) {
        let neighbour = Neighbour { member: Member { peer, endpoint }, is_up: false };
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(neighbour);
    }

    /// Notes that the peer `name` has come up, or gone down.
    pub(super) fn up(&self, name: &str, is_up: bool) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for neighbour in all.iter_mut().filter(|neighbour| neighbour.member.peer.name() == name) {
            neighbour.is_up = is_up;
        }
    }
}

impl Topology for Neighbours {
    fn members(&self) -> Vec<Member> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|neighbour| neighbour.is_up).map(|neighbour| neighbour.member.clone()).collect()
    }
}
