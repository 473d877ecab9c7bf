//! `GET /api/v1/proposals`: what the ledger says of proposals, in short.
//!
//! The ledger is asked when a caller asks, but not again for some seconds, however many ask: the peers have other work.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Panel;
use crate::agent::text;
use crate::opssc::calls::{ChaincodeOps, ChannelOps};
use crate::opssc::chaincode_ops::{self, HistoryQuery};
use crate::opssc::channel_ops;

/// How long an answer of the ledger is passed on.
const FRESH: Duration = Duration::from_secs(5);
/// How long the ledger may take.
const LIMIT: Duration = Duration::from_secs(20);
/// At most this many proposals of each kind are told, and for at most so many of the open ones who said what.
const MOST: usize = 500;
const OPEN: usize = 50;
/// At most this many organizations' words are told of one proposal.
const WORDS: usize = 500;

/// All proposals, in short.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Proposals {
    chaincode: Vec<ChaincodeProposal>,
    channel: Vec<ChannelProposal>,
    /// How many more there are.
    more: usize,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct ChaincodeProposal {
    id: String,
    status: String,
    creator: String,
    time: String,
    channel: String,
    chaincode: String,
    sequence: i64,
    repository: String,
    commit: String,
    package_type: String,
    /// Who said what, by task: of open proposals only.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    said: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct ChannelProposal {
    id: String,
    status: String,
    creator: String,
    channel: String,
    action: String,
    description: String,
    /// Whose signatures there are.
    signed: Vec<String>,
}

/// The proposals of the ledger, remembered for a moment.
pub(in crate::agent) struct Ledger {
    chaincode_ops: ChaincodeOps,
    channel_ops: ChannelOps,
    last: Mutex<Option<(Instant, Arc<Proposals>)>>,
}

impl Ledger {
    pub(in crate::agent) fn new(chaincode_ops: ChaincodeOps, channel_ops: ChannelOps) -> Self {
        Self { chaincode_ops, channel_ops, last: Mutex::default() }
    }

    async fn proposals(&self) -> Result<Arc<Proposals>, String> {
        // Those who come while the ledger is asked wait for the same answer.
        let mut last = self.last.lock().await;
        if let Some((_, proposals)) = last.as_ref().filter(|(asked, _)| asked.elapsed() < FRESH) {
            return Ok(Arc::clone(proposals));
        }
        let asked = tokio::time::timeout(LIMIT, self.ask()).await;
        let proposals = Arc::new(asked.map_err(|_| format!("no answer within {} s", LIMIT.as_secs()))??);
        *last = Some((Instant::now(), Arc::clone(&proposals)));
        Ok(proposals)
    }

    async fn ask(&self) -> Result<Proposals, String> {
        let (chaincode, channel) =
            tokio::join!(self.chaincode_ops.get_all_proposals(), self.channel_ops.get_all_proposals());
        let chaincode = chaincode.map_err(|error| text::chain(&error))?;
        let channel = channel.map_err(|error| text::chain(&error))?;
        let more = chaincode.len().saturating_sub(MOST) + channel.len().saturating_sub(MOST);
        let mut all: Vec<_> = chaincode.into_values().collect();
        all.sort_by_cached_key(|proposal| (is_over(&proposal.status), Reverse(proposal.time.clone())));
        all.truncate(MOST);
        let shorts = all.into_iter().enumerate().map(|(index, proposal)| async move {
            let said = if index < OPEN && !is_over(&proposal.status) {
                self.said(&proposal.id).await
            } else {
                BTreeMap::new()
            };
            ChaincodeProposal::of(&proposal, said)
        });
        let chaincode = stream::iter(shorts).buffered(4).collect().await;
        let mut channel: Vec<_> = channel.into_values().collect();
        channel.sort_by_key(|proposal| proposal.status == channel_ops::Status::Committed);
        channel.truncate(MOST);
        Ok(Proposals { chaincode, channel: channel.iter().map(ChannelProposal::of).collect(), more })
    }

    /// Who said what of a proposal, by task; nothing where that is not told.
    async fn said(&self, id: &str) -> BTreeMap<String, BTreeMap<String, String>> {
        let query = HistoryQuery { proposal_id: id.to_owned(), ..HistoryQuery::default() };
        let mut said: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        let histories = self.chaincode_ops.get_histories(&query).await.unwrap_or_default();
        for history in histories.into_values().filter(|history| history.proposal_id == id).take(WORDS) {
            let by_task = said.entry(shown(history.task.as_str())).or_default();
            by_task.insert(shown(&history.org_id), shown(history.status.as_str()));
        }
        said
    }
}

fn is_over(status: &chaincode_ops::Status) -> bool {
    use chaincode_ops::Status::{Committed, Rejected, Withdrawn};
    matches!(status, Committed | Rejected | Withdrawn)
}

fn shown(text: &str) -> String {
    text::bounded(text, 200)
}

impl ChaincodeProposal {
    fn of(proposal: &chaincode_ops::Proposal, said: BTreeMap<String, BTreeMap<String, String>>) -> Self {
        let package = &proposal.chaincode_package;
        Self {
            id: shown(&proposal.id),
            status: shown(proposal.status.as_str()),
            creator: shown(&proposal.creator),
            time: shown(&proposal.time),
            channel: shown(&proposal.channel_id),
            chaincode: shown(&proposal.chaincode_name),
            sequence: proposal.chaincode_definition.sequence,
            repository: shown(&package.repository),
            commit: shown(&package.commit_id),
            package_type: shown(package.package_type.as_str()),
            said,
        }
    }
}

impl ChannelProposal {
    fn of(proposal: &channel_ops::Proposal) -> Self {
        Self {
            id: shown(&proposal.id),
            status: shown(proposal.status.as_str()),
            creator: shown(&proposal.creator),
            channel: shown(&proposal.channel_id),
            action: shown(proposal.action.as_str()),
            description: shown(&proposal.description),
            signed: proposal.artifacts.signatures.keys().take(WORDS).map(|msp_id| shown(msp_id)).collect(),
        }
    }
}

pub(super) async fn proposals(State(panel): State<Panel>) -> Response {
    match panel.ledger.proposals().await {
        Ok(proposals) => Json(&*proposals).into_response(),
        Err(error) => {
            let words = format!("the ledger does not tell the proposals: {error}\n");
            (StatusCode::BAD_GATEWAY, words).into_response()
        }
    }
}
