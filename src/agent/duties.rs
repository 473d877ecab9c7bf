//! Everything by which the agent acts, as one branch that is started while this replica leads and ended when it does not.
//!
//! Whatever only watches, or answers whoever asks, is not here: it runs on every replica.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::client::Client;
use crate::client::participation::OrdererAdmin;
use crate::fabric::names::ChaincodeName;
use crate::opssc::calls::{ChaincodeOps, ChannelOps};
use crate::runtime::Workers;
use crate::runtime::retry::Backoff;

use super::bootstrap::{self, Bootstrap, CatchUp, Contracts, Standing};
use super::chaincode_ops::Operations;
use super::channel_ops::ChannelOperations;
use super::config::Settings;
use super::daemon::Bells;
use super::handlers::{ChaincodeEvents, ChannelEvents};
use super::http::{Health, Listener};
use super::journal::{Journal, JournalError};
use super::listen::Listening;
use super::progress::{Happening, Reporter};
use super::sources::Workshop;
use super::task::Kind;

/// What it takes to act.
pub(super) struct Duties {
    pub(super) settings: Settings,
    pub(super) client: Client,
    pub(super) orderers: Vec<OrdererAdmin>,
    pub(super) reporter: Arc<dyn Reporter>,
    pub(super) workshop: Arc<Workshop>,
    pub(super) health: Arc<Health>,
    pub(super) journal: Journal,
    pub(super) bells: Arc<Bells>,
    pub(super) standing: Arc<watch::Sender<Standing>>,
}

impl Duties {
    /// Starts all of it in `branch`. It ends when the branch is cancelled, steps under way first.
    pub(super) fn start(self: Arc<Self>, branch: &Workers) {
        let workers = branch.clone();
        branch.spawn_to_end("duties", async move {
            self.begin(&workers).await;
            Ok::<(), Infallible>(())
        });
    }

    async fn begin(&self, branch: &Workers) {
        if self.remember(branch).await.is_none() {
            return;
        }
        let Self { settings, client, reporter, .. } = self;
        let ops = client.channel(settings.ops_channel.clone());
        let channels = ChannelOps::new(ops.clone(), settings.channel_ops.clone());
        let operations = Arc::new(Operations {
            client: client.clone(),
            ledger: ChaincodeOps::new(ops, settings.chaincode_ops.clone()),
            servers: settings.servers.clone(),
            sources: settings.sources.clone(),
            workshop: Arc::clone(&self.workshop),
            encoding: settings.definition_encoding,
            reporter: Arc::clone(reporter),
            bells: Arc::clone(&self.bells),
            stop: branch.token(),
        });
        let bootstrap = Bootstrap::new(bootstrap::Parts {
            client: client.clone(),
            channels: channels.clone(),
            chaincodes: operations.ledger.clone(),
            contracts: Contracts::of(settings),
            catch_up: catch_up(&operations, branch),
            bells: Arc::clone(&self.bells),
            standing: Arc::clone(&self.standing),
            stop: branch.token(),
        });
        branch.spawn_to_end("bootstrap", bootstrap.run());

        let listening = self.listening(&settings.chaincode_ops, Listener::ChaincodeOps, branch);
        let events = ChaincodeEvents::new(operations, channels.clone());
        branch.spawn_to_end("chaincode-ops", async move { listening.run(&events).await });

        let listening = self.listening(&settings.channel_ops, Listener::ChannelOps, branch);
        let events = ChannelEvents::new(ChannelOperations {
            client: client.clone(),
            ledger: channels,
            orderers: self.orderers.clone(),
            reporter: Arc::clone(reporter),
            bells: Arc::clone(&self.bells),
            stop: branch.token(),
        });
        branch.spawn_to_end("channel-ops", async move { listening.run(&events).await });
    }

    fn listening(&self, contract: &ChaincodeName, listener: Listener, branch: &Workers) -> Listening {
        Listening {
            channel: self.client.channel(self.settings.ops_channel.clone()),
            contract: contract.clone(),
            journal: self.journal.clone(),
            listener,
            health: Arc::clone(&self.health),
            stop: branch.token(),
        }
    }

    /// Opens the journal, which another replica may be about to close. `None` when told to stop.
    async fn remember(&self, branch: &Workers) -> Option<()> {
        let stop = branch.token();
        for wait in Backoff::new(Duration::from_millis(250), Duration::from_secs(5)) {
            match self.journal.acquire().await {
                Ok(()) => return Some(()),
                Err(error @ JournalError::Taken { .. }) => {
                    tracing::warn!(%error, again_in = ?wait, "waiting for the journal");
                }
                Err(error) => tracing::error!(%error, again_in = ?wait, "nothing is done without the journal"),
            }
            stop.run_until_cancelled(tokio::time::sleep(wait)).await?;
        }
        None
    }
}

/// Catches up with a proposal beside everything else, once at a time.
fn catch_up(operations: &Arc<Operations>, branch: &Workers) -> CatchUp {
    let (operations, branch) = (Arc::clone(operations), branch.clone());
    let busy: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    Arc::new(move |proposal: &str| {
        let proposal = proposal.to_owned();
        if !busy.lock().unwrap_or_else(PoisonError::into_inner).insert(proposal.clone()) {
            return;
        }
        let (operations, busy) = (Arc::clone(&operations), Arc::clone(&busy));
        branch.spawn_to_end("catch-up", async move {
            // When told to stop it is abandoned, and found again after the next start.
            let _ = operations.run(Kind::CatchUp, &proposal, Happening::Resumed).await;
            busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&proposal);
            Ok::<(), Infallible>(())
        });
    })
}
