//! Following a proposal until it ends.
//!
//! Every new block of the ops channel is a reason to look at the proposal again; what has changed since is told. So
//! nothing is missed, whatever events the contract has for it.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::time::Instant;

use super::super::failure::Exit;
use super::super::output;
use super::show::details;
use super::{Session, followed};
use crate::agent::text;
use crate::client::events::Start;
use crate::opssc::chaincode_ops::{History, Proposal, Status, Task, TaskStatus};

/// How often to look even though no block came: the peer that was asked may have been behind the one that told.
const AGAIN: Duration = Duration::from_secs(2);

/// Follows a proposal and tells every change. Ends with it, or with `timeout`, or with SIGINT.
pub(super) async fn follow(session: &Session, id: &str, timeout: Option<Duration>, json: bool) -> anyhow::Result<Exit> {
    followed(id, timeout, watch(session, id, json)).await
}

async fn watch(session: &Session, id: &str, json: bool) -> anyhow::Result<Exit> {
    let begun = Instant::now();
    let height = session.channel.height().await.context("the ops channel cannot be reached")?;
    let mut blocks = session.channel.filtered_blocks(Start::Number(height));
    let mut seen: Option<Seen> = None;
    loop {
        // The first look must succeed: a proposal that does not exist is not waited for.
        match look(session, id).await {
            Ok(now) => {
                for change in changes(seen.as_ref(), &now) {
                    tell(&change, begun.elapsed(), json)?;
                }
                if let Some(exit) = verdict(&now) {
                    return Ok(exit);
                }
                seen = Some(now);
            }
            Err(error) if seen.is_none() => return Err(error),
            Err(error) => tracing::warn!(error = text::bounded(&format!("{error:#}"), 1000), "cannot look just now"),
        }
        tokio::select! {
            block = blocks.next() => if let Some(Err(_)) | None = block {
                tokio::time::sleep(AGAIN).await;
            },
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

async fn look(session: &Session, id: &str) -> anyhow::Result<Seen> {
    Ok(Seen { proposal: session.proposal(id).await?, histories: session.histories(id).await? })
}

/// What was seen of a proposal at one time.
#[derive(Debug, Clone)]
struct Seen {
    proposal: Proposal,
    histories: Vec<History>,
}

/// Something that has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Status(Status),
    Done(Box<History>),
}

/// What `now` has that `before` has not, in the order in which it happened.
fn changes(before: Option<&Seen>, now: &Seen) -> Vec<Change> {
    let mut changes: Vec<Change> = now
        .histories
        .iter()
        .filter(|history| before.is_none_or(|before| !before.histories.contains(history)))
        .map(|history| Change::Done(Box::new(history.clone())))
        .collect();
    if before.is_none_or(|before| before.proposal.status != now.proposal.status) {
        changes.push(Change::Status(now.proposal.status.clone()));
    }
    changes
}

/// How the proposal ended, if it did: also with a failure that an organization has reported.
fn verdict(now: &Seen) -> Option<Exit> {
    let failed = |task: &Task| {
        now.histories.iter().any(|history| history.task == *task && history.status == TaskStatus::Failure)
    };
    match now.proposal.status {
        Status::Committed => Some(Exit::Done),
        Status::Rejected | Status::Withdrawn => Some(Exit::Failed),
        Status::Approved => failed(&Task::Acknowledge).then_some(Exit::Failed),
        Status::Acknowledged => failed(&Task::Commit).then_some(Exit::Failed),
        _ => None,
    }
}

fn tell(change: &Change, elapsed: Duration, json: bool) -> anyhow::Result<()> {
    if json {
        let line = match change {
            Change::Status(status) => json!({"status": status}),
            Change::Done(history) => json!({"history": history}),
        };
        return output::put_json_line(&line);
    }
    let line = match change {
        Change::Status(status) => format!("proposal is {}", text::bounded(status.as_str(), 40)),
        Change::Done(history) => {
            let (who, details) = (text::bounded(&history.org_id, 60), text::bounded(&details(history), 400));
            let what = match (&history.task, &history.status) {
                (Task::Vote, status) => format!("voted: {}", text::bounded(status.as_str(), 40)),
                (Task::Acknowledge, TaskStatus::Success) => "is prepared".to_owned(),
                (Task::Acknowledge, _) => "could not prepare".to_owned(),
                (Task::Commit, TaskStatus::Success) => "committed the definition".to_owned(),
                (Task::Commit, _) => "could not commit the definition".to_owned(),
                (task, status) => {
                    format!("{}: {}", text::bounded(task.as_str(), 40), text::bounded(status.as_str(), 40))
                }
            };
            let separator = if details.is_empty() { "" } else { ": " };
            format!("{who} {what}{separator}{details}")
        }
    };
    output::put(&format!("{:>7.2} s  {line}", elapsed.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(task: &str, org: &str, status: &str) -> History {
        History {
            doc_type: String::new(),
            proposal_id: "p".to_owned(),
            task: task.into(),
            org_id: org.to_owned(),
            status: status.into(),
            data: String::new(),
            time: String::new(),
        }
    }

    fn seen(status: &str, histories: &[History]) -> Seen {
        let proposal = serde_json::from_value(json!({
            "ID": "p", "creator": "Org1MSP", "channelID": "c", "chaincodeName": "n", "status": status,
            "chaincodePackage": {"type": "ccaas"}, "chaincodeDefinition": {"sequence": 1},
        }))
        .unwrap();
        Seen { proposal, histories: histories.to_vec() }
    }

    #[test]
    fn the_end_decides_the_exit_code() {
        let (good, bad) = (history("acknowledge", "Org1MSP", "success"), history("acknowledge", "Org2MSP", "failure"));
        let not_committed = history("commit", "Org1MSP", "failure");
        for (status, histories, expected) in [
            ("proposed", vec![history("vote", "Org1MSP", "disagreed")], None),
            ("approved", vec![good.clone()], None),
            ("approved", vec![good.clone(), bad.clone()], Some(Exit::Failed)),
            ("acknowledged", vec![bad], None),
            ("acknowledged", vec![not_committed.clone()], Some(Exit::Failed)),
            ("committed", vec![not_committed], Some(Exit::Done)),
            ("rejected", vec![], Some(Exit::Failed)),
            ("withdrawn", vec![], Some(Exit::Failed)),
            ("of a later version", vec![], None),
        ] {
            assert_eq!(verdict(&seen(status, &histories)), expected, "for {status} with {histories:?}");
        }
    }

    #[test]
    fn only_what_is_new_is_told() {
        let vote = history("vote", "Org1MSP", "agreed");
        let first = seen("proposed", std::slice::from_ref(&vote));
        let told = changes(None, &first);
        assert_eq!(told, [Change::Done(Box::new(vote.clone())), Change::Status(Status::Proposed)]);
        assert_eq!(changes(Some(&first), &first), []);
        let other = history("vote", "Org2MSP", "agreed");
        let second = seen("approved", &[vote, other.clone()]);
        assert_eq!(changes(Some(&first), &second), [Change::Done(Box::new(other)), Change::Status(Status::Approved)]);
    }
}
