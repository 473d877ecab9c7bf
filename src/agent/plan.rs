//! A proposal made into what Fabric is asked for, or the reason why it cannot be.
//!
//! Pure. A proposal is written by another organization and anything may stand in it; past this module there are only
//! checked names and a definition.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

use crate::fabric::lifecycle::ChaincodeDefinition;
use crate::fabric::names::{ChaincodeName, ChannelName, Label};
use crate::fabric::policy::DefinitionEncoding;
use crate::opssc::chaincode_ops::{ChaincodePackage, Proposal};
use crate::pb::protos::CollectionConfigPackage;

use super::text;

/// What a proposal asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    /// The channel to deploy to.
    pub(super) channel: ChannelName,
    /// What is approved and committed.
    pub(super) definition: ChaincodeDefinition,
    /// The package's label.
    pub(super) label: Label,
    /// What to package, in the proposal's own words: checked by who makes use of them.
    pub(super) package: ChaincodePackage,
}

impl Plan {
    /// The plan of `proposal`.
    ///
    /// # Errors
    /// Why it cannot be carried out by anybody.
    pub(super) fn of(proposal: &Proposal, encoding: DefinitionEncoding) -> Result<Self, String> {
        let channel = ChannelName::parse(proposal.channel_id.as_str()).map_err(|error| error.to_string())?;
        let name = ChaincodeName::parse(proposal.chaincode_name.as_str()).map_err(|error| error.to_string())?;
        let proposed = &proposal.chaincode_definition;
        if proposed.sequence < 1 {
            return Err(format!("sequence {} is not valid: it must be 1 or more", proposed.sequence));
        }
        let label = Label::parse(format!("{name}-{}", proposed.sequence)).map_err(|error| error.to_string())?;
        let mut definition = ChaincodeDefinition::new(name, proposed.sequence.to_string(), proposed.sequence);
        definition.init_required = proposed.init_required;
        definition.validation_parameter = endorsement_policy(&proposed.validation_parameter, encoding)?;
        definition.collections = collections(&proposed.collections, encoding)?;
        Ok(Self { channel, definition, label, package: proposal.chaincode_package.clone() })
    }

    /// The chaincode's name.
    pub(super) fn chaincode(&self) -> &ChaincodeName {
        &self.definition.name
    }

    /// The proposed sequence.
    pub(super) fn sequence(&self) -> i64 {
        self.definition.sequence
    }
}

/// The validation parameter of a definition, out of base64 of a policy's text.
///
/// # Errors
/// Why it is not valid.
pub fn endorsement_policy(base64: &str, encoding: DefinitionEncoding) -> Result<Bytes, String> {
    let text = decoded("validation parameter", base64)?;
    encoding
        .validation_parameter(&text)
        .map_err(|error| format!("the validation parameter is not valid: {}", text::chain(&error)))
}

/// The collections of a definition, out of base64 of their JSON; empty for none.
///
/// # Errors
/// Why they are not valid.
pub fn collections(base64: &str, encoding: DefinitionEncoding) -> Result<Option<CollectionConfigPackage>, String> {
    if base64.is_empty() {
        return Ok(None);
    }
    let json = decoded("collections", base64)?;
    encoding.collections(&json).map_err(|error| format!("the collections are not valid: {}", text::chain(&error)))
}

fn decoded(what: &str, base64: &str) -> Result<String, String> {
    let text = BASE64_STANDARD.decode(base64).map_err(|error| format!("the {what} cannot be decoded: {error}"))?;
    String::from_utf8(text).map_err(|_| format!("the {what} cannot be decoded: not UTF-8"))
}

/// What is known of the chaincode that is to be deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Committed {
    /// The committed sequence.
    pub(super) sequence: i64,
    /// Whether its content is the proposed one.
    pub(super) same_content: bool,
    /// Whether the own organization has approved it.
    pub(super) approved: bool,
}

/// Whether a proposed sequence may be prepared now: it is the next one, or the committed one for an organization that
/// has not approved that yet.
///
/// # Errors
/// Why not.
pub(super) fn check_sequence(proposed: i64, committed: Option<Committed>) -> Result<(), String> {
    let Some(committed) = committed else {
        return match proposed {
            1 => Ok(()),
            _ => Err(format!("the proposed sequence is {proposed}, but no definition is committed: it must be 1")),
        };
    };
    let next = committed.sequence.saturating_add(1);
    if proposed == committed.sequence && !committed.approved {
        if committed.same_content {
            return Ok(());
        }
        return Err(format!("another definition than the proposed one is committed with sequence {proposed}"));
    }
    if proposed == next {
        return Ok(());
    }
    Err(format!(
        "the proposed sequence is {proposed}, but sequence {} is committed: it must be {next}",
        committed.sequence
    ))
}

/// Whether a committed proposal is still to be caught up with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CatchingUp {
    /// It is.
    Due,
    /// There is nothing to do any more, and why.
    Over(String),
}

