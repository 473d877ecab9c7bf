//! `GET /api/v1/tasks`: what the agent does and has done, and the same live as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::{Stream, StreamExt as _, stream};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::{Panel, query};
use crate::agent::journal::TaskRecord;

/// So many tasks are told unless another number is asked for, and at most.
const USUAL: usize = 100;
const MOST: usize = 1000;
/// How often a quiet stream says that it is alive.
const ALIVE: Duration = Duration::from_secs(15);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tasks {
    tasks: Vec<Arc<TaskRecord>>,
    /// How many more there are.
    more: usize,
}

/// The newest first, those that have not ended before the others. `?state=`, `?proposal=` and `?limit=` choose.
pub(super) async fn tasks(State(panel): State<Panel>, RawQuery(asked): RawQuery) -> Response {
    let value = |name| query::value(asked.as_deref(), name);
    let limit = match value("limit").map(|text| text.parse::<usize>()) {
        None => USUAL,
        Some(Ok(limit)) => limit.min(MOST),
        Some(Err(_)) => return (StatusCode::BAD_REQUEST, "limit is no number\n").into_response(),
    };
    let (state, proposal) = (value("state"), value("proposal"));
    let mut tasks = panel.journal.tasks();
    tasks.retain(|record| {
        state.as_ref().is_none_or(|state| record.state.as_str() == state)
            && proposal.as_ref().is_none_or(|proposal| record.proposal == *proposal)
    });
    tasks.sort_by_key(|record| (!record.state.is_open(), std::cmp::Reverse(record.updated_ms)));
    let more = tasks.len().saturating_sub(limit);
    tasks.truncate(limit);
    Json(Tasks { tasks, more }).into_response()
}

/// Every change of a task from now on, as events named `task`; `lagged` where some were missed.
pub(super) async fn live(State(panel): State<Panel>) -> Response {
    let Ok(place) = Arc::clone(&panel.streams).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many callers follow already\n").into_response();
    };
    let changes = changes(panel.journal.subscribe(), place);
    // Something at once, so that the caller knows that it is heard.
    let opened = stream::iter([Ok(Event::default().comment("open"))]);
    Sse::new(opened.chain(changes)).keep_alive(KeepAlive::new().interval(ALIVE)).into_response()
}

fn changes(
    changed: Receiver<Arc<TaskRecord>>,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((changed, place), |(mut changed, place)| async move {
        let event = match changed.recv().await {
            // A record always becomes JSON: it has texts for keys.
            Ok(record) => Event::default().event("task").json_data(&*record).unwrap_or_default(),
            Err(RecvError::Lagged(_)) => Event::default().event("lagged").data("{}"),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(event), (changed, place)))
    })
}
