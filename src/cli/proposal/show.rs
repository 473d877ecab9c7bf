//! Proposals and histories as tables for people. Everything in them was written by others.

use super::super::output;
use crate::opssc::chaincode_ops::{History, Proposal};

/// One proposal, a field a line.
pub(super) fn proposal(proposal: &Proposal) -> String {
    let (package, definition) = (&proposal.chaincode_package, &proposal.chaincode_definition);
    let decoded = |bytes: Result<Vec<u8>, base64::DecodeError>, raw: &str| match bytes {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => format!("not base64: {raw}"),
    };
    let mut fields = vec![
        ("ID", proposal.id.clone()),
        ("Status", proposal.status.to_string()),
        ("Proposed by", proposal.creator.clone()),
        ("Proposed at", proposal.time.clone()),
        ("Channel", proposal.channel_id.clone()),
        ("Chaincode", proposal.chaincode_name.clone()),
        ("Sequence", definition.sequence.to_string()),
        ("Package type", package.package_type.to_string()),
        ("Repository", package.repository.clone()),
        ("Commit", package.commit_id.clone()),
    ];
    if !package.path_to_source_files.is_empty() {
        fields.push(("Path", package.path_to_source_files.clone()));
    }
    fields.push(("Initialized first", if definition.init_required { "yes" } else { "no" }.to_owned()));
    let policy = decoded(definition.decode_validation_parameter(), &definition.validation_parameter);
    fields.push(("Endorsement policy", policy));
    if !definition.collections.is_empty() {
        let collections = definition.decode_collections().map(Option::unwrap_or_default);
        fields.push(("Collections", decoded(collections, &definition.collections)));
    }
    output::fields(&fields)
}

/// Proposals, one a line.
pub(super) fn proposals(proposals: &[Proposal]) -> String {
    let rows: Vec<Vec<String>> = proposals
        .iter()
        .map(|proposal| {
            vec![
                proposal.id.clone(),
                proposal.channel_id.clone(),
                proposal.chaincode_name.clone(),
                proposal.chaincode_definition.sequence.to_string(),
                proposal.chaincode_package.package_type.to_string(),
                proposal.status.to_string(),
                proposal.creator.clone(),
                proposal.time.clone(),
            ]
        })
        .collect();
    output::table(&["ID", "CHANNEL", "CHAINCODE", "SEQUENCE", "TYPE", "STATUS", "PROPOSED BY", "AT"], &rows)
}

/// What organizations have done, one a line.
pub(super) fn histories(histories: &[History]) -> String {
    let rows: Vec<Vec<String>> = histories
        .iter()
        .map(|history| {
            vec![
                history.org_id.clone(),
                history.task.to_string(),
                history.status.to_string(),
                history.time.clone(),
                details(history),
            ]
        })
        .collect();
    output::table(&["ORGANIZATION", "TASK", "RESULT", "AT", "DETAILS"], &rows)
}

/// The data of a history: of what agents put there, the value alone.
pub(super) fn details(history: &History) -> String {
    let data: Option<serde_json::Value> = serde_json::from_str(&history.data).ok();
    let found = data.as_ref().and_then(|data| data.get("error").or_else(|| data.get("packageID")));
    match found.and_then(serde_json::Value::as_str) {
        Some(text) => text.to_owned(),
        None => history.data.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Proposal {
        serde_json::from_value(serde_json::json!({
            "ID": "p\u{1b}[2J", "creator": "Org1MSP", "channelID": "mychannel", "chaincodeName": "asset",
            "status": "approved", "time": "2026-01-01T00:00:00Z",
            "chaincodePackage": {"repository": "github.com/a/b", "commitID": "main", "type": "ccaas"},
            "chaincodeDefinition": {"sequence": 2, "validationParameter": "L0NoYW5uZWwv", "collections": "%"},
        }))
        .unwrap()
    }

    #[test]
    fn a_proposal_is_shown_decoded_and_clean() {
        let shown = proposal(&sample());
        assert!(shown.contains("Endorsement policy  /Channel/"), "{shown}");
        assert!(shown.contains("Collections         not base64: %"), "{shown}");
        assert!(!shown.contains('\u{1b}'), "{shown}");
        assert!(!proposals(&[sample()]).contains('\u{1b}'));
    }

    #[test]
    fn details_are_what_agents_put_there() {
        let history = |data: &str| History {
            doc_type: String::new(),
            proposal_id: String::new(),
            task: "acknowledge".into(),
            org_id: "Org1MSP".into(),
            status: "failure".into(),
            data: data.to_owned(),
            time: String::new(),
        };
        assert_eq!(details(&history("{\"error\":\"no\"}")), "no");
        assert_eq!(details(&history("{\"packageID\":\"a-1:00\"}")), "a-1:00");
        assert_eq!(details(&history("{\"other\":1}")), "{\"other\":1}");
        assert_eq!(details(&history("words")), "words");
    }
}
