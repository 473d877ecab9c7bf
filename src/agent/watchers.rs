//! What only watches: the HTTP service, the survey of the network, the messages to a WebSocket server.
//!
//! A module of its own because it runs on every replica, whether that acts or not, and because nothing that acts waits
//! for any of it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use super::bootstrap;
use super::config::{Problem, Settings, SettingsError};
use super::daemon::{AgentError, Bells};
use super::holds::Holds;
use super::http::{About, Guard, Health, Ledger, Service, Watched};
use super::journal::Journal;
use super::leadership;
use super::metrics::Metrics;
use super::notifier::Notifier;
use super::progress::Reporter;
use super::survey::{self, Survey};
use crate::client::Client;
use crate::opssc::calls::{ChaincodeOps, ChannelOps};
use crate::runtime::{CancellationToken, Workers};

/// Opened and not yet started.
pub(super) struct Watchers {
    service: Service,
    guard: Guard,
    notifier: Option<Notifier>,
    metrics: Arc<Metrics>,
}

/// What is watched.
pub(super) struct Subject<'a> {
    pub(super) settings: &'a Settings,
    pub(super) client: &'a Client,
    pub(super) health: &'a Arc<Health>,
    pub(super) journal: &'a Journal,
    pub(super) holds: &'a Holds,
    pub(super) bells: &'a Arc<Bells>,
    pub(super) leader: watch::Receiver<leadership::Standing>,
    pub(super) standing: watch::Receiver<bootstrap::Standing>,
}

impl Watchers {
    /// Binds the port and opens the files that the settings name.
    ///
    /// # Errors
    /// [`AgentError::Settings`] and [`AgentError::Service`].
    pub(super) async fn open(settings: &Settings, metrics: &Arc<Metrics>) -> Result<Self, AgentError> {
        let guard = Guard::open(&settings.watching).await.map_err(SettingsError::new)?;
        let notifier = notifier(settings, metrics)?;
        let address = settings.service_address;
        let service = Service::bind(address).await.map_err(|source| AgentError::Service { address, source })?;
        Ok(Self { service, guard, notifier, metrics: Arc::clone(metrics) })
    }

    /// Where the HTTP service listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.service.address()
    }

    /// Starts them, until `workers` are cancelled, and gives those who want to hear of progress.
    pub(super) fn start(self, subject: Subject<'_>, workers: &Workers) -> Vec<Arc<dyn Reporter>> {
        let Self { service, guard, notifier, metrics } = self;
        let Subject { settings, client, health, journal, holds, bells, leader, standing } = subject;
        let channel = client.channel(settings.ops_channel.clone());
        let chaincodes = ChaincodeOps::new(channel.clone(), settings.chaincode_ops.clone());
        let channels = ChannelOps::new(channel, settings.channel_ops.clone());
        let files = survey::files([
            ("HTTP service", settings.watching.tls.as_ref()),
            ("orderer administration", settings.orderers.client.as_ref()),
            ("contract servers", settings.deployment.tls.server.as_ref()),
        ]);
        let survey = Survey::new(client.clone(), channels.clone(), files, settings.watching.survey_interval);
        let watched = Watched {
            health: Arc::clone(health),
            metrics: Arc::clone(&metrics),
            journal: journal.clone(),
            holds: holds.clone(),
            bells: Arc::clone(bells),
            seen: survey.seen(),
            leader,
            standing,
            ledger: Ledger::new(chaincodes, channels),
            about: Arc::new(About::of(settings)),
        };
        workers.spawn_to_end("http", service.run(guard, watched, workers.clone()));
        workers.spawn_to_end("journal's health", mirror(journal.trouble(), Arc::clone(health), workers.token()));
        workers.spawn_to_end("survey", survey.run(workers.token()));
        let mut reporters: Vec<Arc<dyn Reporter>> = vec![metrics];
        if let Some(notifier) = notifier {
            reporters.push(notifier.queue());
            workers.spawn_to_end("notifier", notifier.run(workers.token()));
        }
        reporters
    }
}

/// Lets everybody know whether the journal can be written.
async fn mirror(
    mut trouble: watch::Receiver<Option<String>>,
    health: Arc<Health>,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    loop {
        let reason = trouble.borrow_and_update().clone();
        health.set_trouble("journal", reason);
        match stop.run_until_cancelled(trouble.changed()).await {
            Some(Ok(())) => {}
            // Told to stop, or nobody will write any more.
            Some(Err(_)) | None => return Ok(()),
        }
    }
}

/// What sends progress to the WebSocket server, where one is set. Dials nothing yet.
///
/// # Errors
/// What is wrong with the settings.
pub(super) fn notifier(settings: &Settings, metrics: &Arc<Metrics>) -> Result<Option<Notifier>, SettingsError> {
    let Some(url) = &settings.ws_url else { return Ok(None) };
    let made = Notifier::new(url, settings.watching.ws_tls_ca.as_deref(), Arc::clone(metrics));
    made.map(Some).map_err(|what| {
        let remedy = "use ws://host:port or wss://host:port, and a file of certificates in PEM".to_owned();
        SettingsError::new(vec![Problem { variable: "WS_URL, WS_TLS_CA", what, remedy }])
    })
}