/// Whether the chaincode of a committed proposal may be prepared: its definition is the one in force. Whether the own
/// organization has approved it does not matter: the package may have been lost since.
///
/// # Errors
/// Why not.
pub(super) fn check_catching_up(proposed: i64, committed: Option<Committed>) -> Result<CatchingUp, String> {
    match committed {
        Some(committed) if committed.sequence == proposed && committed.same_content => Ok(CatchingUp::Due),
        Some(committed) if committed.sequence == proposed => {
            Err(format!("another definition than the proposed one is committed with sequence {proposed}"))
        }
        Some(committed) if committed.sequence > proposed => {
            Ok(CatchingUp::Over(format!("sequence {} is committed meanwhile", committed.sequence)))
        }
        // The proposal is committed, so the peer is behind.
        Some(_) | None => Err(format!("sequence {proposed} is not committed on the peer that was asked")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal(channel: &str, name: &str, sequence: i64, parameter: &[u8], collections: &[u8]) -> Proposal {
        serde_json::from_value(serde_json::json!({
            "ID": "p", "creator": "Org1MSP", "channelID": channel, "chaincodeName": name, "status": "approved",
            "chaincodePackage": {"repository": "a/b", "commitID": "main", "type": "ccaas"},
            "chaincodeDefinition": {
                "sequence": sequence, "initRequired": false,
                "validationParameter": BASE64_STANDARD.encode(parameter),
                "collections": BASE64_STANDARD.encode(collections),
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_plan_is_made_of_checked_names() {
        let plan = Plan::of(
            &proposal("mychannel", "asset", 3, b"/Channel/Application/Endorsement", b""),
            DefinitionEncoding::Fabric,
        )
        .unwrap();
        assert_eq!((plan.channel.as_str(), plan.chaincode().as_str(), plan.sequence()), ("mychannel", "asset", 3));
        assert_eq!((plan.label.as_str(), plan.definition.version.as_str()), ("asset-3", "3"));
        assert!(!plan.definition.validation_parameter.is_empty() && plan.definition.collections.is_none());
    }

    #[test]
    fn hostile_proposals_are_refused_with_a_reason() {
        let long = "x".repeat(1 << 20);
        let policy: &[u8] = b"/Channel/Application/Endorsement";
        let deep = "OR(".repeat(200_000);
        for (shown, proposal) in [
            ("channel", proposal("../../etc", "asset", 1, policy, b"")),
            ("channel", proposal(&long, "asset", 1, policy, b"")),
            ("name", proposal("mychannel", "..", 1, policy, b"")),
            ("name", proposal("mychannel", "$(reboot)", 1, policy, b"")),
            ("name", proposal("mychannel", &long, 1, policy, b"")),
            ("name", proposal("mychannel", "a\u{0}b", 1, policy, b"")),
            ("label", proposal("mychannel", "_a", 1, policy, b"")),
            ("sequence", proposal("mychannel", "asset", 0, policy, b"")),
            ("sequence", proposal("mychannel", "asset", i64::MIN, policy, b"")),
            ("parameter", proposal("mychannel", "asset", 1, b"\xff\xfe", b"")),
            ("parameter", proposal("mychannel", "asset", 1, b"OR('Org1MSP.nobody')", b"")),
            ("parameter", proposal("mychannel", "asset", 1, deep.as_bytes(), b"")),
            ("parameter", proposal("mychannel", "asset", 1, long.as_bytes(), b"")),
            ("collections", proposal("mychannel", "asset", 1, policy, b"{")),
            ("collections", proposal("mychannel", "asset", 1, policy, b"\xff")),
            ("collections", proposal("mychannel", "asset", 1, policy, "[".repeat(1 << 20).as_bytes())),
        ] {
            let reason = Plan::of(&proposal, DefinitionEncoding::Fabric).expect_err(shown);
            assert!(!reason.is_empty(), "for {shown}");
        }
        let mut not_base64 = proposal("mychannel", "asset", 1, policy, b"");
        not_base64.chaincode_definition.validation_parameter = "\u{1b}%%".to_owned();
        assert!(Plan::of(&not_base64, DefinitionEncoding::Fabric).is_err());
        not_base64.chaincode_definition = serde_json::from_str(
            r#"{"sequence":1,"validationParameter":"L0NoYW5uZWwvQXBwbGljYXRpb24vRW5kb3JzZW1lbnQ=","collections":"%"}"#,
        )
        .unwrap();
        assert!(Plan::of(&not_base64, DefinitionEncoding::Fabric).is_err());
    }

    #[test]
    fn the_highest_sequence_is_no_trap() {
        assert!(
            Plan::of(
                &proposal("mychannel", "asset", i64::MAX, b"/Channel/Application/Endorsement", b""),
                DefinitionEncoding::Fabric
            )
            .is_ok()
        );
        let committed = Committed { sequence: i64::MAX, same_content: false, approved: true };
        assert!(check_sequence(1, Some(committed)).is_err());
    }

    #[test]
    fn what_is_in_force_is_caught_up_with() {
        let at = |sequence, same_content, approved| Some(Committed { sequence, same_content, approved });
        for (proposed, committed, expected) in [
            (2, at(2, true, false), "due"),
            (2, at(2, true, true), "due"),
            (2, at(3, true, false), "over"),
            (2, at(2, false, false), "refused"),
            (2, at(1, true, true), "refused"),
            (2, None, "refused"),
        ] {
            let found = match check_catching_up(proposed, committed) {
                Ok(CatchingUp::Due) => "due",
                Ok(CatchingUp::Over(_)) => "over",
                Err(_) => "refused",
            };
            assert_eq!(found, expected, "{proposed} with {committed:?}");
        }
    }

    #[test]
    fn sequences_follow_one_another() {
        let at = |sequence, same_content, approved| Some(Committed { sequence, same_content, approved });
        for (proposed, committed, valid) in [
            (1, None, true),
            (2, None, false),
            (i64::MAX, None, false),
            (2, at(1, false, true), true),
            (3, at(1, false, true), false),
            (i64::MAX, at(1, false, true), false),
            (1, at(1, true, true), false),
            (1, at(1, true, false), true),
            (1, at(1, false, false), false),
            (1, at(2, true, false), false),
            // The next one, even though the committed one was not approved here.
            (3, at(2, false, false), true),
        ] {
            assert_eq!(check_sequence(proposed, committed).is_ok(), valid, "{proposed} after {committed:?}");
        }
    }
}
