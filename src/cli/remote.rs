//! Asking an agent that runs elsewhere to change something, by its HTTP service.
//!
//! The token is in a file and never an argument, which other users of the machine could read. It goes to the address
//! that was named and nowhere else: redirections are not followed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};

use super::failure::{OutcomeUnknown, UsageError};
use super::output;
use crate::agent::config::Settings;
use crate::agent::holds::Hold;
use crate::agent::text;
use crate::runtime::dns::Resolver;
use crate::runtime::roots::{roots_of, system_roots};

/// How long one question may take, connecting included.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest answer, and the longest token, that is read.
const LONGEST_ANSWER: usize = 1 << 20;
const LONGEST_TOKEN: u64 = 4096;

/// Which agent to ask.
#[derive(Debug, Args)]
pub(super) struct RemoteFlags {
    /// Ask the agent that serves HTTP there, instead of writing the file that it looks at
    #[arg(long, value_name = "URL")]
    agent: Option<String>,
    /// A file with the token of that agent (`AGENT_SERVICE_TOKEN_FILE`)
    #[arg(long, value_name = "PATH", requires = "agent")]
    token_file: Option<PathBuf>,
    /// The authorities of that agent's certificate, in PEM; those of the system unless given
    #[arg(long, value_name = "PATH", requires = "agent")]
    agent_ca: Option<PathBuf>,
}

/// What to do there.
#[derive(Debug, Serialize)]
pub(super) struct Asked<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) chaincode: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) all: Option<bool>,
}

/// What is held there now.
#[derive(Debug, Deserialize)]
pub(super) struct HeldThere {
    pub(super) holds: Vec<Hold>,
}

/// An agent elsewhere.
pub(super) struct Remote {
    base: String,
    token: Option<HeaderValue>,
    client: Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>,
}

impl RemoteFlags {
    /// The agent that is named, if one is.
    pub(super) fn open(&self, settings: &Settings) -> anyhow::Result<Option<Remote>> {
        let Some(url) = &self.agent else { return Ok(None) };
        let uri = address(url).map_err(|what| UsageError(format!("--agent: {what}")))?;
        let is_https = uri.scheme_str() == Some("https");
        let roots = match &self.agent_ca {
            Some(path) => roots_of(path).map_err(|what| UsageError(format!("--agent-ca: {what}")))?,
            None if is_https => system_roots(),
            None => RootCertStore::empty(),
        };
        let token = self.token_file.as_deref().or(settings.watching.token_file.as_deref()).map(token);
        let token = token.transpose()?;
        if token.is_some() && !is_https {
            output::say("warning: the token goes over the network as it is: use https://");
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .context("cannot set up TLS")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new_with_resolver(Resolver::default());
        tcp.enforce_http(false);
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Some(Remote { base: url.trim_end_matches('/').to_owned(), token, client }))
    }
}

/// Where an agent serves. Who shows himself in an address is seen by all users of the machine, so nobody may.
fn address(url: &str) -> Result<Uri, String> {
    let uri: Uri = url.parse().map_err(|error| format!("it is no address: {error}"))?;
    let authority = uri.authority().map_or("", Authority::as_str);
    match uri.scheme_str() {
        Some("http" | "https") if authority.contains('@') => Err("put the token into a file: --token-file".to_owned()),
        Some("http" | "https") if uri.query().is_none() => Ok(uri),
        _ => Err("use http://host:port or https://host:port".to_owned()),
    }
}

fn token(path: &Path) -> anyhow::Result<HeaderValue> {
    let unusable = |what: String| UsageError(format!("{} (AGENT_SERVICE_TOKEN_FILE): {what}", path.display()));
    let length = std::fs::metadata(path).map_err(|error| unusable(error.to_string()))?.len();
    if length > LONGEST_TOKEN {
        bail!(unusable("it is too long for a token".to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    if text.trim().is_empty() {
        bail!(unusable("it holds no token".to_owned()));
    }
    let mut value = HeaderValue::try_from(format!("Bearer {}", text.trim()))
        .map_err(|_| unusable("it holds more than a token".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

impl Remote {
    /// Asks for a change, which may be asked for twice. `None` where there was nothing to change.
    pub(super) async fn change(&self, what: &str, asked: &Asked<'_>) -> anyhow::Result<Option<HeldThere>> {
        let uri = format!("{}/api/v1/{what}", self.base);
        let mut request = Request::builder().method(Method::POST).uri(&uri).header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let body = serde_json::to_vec(asked).context("cannot be asked for")?;
        let request = request.body(Full::new(Bytes::from(body))).context("cannot be asked for")?;
        let unknown = |what: String| OutcomeUnknown(format!("{uri} gave no whole answer: {what}"));
        let asking = async {
            let answer = match self.client.request(request).await {
                Ok(answer) => answer,
                Err(error) if error.is_connect() => bail!("{uri} cannot be reached: {}", text::chain(&error)),
                Err(error) => bail!(unknown(text::chain(&error))),
            };
            let status = answer.status();
            let body = Limited::new(answer.into_body(), LONGEST_ANSWER).collect().await;
            let body = body.map_err(|error| unknown(text::chain(&*error)))?.to_bytes();
            Ok((status, body))
        };
        let late = |_| unknown(format!("nothing for {} s", PATIENCE.as_secs()));
        let (status, body) = tokio::time::timeout(PATIENCE, asking).await.map_err(late)??;
        match status {
            StatusCode::OK => Ok(Some(serde_json::from_slice(&body).context("the agent's answer is not understood")?)),
            StatusCode::NOT_FOUND if body.ends_with(b"is not paused\n") => Ok(None),
            _ => {
                let said = text::bounded(String::from_utf8_lossy(&body).trim(), text::ERROR_LIMIT);
                bail!("the agent refuses ({status}): {said}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_hold_no_secrets() {
        for (url, usable) in [
            ("http://127.0.0.1:5500", true),
            ("https://agent.example.com/org1/", true),
            ("https://token@agent.example.com", false),
            ("https://agent.example.com?token=x", false),
            ("agent:5500", false),
            ("ftp://agent", false),
        ] {
            assert_eq!(address(url).is_ok(), usable, "{url}");
        }
    }
}
