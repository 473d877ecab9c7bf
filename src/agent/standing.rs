//! Whether a task is due, given what the ledger says of its proposal.
//!
//! Pure. An event only says that something was true once; what counts is the ledger now. Here is also what the ledger
//! asks for by itself, to whoever was away or stands in for somebody who is.

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

/// What a proposal asks an organization for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// This task.
    Task(Kind),
    /// The commit, if those who come before do not see to it: the one that was asked, and so many more.
    Instead(u32),
}

/// What the ledger asks an organization for, whatever events it has heard.
///
/// A definition is committed by the organization whose acknowledgement was the last, as the event has it. Should that one
/// be away, the next one in the order of MSP IDs that has acknowledged takes its place, and so on, round once.
pub(super) fn due(proposal: &Proposal, msp_id: &MspId, is_member: bool, histories: &[History]) -> Due {
    match proposal.status {
        Status::Approved if is_member => match told(Kind::PrepareToDeploy, msp_id, histories) {
            Some(history) if history.status == TaskStatus::Success => Due::Nothing,
            _ => Due::Task(Kind::PrepareToDeploy),
        },
        Status::Acknowledged => {
            let mut acknowledged: Vec<&History> = histories
                .iter()
                .filter(|history| history.task == Task::Acknowledge && history.status == TaskStatus::Success)
                .collect();
            acknowledged.sort_by(|one, other| one.org_id.cmp(&other.org_id));
            let asked = acknowledged.iter().max_by(|one, other| one.time.cmp(&other.time));
            let place = |org: &str| acknowledged.iter().position(|history| history.org_id == org);
            let (Some(asked), Some(own)) = (asked.and_then(|asked| place(&asked.org_id)), place(msp_id.as_str()))
            else {
                return Due::Nothing;
            };
            let behind = (own + acknowledged.len() - asked) % acknowledged.len();
            if behind == 0 { Due::Task(Kind::Deploy) } else { Due::Instead(u32::try_from(behind).unwrap_or(u32::MAX)) }
        }
        _ => Due::Nothing,
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
    fn what_is_due_is_seen_on_the_ledger() {
        use Due::{Instead, Nothing};
        use TaskStatus::{Failure, Success};
        let own = MspId::parse("Org1MSP").unwrap();
        let ack = |org, status, time| history(Task::Acknowledge, org, status, time);
        let (prepare, deploy) = (Due::Task(Kind::PrepareToDeploy), Due::Task(Kind::Deploy));
        for (status, is_member, histories, expected) in [
            ("approved", true, vec![], prepare),
            ("approved", false, vec![], Nothing),
            ("approved", true, vec![ack("Org2MSP", Success, "1")], prepare),
            ("approved", true, vec![ack("Org1MSP", Success, "1")], Nothing),
            ("approved", true, vec![ack("Org1MSP", Failure, "1")], prepare),
            ("acknowledged", true, vec![ack("Org1MSP", Success, "2"), ack("Org2MSP", Success, "1")], deploy),
            ("acknowledged", true, vec![ack("Org1MSP", Success, "1"), ack("Org2MSP", Success, "2")], Instead(1)),
            ("acknowledged", true, vec![ack("Org2MSP", Success, "2")], Nothing),
            ("proposed", true, vec![], Nothing),
            ("committed", true, vec![], Nothing),
        ] {
            let found = due(&proposal(status), &own, is_member, &histories);
            assert_eq!(found, expected, "for {status} after {histories:?}");
        }
    }

    #[test]
    fn those_who_have_acknowledged_follow_one_another() {
        let acks: Vec<History> = [("Org4MSP", "1"), ("Org1MSP", "2"), ("Org3MSP", "4"), ("Org2MSP", "3")]
            .into_iter()
            .map(|(org, time)| history(Task::Acknowledge, org, TaskStatus::Success, time))
            .collect();
        let places = ["Org3MSP", "Org4MSP", "Org1MSP", "Org2MSP", "Org5MSP"]
            .map(|org| due(&proposal("acknowledged"), &MspId::parse(org).unwrap(), true, &acks));
        assert_eq!(places, [Due::Task(Kind::Deploy), Due::Instead(1), Due::Instead(2), Due::Instead(3), Due::Nothing]);
    }
}
