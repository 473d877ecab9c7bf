//! Serving the OpsSC contracts to the own peers from within the agent.
//!
//! A module of its own because it goes on whether the agent leads or not: peers need the contracts at any time. A server
//! registers with a package ID, so each looks which one its organization has approved, whoever approved it, and begins
//! anew when that changes, or the files with its certificate. A pair of files that does not fit together, as while one of
//! them is being replaced, changes nothing. A port that is taken is tried again; nothing else of the agent waits for it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use super::contracts::Contracts;
use super::text;
use crate::agent::daemon::Bells;
use crate::agent::pair::Pair;
use crate::chaincode::shim::{Config, Server, Tls};
use crate::client::Channel;
use crate::fabric::names::{ChaincodeName, PackageId};
use crate::runtime::Workers;
use crate::runtime::retry::Backoff;

/// How often it looks whether another package is approved.
const PERIOD: Duration = Duration::from_mins(1);
const SOON: Duration = Duration::from_millis(500);
/// How often it looks whether its certificate was renewed.
const FILES: Duration = Duration::from_secs(10);

/// Serves those contracts for which a setting says where.
pub(in crate::agent) struct ContractServers {
    ops: Channel,
    contracts: Contracts,
    bells: Arc<Bells>,
}

/// A server that runs.
struct Serving {
    package: PackageId,
    /// By which another certificate is told from this one.
    shown: Shown,
    workers: Workers,
}

/// What tells one certificate with its key from another; `None` without TLS.
type Shown = Option<[u8; 32]>;

impl Serving {
    fn runs(&self) -> bool {
        !self.workers.token().is_cancelled()
    }
}

impl ContractServers {
    /// For the contracts on `ops`; `bells` ring when something may have changed.
    pub(in crate::agent) fn new(ops: Channel, contracts: Contracts, bells: Arc<Bells>) -> Self {
        Self { ops, contracts, bells }
    }

    /// Serves until `workers` is cancelled.
    pub(in crate::agent) async fn run(self, workers: Workers) -> Result<(), Infallible> {
        let names: Vec<ChaincodeName> =
            self.contracts.names().into_iter().filter(|name| self.contracts.server(name).listen.is_some()).collect();
        let mut serving: Vec<Option<Serving>> = names.iter().map(|_| None).collect();
        let schedule = || Backoff::new(SOON, PERIOD);
        let (mut waits, mut told) = (schedule(), Vec::new());
        while !names.is_empty() {
            let mut reasons = Vec::new();
            for (name, server) in names.iter().zip(&mut serving) {
                let Some(result) = workers.token().run_until_cancelled(self.update(name, server, &workers)).await
                else {
                    break;
                };
                if let Err(reason) = result {
                    let is_served = server.as_ref().is_some_and(Serving::runs);
                    reasons.push((name, is_served, reason));
                }
            }
            for said in reasons.iter().filter(|said| !told.contains(*said)) {
                match said {
                    (name, true, reason) => tracing::warn!(chaincode = %name, reason, "contract is served as before"),
                    (name, false, reason) => tracing::info!(chaincode = %name, reason, "contract is not served yet"),
                }
            }
            told = reasons;
            if told.is_empty() {
                waits = schedule();
            }
            let rest = if told.is_empty() { PERIOD } else { waits.next().unwrap_or(PERIOD) };
            tokio::select! {
                () = workers.cancelled() => break,
                () = self.bells.servers.notified() => waits = schedule(),
                () = self.renewal(&serving) => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
        for server in serving.into_iter().flatten() {
            server.workers.cancel();
            // A failure in it was told when it happened.
            let _ = server.workers.finished().await;
        }
        Ok(())
    }

    /// Sees to it that `name` is served under the package that is approved.
    async fn update(
        &self,
        name: &ChaincodeName,
        serving: &mut Option<Serving>,
        workers: &Workers,
    ) -> Result<(), String> {
        let lifecycle = self.ops.lifecycle();
        let committed = lifecycle.committed(name).await.map_err(|error| text::chain(&error))?;
        let sequence = committed.ok_or("it is not committed")?.definition.sequence;
        let approved = lifecycle.query_approved(name, Some(sequence)).await.map_err(|error| text::chain(&error))?;
        let package = approved.and_then(|it| it.package_id).ok_or("the organization has approved no package of it")?;
        let (tls, shown) = self.tls().await?;
        if let Some(server) = serving
            && server.package == package
            && server.shown == shown
            && server.runs()
        {
            return Ok(());
        }
        if let Some(old) = serving.take() {
            old.workers.cancel();
            let _ = old.workers.finished().await;
        }
        let Some(address) = self.contracts.server(name).listen else { return Ok(()) };
        let mut config = Config::new(address, package.as_str());
        config.tls = tls;
        let server = Server::bind(config, self.contracts.contract(name)).await.map_err(|error| text::chain(&error))?;
        tracing::info!(chaincode = %name, address = %server.local_address(), package = %package, "serving contract");
        let branch = workers.child();
        let (own, chaincode) = (branch.clone(), name.clone());
        branch.spawn_to_end("contract-server", async move {
            if let Err(error) = server.run(&own).await {
                tracing::error!(%chaincode, error = text::chain(&error), "contract server ended; it is begun anew");
            }
            own.cancel();
            Ok::<(), Infallible>(())
        });
        *serving = Some(Serving { package, shown, workers: branch });
        Ok(())
    }

    /// Waits until another certificate can be shown than some server does.
    async fn renewal(&self, serving: &[Option<Serving>]) {
        loop {
            tokio::time::sleep(FILES).await;
            // What cannot be shown is told when the whole is looked at.
            if let Ok((_, shown)) = self.tls().await
                && serving.iter().flatten().any(|server| server.shown != shown)
            {
                return;
            }
        }
    }

    /// What the servers show, read each time as it may have been renewed.
    async fn tls(&self) -> Result<(Option<Tls>, Shown), String> {
        let Some((cert, key)) = self.contracts.deployment.tls.server.clone() else { return Ok((None, None)) };
        let pair = crate::runtime::blocking(move || Pair::read(&cert, &key)).await?;
        let shown = pair.digest();
        Ok((Some(Tls::new(pair.certificate, pair.key.to_vec())), Some(shown)))
    }
}
