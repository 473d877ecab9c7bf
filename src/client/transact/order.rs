//! Handing an envelope to the ordering service.
//!
//! A module of its own because the orderers' answers have their own meaning: a refusal of the envelope (4xx) is final,
//! anything else is tried at the next orderer with the same bytes, which cannot harm: a copy that comes later is
//! invalid as a duplicate. Where orderers may lie (BFT), all are told at once, and only a quorum of them is believed.
//!
//! Source: Fabric 3.1.5 `orderer/common/broadcast`, `internal/pkg/gateway/submit.go`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::client::channel::Channel;
use crate::client::discovery::View;
use crate::client::error::{CallError, listed};
use crate::client::node::Orderer;
use crate::client::topology::Consensus;
use crate::client::{Client, discovery};
use crate::pb::common::Envelope;
use crate::runtime::retry::Backoff;

/// How long the others may take once enough orderers have taken an envelope: the one that leads may be among them.
const GRACE: Duration = Duration::from_millis(100);

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
    /// No orderer took it, or not enough of them.
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
    pub(in crate::client) fn may_be_ordered(&self) -> bool {
        matches!(self, Self::Unavailable { certain: false, .. })
    }
}

/// Hands `envelope` to the orderers until enough of them have taken it, again and again until `order` is over.
pub(in crate::client) async fn broadcast(
    client: &Client,
    channel: Option<&Channel>,
    envelope: &Envelope,
) -> Result<(), BroadcastError> {
    let timeouts = &client.shared.timeouts;
    let end = Instant::now() + timeouts.order;
    let mut known = Known::of(client);
    if let Some(channel) = channel
        && let Some(view) = channels_word(channel).await
    {
        known.learn(&view);
    }
    let mut asked_channel = false;
    let mut certain = true;
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    loop {
        let round = if known.consensus.quorum() > 1 {
            to_all(client, &known, envelope, certain).await
        } else {
            to_one(client, &known.orderers, envelope, certain).await
        };
        let failures = match round {
            Ok(()) => return Ok(()),
            Err(BroadcastError::Unavailable { failures, certain: sure }) => {
                certain &= sure;
                failures
            }
            Err(error) => return Err(error),
        };
        // What was known of the channel may be old.
        if !asked_channel && let Some(channel) = channel {
            asked_channel = true;
            match discovery::view(channel).await {
                Ok(view) if known.learn(&view) => continue,
                Ok(_) => {}
                Err(errors) => tracing::debug!(errors = %listed(&errors), "orderers of the channel are not known"),
            }
        }
        if known.orderers.is_empty() {
            return Err(BroadcastError::NoOrderers);
        }
        let wait = backoff.next().unwrap_or_default();
        if Instant::now() + wait >= end {
            return Err(BroadcastError::Unavailable { failures, certain });
        }
        tokio::time::sleep(wait).await;
    }
}

/// What the channel's configuration says, unless nobody tells soon: an envelope can be handed in without.
pub(super) async fn channels_word(channel: &Channel) -> Option<Arc<View>> {
    let patience = channel.client().shared.timeouts.silence;
    tokio::time::timeout(patience, discovery::last_view(channel)).await.ok()?.ok()
}

/// What is known of the ordering service.
struct Known {
    orderers: Vec<Orderer>,
    consensus: Consensus,
}

impl Known {
    /// What the profile says.
    fn of(client: &Client) -> Self {
        Self { orderers: client.orderers().to_vec(), consensus: Consensus::default() }
    }

    /// Adds what the channel says; whether there is anything new in it.
    ///
    /// The profile comes first, as it may know better how to reach the same address. Where orderers are counted, none
    /// may count twice under two addresses: then there are those that the channel names, and others only where these
    /// are too few.
    fn learn(&mut self, view: &View) -> bool {
        let before = (self.orderers.len(), self.consensus);
        self.consensus = view.consensus;
        self.add(&view.orderers);
        if self.consensus.quorum() > 1 {
            let all = std::mem::take(&mut self.orderers);
            let named = |orderer: &&Orderer| view.orderers.iter().any(|named| named.address() == orderer.address());
            self.orderers = all.iter().filter(named).cloned().collect();
            if self.orderers.len() < self.consensus.quorum() {
                self.add(&all);
            }
        }
        before != (self.orderers.len(), self.consensus)
    }

    fn add(&mut self, more: &[Orderer]) {
        for orderer in more {
            if !self.orderers.iter().any(|known| known.address() == orderer.address()) {
                self.orderers.push(orderer.clone());
            }
        }
    }
}

/// One orderer after the other, those first that took the last envelope and those last that failed of late.
async fn to_one(
    client: &Client,
    orderers: &[Orderer],
    envelope: &Envelope,
    mut certain: bool,
) -> Result<(), BroadcastError> {
    let shared = &client.shared;
    let mut failures = Vec::new();
    let first = shared.orderer_turn.load(Ordering::Relaxed);
    let mut turns: Vec<usize> = (0..orderers.len()).map(|step| (first + step) % orderers.len()).collect();
    turns.sort_by_key(|at| orderers[*at].is_resting());
    for at in turns {
        match orderers[at].broadcast(envelope.clone(), shared.timeouts.broadcast).await {
            Ok(()) => return Ok(()),
            // Something that was sent before may have been taken: then this answer is not the last word.
            Err(error @ CallError::Refused { status: 400..=499, .. }) if certain => {
                return Err(BroadcastError::Refused(error));
            }
            Err(error) => {
                tracing::debug!(%error, "orderer did not take an envelope");
                certain &= error.is_certain();
                // Later envelopes begin with the next one.
                shared.orderer_turn.store(at + 1, Ordering::Relaxed);
                failures.push(error);
            }
        }
    }
    Err(BroadcastError::Unavailable { failures, certain })
}

/// All orderers at once.
async fn to_all(
    client: &Client,
    Known { orderers, consensus }: &Known,
    envelope: &Envelope,
    mut certain: bool,
) -> Result<(), BroadcastError> {
    let limit = client.shared.timeouts.broadcast;
    let mut answers: FuturesUnordered<_> =
        orderers.iter().map(|orderer| orderer.broadcast(envelope.clone(), limit)).collect();
    let (mut taken, mut refused) = (0, 0);
    let mut failures = Vec::new();
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(()) => taken += 1,
            Err(error) if has_it_already(&error) => taken += 1,
            Err(error) => {
                tracing::debug!(%error, "orderer did not take an envelope");
                certain &= error.is_certain();
                if matches!(error, CallError::Refused { status: 400..=499, .. }) {
                    refused += 1;
                    // One of them is honest.
                    if refused >= consensus.believable() && taken == 0 && certain {
                        return Err(BroadcastError::Refused(error));
                    }
                }
                failures.push(error);
            }
        }
        if taken >= consensus.quorum() {
            let _ = tokio::time::timeout(GRACE, async { while answers.next().await.is_some() {} }).await;
            return Ok(());
        }
    }
    Err(BroadcastError::Unavailable { failures, certain: certain && taken == 0 })
}

/// An orderer that heard of an envelope from another one says so with a status of failure; nothing but the words tells
/// it from an outage.
fn has_it_already(error: &CallError) -> bool {
    matches!(error, CallError::Refused { status: 503, message, .. }
        if message.ends_with("failed to submit request: request already exists"))
}
