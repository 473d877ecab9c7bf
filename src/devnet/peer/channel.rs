//! A channel that the peer is in: its ledger, and what its configuration allows to whom.

use std::sync::{Arc, Mutex, PoisonError};

use super::context::Refused;
use super::proposal::is_expired;
use crate::devnet::access::{Access, Signed};
use crate::devnet::deliver::Feed;
use crate::devnet::faults::Faults;
use crate::devnet::ledger::{BlockStore, Ledger};
use crate::pb::common::Block;

/// The policy of those who may read.
pub(crate) const READERS: &str = "/Channel/Application/Readers";
/// The policy of those who may propose transactions.
pub(crate) const WRITERS: &str = "/Channel/Application/Writers";

/// A channel that the peer is in.
#[derive(Debug)]
pub(crate) struct PeerChannel {
    ledger: Arc<Ledger>,
    /// What was made of the configuration block of that number.
    access: Mutex<(u64, Arc<Access>)>,
    /// The peer's, for its clock.
    faults: Faults,
}

fn number(block: &Block) -> u64 {
    block.header.as_ref().map_or(0, |header| header.number)
}

impl PeerChannel {
    /// The channel of `ledger`.
    pub(super) fn new(ledger: Arc<Ledger>, faults: Faults) -> Result<Self, Refused> {
        let block = ledger.config_block();
        let access = Access::from_block(&block).map_err(|error| Refused(error.to_string()))?;
        Ok(Self { ledger, access: Mutex::new((number(&block), Arc::new(access))), faults })
    }

    /// Its ledger.
    pub(super) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// What the configuration that is in force says.
    pub(super) fn access(&self) -> Arc<Access> {
        let block = self.ledger.config_block();
        let mut known = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != number(&block) {
            match Access::from_block(&block) {
                Ok(access) => *known = (number(&block), Arc::new(access)),
                // The ledger does not commit such a block.
                Err(error) => tracing::error!(channel = %self.ledger.channel(), %error, "configuration is not usable"),
            }
        }
        Arc::clone(&known.1)
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
