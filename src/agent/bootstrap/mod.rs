//! Bringing the own peers to where the ledger says they belong.
//!
//! A reconciliation: `observe` looks, `missing` works out what is lacking, `act` does it, and so on until nothing is
//! left that can be done. So it may run at any moment and as often as wanted: at the start, whenever a channel's members
//! have changed, when told to, and now and then in between. A peer that is down holds up nothing but itself.
//!
//! The order comes by itself: the ops channel is joined first, there the OpsSC contracts are deployed as they are
//! committed, they tell the other channels, those are joined, and what was deployed there before is caught up with.

mod act;
mod contracts;
mod foresee;
mod missing;
mod observe;
mod servers;
mod works;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::client::Client;
use crate::opssc::calls::{ChaincodeOps, ChannelOps};
use crate::runtime::retry::Backoff;

use super::account::Listeners;
use super::daemon::Bells;
use super::holds::Holds;
use super::journal::{TaskRecord, TaskState};
use super::progress::Task;
use super::text;
use act::Actor;
pub(super) use act::CatchUp;
pub(super) use contracts::{Contracts, certificates};
pub use foresee::Foreseen;
pub(super) use foresee::foresee;
use missing::{Missing, missing};
use observe::Observer;
pub(super) use servers::ContractServers;
use works::Works;

/// How often it looks when it was woken, and how soon again: the peer that is asked may be behind the one that told.
const LOOKS: u32 = 4;
const SOON: Duration = Duration::from_secs(5);
/// How soon it looks after something was caught up with.
const SHORTLY: Duration = Duration::from_secs(1);
/// How soon it looks again at the latest while something is missing.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// How often it acts before it rests: each round makes the next one possible, and four are enough.
const ROUNDS: u32 = 8;

/// How the own peers stand, as it was found last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Whether anything was looked at yet.
    pub looked: bool,
    /// What is missing and waited for.
    pub missing: Vec<String>,
    /// What is missing and cannot be done from here.
    pub notes: Vec<String>,
}

/// What brings the own peers where they belong.
pub(super) struct Bootstrap {
    observer: Observer,
    actor: Actor,
    bells: Arc<Bells>,
    standing: Arc<watch::Sender<Standing>>,
    /// How long it rests when nothing is missing.
    period: Duration,
    listeners: Arc<Listeners>,
}

/// What it takes.
pub(super) struct Parts {
    pub(super) client: Client,
    pub(super) channels: ChannelOps,
    pub(super) chaincodes: ChaincodeOps,
    pub(super) contracts: Contracts,
    pub(super) catch_up: CatchUp,
    pub(super) bells: Arc<Bells>,
    pub(super) standing: Arc<watch::Sender<Standing>>,
    pub(super) listeners: Arc<Listeners>,
    pub(super) holds: Holds,
    pub(super) period: Duration,
}

impl Bootstrap {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { client, channels, chaincodes, contracts, catch_up, bells, standing, listeners, holds, period } =
            parts;
        let ops_channel = channels.channel().name().clone();
        let observer = Observer { client: client.clone(), channels, chaincodes, contracts: contracts.clone() };
        let works = Works { listeners: Arc::clone(&listeners), holds };
        let actor = Actor { client, ops_channel, contracts, catch_up, bells: Arc::clone(&bells), works };
        Self { observer, actor, bells, standing, period, listeners }
    }

    /// Looks, acts, rests, until told to stop.
    pub(super) async fn run(self) -> Result<(), Infallible> {
        let stop = &self.listeners.stop;
        let schedule = || Backoff::new(Duration::from_secs(1), LONGEST_WAIT);
        let mut waits = schedule();
        let mut looks = 0_u32;
        let mut held = self.actor.works.holds.subscribe();
        let mut changes = self.listeners.journal.subscribe();
        loop {
            let wait = waits.next().unwrap_or(LONGEST_WAIT);
            let Some(found) = stop.run_until_cancelled(self.once(wait).boxed()).await else { return Ok(()) };
            let rest = if found.missing.is_empty() {
                waits = schedule();
                looks = looks.saturating_sub(1);
                if looks > 0 { SOON } else { self.period }
            } else {
                tracing::warn!(missing = found.missing.join("; "), again_in = ?wait, "own peers are not where they belong yet");
                wait
            };
            self.tell(found);
            let mut until = Instant::now() + rest;
            loop {
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = self.bells.bootstrap.notified() => looks = LOOKS,
                    // What was held may go on.
                    Ok(()) = held.changed() => {}
                    () = tokio::time::sleep_until(until) => {}
                    changed = changes.recv() => {
                        // What was caught up with is there now. Of very many changes some are missed.
                        let is_new = |one: &TaskRecord| one.task == Task::CatchUp && one.state == TaskState::Done;
                        if changed.is_ok_and(|changed| is_new(&changed)) {
                            until = until.min(Instant::now() + SHORTLY);
                        }
                        continue;
                    }
                }
                break;
            }
        }
    }

    /// Does what there is to do and gives what is still missing. What fails is tried again after `again_in`.
    async fn once(&self, again_in: Duration) -> Standing {
        let mut failed = Vec::new();
        let mut round = 0;
        loop {
            let seen = self.observer.look().await;
            let Missing { steps, waiting, notes } = missing(&seen);
            self.actor.works.settle(&seen, &steps).await;
            // Most looks find nothing to do, and are no work of theirs.
            let span = if steps.is_empty() {
                tracing::Span::none()
            } else {
                tracing::info_span!("bootstrap", steps = steps.len())
            };
            let acted = self.actor.act(&steps, again_in).instrument(span).await;
            round += 1;
            let is_over = acted.done == 0 || round == ROUNDS;
            if is_over {
                failed.extend(acted.failed);
                failed.extend(waiting);
                return Standing { looked: true, missing: failed, notes };
            }
        }
    }

    fn tell(&self, found: Standing) {
        self.standing.send_if_modified(|known| {
            if *known == found {
                return false;
            }
            for note in found.notes.iter().filter(|note| !known.notes.contains(note)) {
                tracing::warn!(note, "a chaincode is left alone");
            }
            if found.missing.is_empty() && (!known.looked || !known.missing.is_empty()) {
                tracing::info!("own peers are where they belong");
            }
            *known = found;
            true
        });
    }
}
