//! What is told to the WebSocket server, in the words of the original agent's messages.
//!
//! Source: the notifications of fabric-opssc's agent: their fields, and the texts that its user interface shows.

use serde::Serialize;

use crate::agent::progress::{Happening, Progress, Step, Task, Verdict};

/// At most this many bytes of one message: what is longer was written by somebody who wants to fill our memory.
const LONGEST: usize = 8 * 1024;

#[derive(Serialize)]
struct Line<'a> {
    r#type: &'static str,
    #[serde(rename = "eventName", skip_serializing_if = "Option::is_none")]
    event_name: Option<&'a str>,
    org: &'a str,
    message: String,
    #[serde(rename = "proposalID")]
    proposal_id: &'a str,
}

/// The message of a statement, as JSON; `None` where the original says nothing.
pub(super) fn text(progress: &Progress) -> Option<String> {
    // Whoever listens files messages by proposal, and bootstrap is about none.
    if progress.task.is_of_bootstrap() {
        return None;
    }
    let id = progress.proposal.as_str();
    let mut event_name = None;
    let (kind, message) = match &progress.happening {
        Happening::EventReceived { event } | Happening::EventSeen { event } => {
            let name = event.split_once('.').map_or(event.as_str(), |(name, _)| name);
            event_name = Some(name);
            ("event", received(name, id))
        }
        Happening::Started(step) => ("log", format!("[START] {}", words(*step))),
        Happening::Finished { step, .. } => ("log", format!("[END] {}", words(*step))),
        Happening::Waiting { step, again_in, error } => {
            let seconds = again_in.as_secs().max(1);
            ("log", format!("[WARN] {} failed and is tried again in {seconds} s: {error}", words(*step)))
        }
        Happening::PackagesDiffer { packages } => {
            ("log", format!("[WARN] Organizations acknowledged different packages: {packages}"))
        }
        Happening::Refused { error, .. } => ("error", format!("[ERROR] {} error\n{error}", work(progress.task))),
        Happening::Ended { verdict: Verdict::Skipped, .. } => {
            ("log", format!("[WARN] Skip {} (ID: {id})", event_of(progress.task)))
        }
        _ => return None,
    };
    let line = Line { r#type: kind, event_name, org: progress.organization.as_str(), message, proposal_id: id };
    // Texts and nothing else always become JSON.
    serde_json::to_string(&line).ok().filter(|text| text.len() <= LONGEST)
}

/// The original words one of them otherwise.
fn received(event: &str, id: &str) -> String {
    match event {
        "deployEvent" => format!("[EVENT] Receive deploy event (ID: {id})"),
        "updateConfigEvent" => "[EVENT] Receive updateConfigEvent".to_owned(),
        other => format!("[EVENT] Receive {other} (ID: {id})"),
    }
}

/// A step as the original calls it; those that it does not have, by our name.
fn words(step: Step) -> &'static str {
    match step {
        Step::Validate => "Validate chaincode update proposal",
        Step::Fetch => "Download chaincode",
        Step::Approve => "Approve chaincode",
        Step::Commit => "Commit chaincode",
        other => other.as_str(),
    }
}

fn work(task: Task) -> &'static str {
    match task {
        Task::PrepareToDeploy | Task::CatchUp => "Prepare to deploy",
        Task::Deploy => "Deploy",
        Task::UpdateChannel => "Update channel",
        Task::JoinChannel | Task::DeployContract | Task::InstallPackage => "Bootstrap",
    }
}

fn event_of(task: Task) -> &'static str {
    match task {
        Task::PrepareToDeploy | Task::CatchUp => "prepareToDeployEvent",
        Task::Deploy => "deployEvent",
        Task::UpdateChannel => "readyToUpdateConfigEvent",
        // No event asks for them.
        Task::JoinChannel | Task::DeployContract | Task::InstallPackage => task.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[track_caller]
    fn check(task: Task, happening: Happening, expected: &str) {
        let organization = "Org1MSP".parse().unwrap();
        let progress = Progress { organization, proposal: "p-1".to_owned(), task, peer: None, happening };
        assert_eq!(text(&progress).unwrap_or_default(), expected);
    }

    #[test]
    fn messages_are_the_originals() {
        let prepare = Task::PrepareToDeploy;
        check(
            prepare,
            Happening::EventReceived { event: "prepareToDeployEvent.p-1".to_owned() },
            r#"{"type":"event","eventName":"prepareToDeployEvent","org":"Org1MSP","message":"[EVENT] Receive prepareToDeployEvent (ID: p-1)","proposalID":"p-1"}"#,
        );
        check(
            Task::Deploy,
            Happening::EventReceived { event: "deployEvent.p-1".to_owned() },
            r#"{"type":"event","eventName":"deployEvent","org":"Org1MSP","message":"[EVENT] Receive deploy event (ID: p-1)","proposalID":"p-1"}"#,
        );
        // Those that ask others for something are told as well.
        check(
            Task::UpdateChannel,
            Happening::EventSeen { event: "updateConfigEvent.p-1".to_owned() },
            r#"{"type":"event","eventName":"updateConfigEvent","org":"Org1MSP","message":"[EVENT] Receive updateConfigEvent","proposalID":"p-1"}"#,
        );
        check(
            prepare,
            Happening::Started(Step::Install),
            r#"{"type":"log","org":"Org1MSP","message":"[START] Install chaincode","proposalID":"p-1"}"#,
        );
        check(
            prepare,
            Happening::Finished { step: Step::Validate, elapsed: Duration::ZERO, detail: String::new() },
            r#"{"type":"log","org":"Org1MSP","message":"[END] Validate chaincode update proposal","proposalID":"p-1"}"#,
        );
        check(
            prepare,
            Happening::Refused { step: Step::Package, error: "no \"go.mod\"".to_owned() },
            r#"{"type":"error","org":"Org1MSP","message":"[ERROR] Prepare to deploy error\nno \"go.mod\"","proposalID":"p-1"}"#,
        );
    }

    #[test]
    fn what_would_fill_the_memory_is_not_told() {
        check(Task::Deploy, Happening::PackagesDiffer { packages: "x".repeat(LONGEST) }, "");
        check(Task::Deploy, Happening::Resumed, "");
        check(Task::JoinChannel, Happening::Started(Step::Join), "");
    }
}
