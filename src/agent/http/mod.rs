//! What the agent tells about itself over HTTP: whether it is well, numbers, what it does, and a page for people.
//!
//! Binds in a step of its own, so that a port which is taken is known before anything else starts. It reads what others
//! keep; what may be changed here is what is held, and nothing on the network.

mod about;
mod access;
mod change;
mod health;
mod page;
mod proposals;
mod query;
mod ready;
mod serve;
mod status;
mod tasks;
mod tls;

use std::convert::Infallible;
use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use tokio::sync::{Semaphore, watch};

use super::bootstrap;
use super::config::{Problem, Watching};
use super::daemon::Bells;
use super::holds::Holds;
use super::journal::Journal;
use super::leadership;
use super::metrics::{Metrics, Position, Readings};
use super::survey::Seen;
use crate::fabric::names::ChaincodeName;
use crate::runtime::Workers;

pub(super) use about::About;
use access::Access;
pub use health::{Health, Listener};
pub(super) use proposals::Ledger;
pub use serve::Service;
use tls::Certificate;

/// The largest body of a request: they are a few words.
const BODY: usize = 16 * 1024;

/// Nothing is loaded from elsewhere and nothing in a page runs but its own script, whatever text comes into it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// So many callers may follow tasks live at a time.
const STREAMS: usize = 32;

/// What the service tells from, and what it may be told to change.
pub(super) struct Watched {
    pub(super) health: Arc<Health>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) journal: Journal,
    pub(super) holds: Holds,
    pub(super) bells: Arc<Bells>,
    pub(super) seen: Seen,
    /// Which replica acts.
    pub(super) leader: watch::Receiver<leadership::Standing>,
    /// Whether own peers are where they belong.
    pub(super) standing: watch::Receiver<bootstrap::Standing>,
    pub(super) ledger: Ledger,
    pub(super) about: Arc<About>,
}

/// The same, with who may ask for it.
#[derive(Clone)]
struct Panel {
    watched: Arc<Watched>,
    access: Access,
    streams: Arc<Semaphore>,
}

impl Deref for Panel {
    type Target = Watched;

    fn deref(&self) -> &Watched {
        &self.watched
    }
}

impl Panel {
    /// Where the agent stands in the events of both contracts.
    fn positions(&self) -> Vec<Position> {
        let About { ops_channel, chaincode_ops, channel_ops, .. } = &*self.about;
        let height = self.seen.borrow().as_ref().and_then(|seen| seen.height(ops_channel.as_str()));
        let position = |contract: &ChaincodeName| {
            let checkpoint = self.journal.checkpoint(ops_channel, contract)?.block;
            Some(Position { contract: contract.to_string(), checkpoint, height })
        };
        [chaincode_ops, channel_ops].into_iter().filter_map(position).collect()
    }
}

/// What is set about the service, opened: its certificate and who may ask.
pub(super) struct Guard {
    certificate: Option<Certificate>,
    access: Access,
}

impl Guard {
    /// Opens the files that the settings name.
    ///
    /// # Errors
    /// Every problem with them.
    pub(super) async fn open(watching: &Watching) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let certificate = watching.tls.as_ref().and_then(|(cert, key)| {
            let refuse = |what| {
                problems.push(Problem {
                    variable: "AGENT_SERVICE_TLS_CERT, AGENT_SERVICE_TLS_KEY",
                    what,
                    remedy: "name a certificate and its private key, both in PEM".to_owned(),
                });
            };
            Certificate::load(cert, key).map_err(refuse).ok()
        });
        let access = Access::open(watching.token_file.as_deref()).await.unwrap_or_else(|what| {
            problems.push(Problem {
                variable: "AGENT_SERVICE_TOKEN_FILE",
                what,
                remedy: "name a file that holds one token and nothing else".to_owned(),
            });
            Access::default()
        });
        if problems.is_empty() { Ok(Self { certificate, access }) } else { Err(problems) }
    }
}

impl Service {
    /// Serves until `workers` are cancelled.
    pub(super) async fn run(self, guard: Guard, watched: Watched, workers: Workers) -> Result<(), Infallible> {
        let Guard { certificate, access } = guard;
        let panel = Panel { watched: Arc::new(watched), access, streams: Arc::new(Semaphore::new(STREAMS)) };
        self.with_certificate(certificate).serve(router(panel), workers).await
    }
}

fn router(panel: Panel) -> Router {
    let told = Router::new()
        .route("/metrics", get(counters))
        .route("/api/v1/status", get(status::status))
        .route("/api/v1/tasks", get(tasks::tasks))
        .route("/api/v1/tasks/live", get(tasks::live))
        .route("/api/v1/proposals", get(proposals::proposals))
        .layer(from_fn_with_state(panel.access.clone(), with_token));
    // These look themselves at who asks.
    let changed = Router::new()
        .route("/api/v1/pause", post(change::pause))
        .route("/api/v1/resume", post(change::resume))
        .route("/api/v1/reconcile", post(change::reconcile));
    Router::new()
        .route("/healthz", get(healthz))
        .route("/livez", get(livez))
        .route("/readyz", get(ready::readyz))
        .merge(page::page())
        .merge(told)
        .merge(changed)
        .with_state(panel)
        .layer(DefaultBodyLimit::max(BODY))
        .layer(from_fn(headers))
}

/// Lets those through who may read.
async fn with_token(State(access): State<Access>, request: Request, next: Next) -> Response {
    match access.may_read(request.headers()).await {
        Ok(()) => next.run(request).await,
        Err(refused) => denied(refused),
    }
}

fn denied(refused: access::Denied) -> Response {
    let mut response = refused.into_response();
    if refused.0 == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// What goes with every answer.
async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn healthz(State(panel): State<Panel>) -> (StatusCode, &'static str) {
    if panel.health.is_good() { (StatusCode::OK, "OK") } else { (StatusCode::INTERNAL_SERVER_ERROR, "NG") }
}

/// That it answers is the answer.
async fn livez() -> &'static str {
    "OK"
}

async fn counters(State(panel): State<Panel>) -> ([(HeaderName, &'static str); 1], String) {
    let (seen, positions) = (panel.seen.borrow().clone(), panel.positions());
    let readings = Readings { health: &panel.health, seen: seen.as_deref(), positions: &positions };
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], panel.metrics.text_with(&readings))
}

#[cfg(test)]
mod tests;
