//! Whether a task is due, given what the ledger says of its proposal.
//!
//! Pure. An event only says that something was true once; what counts is the ledger now. Here is also what an agent
//! takes up again after it was away.

use crate::fabric::names::MspId;
use crate::opssc::chaincode_ops::{History, Proposal, Status, Task, TaskStatus};

use super::task::Kind;

/// Whether a task is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is.
    Due,
    /// The ledger is behind the event: the peer that was asked has not seen everything yet.
    Early(String),
    /// There is nothing to do any more.
    Over(String),
}

/// Whether a task of this kind is due for a proposal with this status.
pub(super) fn of_status(kind: Kind, status: &Status) -> Standing {
    let over = || Standing::Over(format!("the proposal is {status}"));
    let early = || Standing::Early(format!("the proposal is still {status} on the peer that was asked"));
    match (kind, status) {
        (Kind::PrepareToDeploy, Status::Approved)
        | (Kind::Deploy, Status::Acknowledged)
        | (Kind::CatchUp, Status::Committed) => Standing::Due,
        (Kind::PrepareToDeploy | Kind::Deploy, Status::Proposed) | (Kind::Deploy, Status::Approved) => early(),
        _ => over(),
    }
}

/// What this organization has already told about this task, if anything.
pub(super) fn told<'a>(
    kind: Kind,
    msp_id: &MspId,
    histories: impl IntoIterator<Item = &'a History>,
) -> Option<&'a History> {
    let task = match kind {
        Kind::PrepareToDeploy => Task::Acknowledge,
        Kind::Deploy => Task::Commit,
        // Nobody is told.
        Kind::CatchUp => return None,
    };
    histories.into_iter().find(|history| history.task == task && history.org_id == msp_id.as_str())
}

/// Which task an agent takes up again after a start, without an event: one that was left unfinished.
///
/// A definition is committed by the organization whose acknowledgement was the last, as the event would have had it.
pub(super) fn unfinished(proposal: &Proposal, msp_id: &MspId, is_member: bool, histories: &[History]) -> Option<Kind> {
    match proposal.status {
        Status::Approved if is_member => {
            let told = told(Kind::PrepareToDeploy, msp_id, histories);
            told.is_none_or(|history| history.status != TaskStatus::Success).then_some(Kind::PrepareToDeploy)
        }
        Status::Acknowledged => {
            let last = histories
                .iter()
                .filter(|history| history.task == Task::Acknowledge && history.status == TaskStatus::Success)
                .max_by(|one, other| one.time.cmp(&other.time));
            last.is_some_and(|history| history.org_id == msp_id.as_str()).then_some(Kind::Deploy)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(task: Task, org: &str, status: TaskStatus, time: &str) -> History {
        History {
            doc_type: "history".to_owned(),
            proposal_id: "p".to_owned(),
            task,
            org_id: org.to_owned(),
            status,
            data: String::new(),
            time: time.to_owned(),
        }
    }

    fn proposal(status: &str) -> Proposal {
        serde_json::from_value(serde_json::json!({
            "ID": "p", "creator": "Org1MSP", "channelID": "c", "chaincodeName": "n", "status": status,
            "chaincodePackage": {"type": "ccaas"}, "chaincodeDefinition": {"sequence": 1},
        }))
        .unwrap()
    }

    #[test]
    fn a_task_is_due_in_one_status_only() {
        let shown = |standing| match standing {
            Standing::Due => "due",
            Standing::Early(_) => "early",
            Standing::Over(_) => "over",
        };
        for (status, prepare, deploy, catch_up) in [
            ("proposed", "early", "early", "over"),
            ("approved", "due", "early", "over"),
            ("acknowledged", "over", "due", "over"),
            ("committed", "over", "over", "due"),
            ("rejected", "over", "over", "over"),
            ("withdrawn", "over", "over", "over"),
            ("of a later version", "over", "over", "over"),
        ] {
            let status = Status::from(status);
            assert_eq!(shown(of_status(Kind::PrepareToDeploy, &status)), prepare, "prepare while {status}");
            assert_eq!(shown(of_status(Kind::Deploy, &status)), deploy, "deploy while {status}");
            assert_eq!(shown(of_status(Kind::CatchUp, &status)), catch_up, "catch up while {status}");
        }
    }

    #[test]
    fn unfinished_tasks_are_taken_up_again() {
        use TaskStatus::{Failure, Success};
        let own = MspId::parse("Org1MSP").unwrap();
        let ack = |org, status, time| history(Task::Acknowledge, org, status, time);
        for (status, is_member, histories, expected) in [
            ("approved", true, vec![], Some(Kind::PrepareToDeploy)),
            ("approved", false, vec![], None),
            ("approved", true, vec![ack("Org2MSP", Success, "1")], Some(Kind::PrepareToDeploy)),
            ("approved", true, vec![ack("Org1MSP", Success, "1")], None),
            ("approved", true, vec![ack("Org1MSP", Failure, "1")], Some(Kind::PrepareToDeploy)),
            (
                "acknowledged",
                true,
                vec![ack("Org1MSP", Success, "2"), ack("Org2MSP", Success, "1")],
                Some(Kind::Deploy),
            ),
            ("acknowledged", true, vec![ack("Org1MSP", Success, "1"), ack("Org2MSP", Success, "2")], None),
            ("proposed", true, vec![], None),
            ("committed", true, vec![], None),
        ] {
            let found = unfinished(&proposal(status), &own, is_member, &histories);
            assert_eq!(found, expected, "for {status} after {histories:?}");
        }
    }
}
