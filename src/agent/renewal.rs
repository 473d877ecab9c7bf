//! Certificates and keys that are renewed while the agent runs.
//!
//! A module of its own because whoever enrolls anew only replaces files: the administrator's certificate and key, the
//! connection profile, the PEM files that it names. They are read again now and then, and at once when told to. What
//! cannot be used (half of a pair, an expired certificate) is said once, and what was there goes on being used.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::runtime::CancellationToken;

use super::config::Settings;
use super::daemon::{AgentError, Bells, open_files};
use super::text;

/// How often files are read again.
const PERIOD: Duration = Duration::from_secs(10);

/// What looks after the client's credentials.
pub(super) struct Renewal {
    pub(super) settings: Settings,
    pub(super) client: Client,
    pub(super) bells: Arc<Bells>,
    pub(super) stop: CancellationToken,
}

impl Renewal {
    /// Looks until told to stop.
    pub(super) async fn run(self) -> Result<(), Infallible> {
        let mut told = String::new();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = self.bells.files.notified() => {}
                () = tokio::time::sleep(PERIOD) => {}
            }
            let said = self.look().await;
            if !said.is_empty() && said != told {
                tracing::warn!(reason = said, "renewed files are not used");
            }
            told = said;
        }
    }

    /// Takes over what is new; what is in the way of that, in words.
    async fn look(&self) -> String {
        let settings = self.settings.clone();
        let opened = crate::runtime::blocking(move || open_files(&settings)).await;
        let renewed = opened
            .map_err(AgentError::from)
            .and_then(|(signer, profile)| Ok(self.client.renew(Arc::new(signer), profile)?));
        match renewed {
            Ok(renewed) => {
                if renewed.credentials || renewed.connections > 0 {
                    let (identity, connections) = (renewed.credentials, renewed.connections);
                    tracing::info!(credentials = identity, connections, "renewed certificates are in use");
                }
                if renewed.needs_new_client {
                    return "the connection profile names other nodes than at the start: restart the agent".to_owned();
                }
                String::new()
            }
            Err(error) => text::chain(&error),
        }
    }
}
