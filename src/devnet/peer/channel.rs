//! A channel that the peer is in: its ledger, and what its configuration allows to whom.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::context::Refused;
use crate::devnet::access::{Access, Signed};
use crate::devnet::deliver::Feed;
use crate::devnet::ledger::{BlockStore, Ledger};
use crate::fabric::identity::{Certificate, Creator};
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
}

fn number(block: &Block) -> u64 {
    block.header.as_ref().map_or(0, |header| header.number)
}

impl PeerChannel {
    /// The channel of `ledger`.
    pub(super) fn new(ledger: Arc<Ledger>) -> Result<Self, Refused> {
        let block = ledger.config_block();
        let access = Access::from_block(&block).map_err(|error| Refused(error.to_string()))?;
        Ok(Self { ledger, access: Mutex::new((number(&block), Arc::new(access))) })
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

impl Feed for PeerChannel {
    fn blocks(&self) -> &BlockStore {
        self.ledger.blocks()
    }

    fn may_read(&self, signed: &Signed) -> bool {
        !is_expired(&signed.identity) && self.access().evaluate(READERS, std::slice::from_ref(signed)).is_ok()
    }
}

/// Whether the certificate of `creator` has expired; what cannot be read has not.
pub(super) fn is_expired(creator: &[u8]) -> bool {
    let certificate = Creator::decode(creator).ok().and_then(|it| Certificate::from_pem(&it.certificate_pem).ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    certificate.is_some_and(|certificate| u64::try_from(certificate.not_after()).is_ok_and(|end| end < now))
}
