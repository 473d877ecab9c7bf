//! The settings by which others may watch the agent: the HTTP service, its surveys of the network, the WebSocket.

use std::path::PathBuf;
use std::time::Duration;

use super::variables::{self, Variables};

const CERT: &str = "AGENT_SERVICE_TLS_CERT";
const KEY: &str = "AGENT_SERVICE_TLS_KEY";

/// How the agent may be watched. All of it is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watching {
    /// `AGENT_SERVICE_TLS_CERT` and `AGENT_SERVICE_TLS_KEY`: what the HTTP service shows. Without them it speaks no TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// `AGENT_SERVICE_TOKEN_FILE`: holds the token that callers of the HTTP service must show.
    pub token_file: Option<PathBuf>,
    /// `SURVEY_INTERVAL`: how long it rests between two looks at the network.
    pub survey_interval: Duration,
    /// `WS_TLS_CA`: authorities of the WebSocket server's certificate, instead of the well-known ones.
    pub ws_tls_ca: Option<PathBuf>,
}

impl Watching {
    pub(super) fn read(read: &mut Variables<'_>) -> Self {
        let (cert, key) = (read.optional_path(CERT), read.optional_path(KEY));
        if cert.is_some() != key.is_some() {
            let (absent, given) = if cert.is_some() { (KEY, CERT) } else { (CERT, KEY) };
            read.problem(absent, format!("it is not set, but {given} is"), "set both or none");
        }
        Self {
            tls: cert.zip(key),
            token_file: read.optional_path("AGENT_SERVICE_TOKEN_FILE"),
            survey_interval: read
                .parsed("SURVEY_INTERVAL", "30s", "use a time such as 30s or 5m", variables::duration)
                .unwrap_or(Duration::from_secs(30)),
            ws_tls_ca: read.optional_path("WS_TLS_CA"),
        }
    }
}
