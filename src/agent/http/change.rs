//! What callers may change: pausing, resuming, looking for something to do.

use std::io;
use std::net::SocketAddr;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::status::Holds;
use super::{Panel, access, denied};
use crate::agent::holds::Scope;
use crate::agent::text;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pause {
    channel: Option<String>,
    chaincode: Option<String>,
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resume {
    channel: Option<String>,
    chaincode: Option<String>,
    /// Ends all holds, those of a file that is not understood included.
    #[serde(default)]
    all: bool,
}

/// `POST /api/v1/pause`: `{"channel"?, "chaincode"?, "reason"?}`.
pub(super) async fn pause(
    State(panel): State<Panel>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let work = async {
        panel.access.may_change(&headers, caller).await.map_err(Refused::Denied)?;
        let Pause { channel, chaincode, reason } = asked(&body)?;
        let scope = scope(channel.as_deref(), chaincode.as_deref())?;
        tracing::info!(%scope, %caller, reason = text::bounded(&reason, 200), "paused over HTTP");
        panel.holds.pause(scope, &reason).await.map_err(|error| unwritten(&error))
    };
    answer(&panel, work.await)
}

/// `POST /api/v1/resume`: `{"channel"?, "chaincode"?}`, or `{"all": true}`.
pub(super) async fn resume(
    State(panel): State<Panel>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let work = async {
        panel.access.may_change(&headers, caller).await.map_err(Refused::Denied)?;
        let Resume { channel, chaincode, all } = asked(&body)?;
        if all {
            tracing::info!(%caller, "everything resumed over HTTP");
            return panel.holds.resume_all().await.map_err(|error| unwritten(&error));
        }
        let scope = scope(channel.as_deref(), chaincode.as_deref())?;
        tracing::info!(%scope, %caller, "resumed over HTTP");
        match panel.holds.resume(scope.clone()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refused::Told(StatusCode::NOT_FOUND, format!("{scope} is not paused"))),
            Err(error) => Err(unwritten(&error)),
        }
    };
    answer(&panel, work.await)
}

/// `POST /api/v1/reconcile`: looks now for what is missing on own nodes and what the ledger still asks for.
pub(super) async fn reconcile(
    State(panel): State<Panel>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = panel.access.may_change(&headers, caller).await {
        return denied(refused);
    }
    tracing::info!(%caller, "told over HTTP to look for something to do");
    panel.bells.ring_all();
    (StatusCode::ACCEPTED, Json(serde_json::json!({}))).into_response()
}

fn answer(panel: &Panel, done: Result<(), Refused>) -> Response {
    match done {
        Ok(()) => Json(Holds::from(&*panel.holds.held())).into_response(),
        Err(Refused::Denied(refused)) => denied(refused),
        Err(Refused::Told(status, words)) => (status, words + "\n").into_response(),
    }
}

/// Why nothing was changed.
enum Refused {
    Denied(access::Denied),
    Told(StatusCode, String),
}

/// A body of JSON; none asks for everything.
fn asked<T: for<'de> Deserialize<'de> + Default>(body: &[u8]) -> Result<T, Refused> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|error| {
        let words = format!("not understood: {}", text::bounded(&error.to_string(), 200));
        Refused::Told(StatusCode::BAD_REQUEST, words)
    })
}

fn scope(channel: Option<&str>, chaincode: Option<&str>) -> Result<Scope, Refused> {
    let wrong = |error: crate::fabric::names::NameError| Refused::Told(StatusCode::BAD_REQUEST, error.to_string());
    Ok(Scope {
        channel: channel.map(str::parse).transpose().map_err(wrong)?,
        chaincode: chaincode.map(str::parse).transpose().map_err(wrong)?,
    })
}

fn unwritten(error: &io::Error) -> Refused {
    tracing::warn!(%error, "what is held cannot be changed");
    let words = format!("what is held cannot be changed: {}", text::bounded(&error.to_string(), 200));
    Refused::Told(StatusCode::INTERNAL_SERVER_ERROR, words)
}
