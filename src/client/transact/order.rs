//! Handing an envelope to the ordering service.
//!
//! A module of its own because the orderers' answers have their own meaning: a refusal of the envelope (4xx) is final,
//! anything else is tried at the next orderer with the same bytes, which cannot harm: a copy that comes later is
//! invalid as a duplicate.
//!
//! Source: Fabric 3.1.5 `orderer/common/broadcast`, `internal/pkg/gateway/submit.go`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::channel::Channel;
use crate::client::error::{CallError, listed};
use crate::client::node::Orderer;
use crate::client::{Client, discovery};
use crate::pb::common::Envelope;
use crate::runtime::retry::Backoff;

/// Why no orderer is known to have taken an envelope.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BroadcastError {
    /// Neither the connection profile nor the channel names an orderer.
    #[error("no orderers are known")]
    NoOrderers,
    /// An orderer refused the envelope itself; another would do the same.
    #[error("the envelope was refused")]
    Refused(#[source] CallError),
    /// No orderer took it.
    #[error("no orderer took the envelope: {}", listed(failures))]
    Unavailable {
        /// What each said last.
        failures: Vec<CallError>,
        /// Whether it is certain that none of them passed it on all the same.
        certain: bool,
    },
}

impl BroadcastError {
    /// Whether the same envelope may be accepted later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// Whether the envelope may be ordered in spite of the error.
    pub(super) fn may_be_ordered(&self) -> bool {
        matches!(self, Self::Unavailable { certain: false, .. })
    }
}

/// Hands `envelope` to one orderer after the other until one takes it, again and again until `order` is over.
pub(in crate::client) async fn broadcast(
    client: &Client,
    channel: Option<&Channel>,
    envelope: &Envelope,
) -> Result<(), BroadcastError> {
    let timeouts = &client.shared.timeouts;
    let end = Instant::now() + timeouts.order;
    let mut orderers: Vec<Orderer> = client.orderers().to_vec();
    let mut asked_channel = false;
    let mut certain = true;
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    loop {
        let mut failures = Vec::new();
        let first = client.shared.orderer_turn.load(Ordering::Relaxed);
        for step in 0..orderers.len() {
            let at = (first + step) % orderers.len();
            match orderers[at].broadcast(envelope.clone(), timeouts.broadcast).await {
                Ok(()) => return Ok(()),
                // Something that was sent before may have been taken: then this answer is not the last word.
                Err(error @ CallError::Refused { status: 400..=499, .. }) if certain => {
                    return Err(BroadcastError::Refused(error));
                }
                Err(error) => {
                    tracing::debug!(%error, "orderer did not take an envelope");
                    certain &= error.is_certain();
                    // Later envelopes begin with the next one.
                    client.shared.orderer_turn.store(at + 1, Ordering::Relaxed);
                    failures.push(error);
                }
            }
        }
        // The channel may know orderers that the profile does not.
        if !asked_channel && let Some(channel) = channel {
            asked_channel = true;
            let known = orderers.len();
            let view = discovery::view(channel).await;
            for orderer in view.iter().flat_map(|view| &view.orderers) {
                if !orderers.iter().any(|known| known.address() == orderer.address()) {
                    orderers.push(orderer.clone());
                }
            }
            if orderers.len() > known {
                continue;
            }
        }
        if orderers.is_empty() {
            return Err(BroadcastError::NoOrderers);
        }
        let wait = backoff.next().unwrap_or_default();
        if Instant::now() + wait >= end {
            return Err(BroadcastError::Unavailable { failures, certain });
        }
        tokio::time::sleep(wait).await;
    }
}
