//! `GET /api/v1/status`: how the agent and its network are, in one answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::ready::{self, Component};
use super::{About, Panel};
use crate::agent::holds::{Held, Hold};
use crate::agent::journal::TaskState;
use crate::agent::survey::{Snapshot, now_ms};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    #[serde(flatten)]
    about: Arc<About>,
    /// The agent's time, by which all other times are to be read.
    now_ms: u64,
    healthy: bool,
    standby: bool,
    replica: Replica,
    /// What own peers lack, as it was found last by the replica that leads.
    bootstrap: Bootstrap,
    components: Vec<Component>,
    checkpoints: Vec<Checkpoint>,
    /// How many tasks are in which state.
    tasks: BTreeMap<&'static str, usize>,
    holds: Holds,
    /// What the last survey has seen; none before the first.
    network: Option<Arc<Snapshot>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checkpoint {
    contract: String,
    block: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<u64>,
}

/// Which of the organization's replicas acts.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Replica {
    /// Whether it is this one.
    leads: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<String>,
    /// Why the record of who leads is of no use at present.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bootstrap {
    looked: bool,
    missing: Vec<String>,
    notes: Vec<String>,
}

/// What is held.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Holds {
    holds: Vec<Hold>,
    /// Why the file is not understood; everything is held then.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

impl From<&Held> for Holds {
    fn from(held: &Held) -> Self {
        Self { holds: held.holds.clone(), trouble: held.trouble.clone() }
    }
}

pub(super) async fn status(State(panel): State<Panel>) -> Json<Status> {
    let mut tasks: BTreeMap<&'static str, usize> = TaskState::ALL.iter().map(|state| (state.as_str(), 0)).collect();
    for record in panel.journal.tasks() {
        *tasks.entry(record.state.as_str()).or_default() += 1;
    }
    let positions = panel.positions().into_iter();
    let (leader, standing) = (panel.leader.borrow().clone(), panel.standing.borrow().clone());
    Json(Status {
        about: Arc::clone(&panel.about),
        now_ms: now_ms(),
        healthy: panel.health.is_good(),
        standby: panel.health.stands_by(),
        replica: Replica { leads: leader.leads, holder: leader.holder, trouble: leader.trouble },
        bootstrap: Bootstrap { looked: standing.looked, missing: standing.missing, notes: standing.notes },
        components: ready::components(&panel),
        checkpoints: positions
            .map(|position| Checkpoint { lag: position.lag(), block: position.checkpoint, contract: position.contract })
            .collect(),
        tasks,
        holds: Holds::from(&*panel.holds.held()),
        network: panel.seen.borrow().clone(),
    })
}
