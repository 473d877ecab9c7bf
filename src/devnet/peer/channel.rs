//! A channel that the peer is in: its ledger, and what its configuration allows to whom.

use std::sync::Arc;

use super::proposal::is_expired;
use crate::devnet::access::{Access, Signed};
use crate::devnet::deliver::Feed;
use crate::devnet::faults::Faults;
use crate::devnet::ledger::{BlockStore, Ledger};

/// The policy of those who may read.
pub(crate) const READERS: &str = "/Channel/Application/Readers";
/// The policy of those who may propose transactions.
pub(crate) const WRITERS: &str = "/Channel/Application/Writers";

/// A channel that the peer is in.
#[derive(Debug)]
pub(crate) struct PeerChannel {
    ledger: Arc<Ledger>,
    /// The peer's, for its clock.
    faults: Faults,
}

impl PeerChannel {
    /// The channel of `ledger`.
    pub(super) fn new(ledger: Arc<Ledger>, faults: Faults) -> Self {
        Self { ledger, faults }
    }

    /// Its ledger.
    pub(super) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// What the configuration that is in force says.
    pub(super) fn access(&self) -> Arc<Access> {
        self.ledger.access()
    }
}

/// A channel's blocks, guarded as a resource (`event/Block`, `event/FilteredBlock`).
#[derive(Debug)]
pub(super) struct Guarded {
    pub(super) channel: Arc<PeerChannel>,
    pub(super) resource: &'static str,
}

impl Feed for Guarded {
    fn blocks(&self) -> &BlockStore {
        self.channel.ledger.blocks()
    }

    fn may_read(&self, signed: &Signed) -> bool {
        let access = self.channel.access();
        let policy = access.acl(self.resource);
        !is_expired(&signed.identity, self.channel.faults.now())
            && access.evaluate(policy.as_deref().unwrap_or(READERS), std::slice::from_ref(signed)).is_ok()
    }
}
