//! What comes as text: connection profiles, the events of the OpsSC contracts.

use crate::client::profile::ConnectionProfile;
use crate::opssc::{chaincode_ops, channel_ops};

/// A connection profile, YAML or JSON.
pub fn profile(input: &[u8]) {
    let Ok(profile) = ConnectionProfile::parse(&String::from_utf8_lossy(input)) else { return };
    let own = profile.organization();
    assert!(profile.peers_of(own).count() <= profile.peers().len());
    let _ = (profile.orderers(), profile.client_tls());
}

/// An event of either contract: its name, a line end, its payload. Or a payload that a call answers with.
pub fn opssc_event(input: &[u8]) {
    let (name, payload) = super::split(input);
    let name = String::from_utf8_lossy(name);
    let named = name.split_once('.').map(|(_, id)| id);
    if let Ok(event) = chaincode_ops::Event::parse(&name, payload) {
        assert_eq!(Some(event.proposal_id()), named);
    }
    if let Ok(event) = channel_ops::Event::parse(&name, payload) {
        assert_eq!(Some(event.proposal_id()), named);
    }
    if let Ok(proposal) = serde_json::from_slice::<chaincode_ops::Proposal>(input) {
        let text = serde_json::to_vec(&proposal).expect("texts and numbers have a JSON form");
        assert_eq!(serde_json::from_slice::<chaincode_ops::Proposal>(&text).ok(), Some(proposal.clone()));
        let definition = &proposal.chaincode_definition;
        let _ = (definition.decode_validation_parameter(), definition.decode_collections());
    }
    let _ = serde_json::from_slice::<Vec<chaincode_ops::History>>(input);
    let _ = serde_json::from_slice::<channel_ops::Proposal>(input);
    let _ = serde_json::from_slice::<channel_ops::Channel>(input);
}
