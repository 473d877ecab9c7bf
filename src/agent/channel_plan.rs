//! A channel proposal made into what is handed in, or the reason why it cannot be.
//!
//! Pure. Everything in a proposal was written by other organizations; past this module there is an update for the
//! channel that was voted on, and signatures that at least are signatures.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use prost::Message as _;

use crate::fabric::names::ChannelName;
use crate::opssc::channel_ops::{Action, Proposal};
use crate::pb::common::{ConfigSignature, ConfigUpdate, ConfigUpdateEnvelope};

use super::text;

/// What a channel proposal asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ChannelPlan {
    /// The channel to change or make.
    pub(super) channel: ChannelName,
    /// Whether it is made.
    pub(super) creates: bool,
    /// The update as it was voted on, with the signatures of those who voted for it.
    pub(super) update: ConfigUpdateEnvelope,
    /// The organizations whose signature cannot be read, so that it is left out.
    pub(super) unreadable: Vec<String>,
}

impl ChannelPlan {
    /// Reads a proposal.
    ///
    /// # Errors
    /// The reason why nobody could carry it out, fit to be shown.
    pub(super) fn of(proposal: &Proposal) -> Result<Self, String> {
        let channel = ChannelName::parse(proposal.channel_id.as_str())
            .map_err(|error| format!("the proposal names no channel: {error}"))?;
        let creates = match &proposal.action {
            Action::Create => true,
            Action::Update => false,
            other => {
                let action = text::bounded(other.as_str(), 40);
                return Err(format!("the proposal's action is {action}, neither update nor create"));
            }
        };
        let config_update = decode(&proposal.artifacts.config_update)
            .map_err(|reason| format!("the proposal's configUpdate is not base64: {reason}"))?;
        let update = ConfigUpdate::decode(config_update.clone())
            .map_err(|error| format!("the proposal's configUpdate is no configuration update: {error}"))?;
        if update.channel_id != channel.as_str() {
            let named = text::bounded(&update.channel_id, 80);
            return Err(format!("the proposal is for channel {channel}, but its update is for {named:?}"));
        }
        let (signatures, unreadable) = channel_signatures(proposal);
        Ok(Self { channel, creates, update: ConfigUpdateEnvelope { config_update, signatures }, unreadable })
    }
}

/// The signatures of a proposal, and the organizations whose signature cannot be read.
pub fn channel_signatures(proposal: &Proposal) -> (Vec<ConfigSignature>, Vec<String>) {
    let (mut signatures, mut unreadable) = (Vec::new(), Vec::new());
    for (msp_id, signature) in &proposal.artifacts.signatures {
        let read = decode(signature).ok().and_then(|bytes| ConfigSignature::decode(bytes).ok());
        match read.filter(|read| !read.signature.is_empty()) {
            Some(read) => signatures.push(read),
            None => unreadable.push(text::bounded(msp_id, 80)),
        }
    }
    (signatures, unreadable)
}

fn decode(base64: &str) -> Result<Bytes, String> {
    BASE64_STANDARD.decode(base64.trim()).map(Bytes::from).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opssc::channel_ops::{Artifacts, Status};

    fn proposal(channel: &str, update_for: &str) -> Proposal {
        let update = ConfigUpdate { channel_id: update_for.to_owned(), ..ConfigUpdate::default() };
        let signature = ConfigSignature { signature_header: "header".into(), signature: "signature".into() };
        let signatures = [("Org1MSP".to_owned(), BASE64_STANDARD.encode(signature.encode_to_vec()))];
        Proposal {
            doc_type: "proposal".to_owned(),
            id: "p1".to_owned(),
            channel_id: channel.to_owned(),
            description: String::new(),
            creator: "Org1MSP".to_owned(),
            action: Action::Update,
            status: Status::Approved,
            ops_profile: serde_json::Value::Null,
            artifacts: Artifacts {
                config_update: BASE64_STANDARD.encode(update.encode_to_vec()),
                signatures: signatures.into(),
            },
        }
    }

    #[test]
    fn the_update_is_taken_byte_for_byte() {
        let given = proposal("mychannel", "mychannel");
        let plan = ChannelPlan::of(&given).unwrap();
        assert_eq!(plan.channel.as_str(), "mychannel");
        assert_eq!(BASE64_STANDARD.encode(&plan.update.config_update), given.artifacts.config_update);
        assert_eq!((plan.update.signatures.len(), plan.creates), (1, false));
        let create = Proposal { action: Action::Create, ..given };
        assert!(ChannelPlan::of(&create).unwrap().creates);
    }

    #[test]
    fn a_signature_that_is_none_is_left_out_and_told() {
        let mut given = proposal("mychannel", "mychannel");
        for (msp_id, signature) in [("Org2MSP", "%%%"), ("Org3MSP", "/////w=="), ("Org4MSP", "")] {
            given.artifacts.signatures.insert(msp_id.to_owned(), signature.to_owned());
        }
        let plan = ChannelPlan::of(&given).unwrap();
        assert_eq!(plan.update.signatures.len(), 1);
        assert_eq!(plan.unreadable, ["Org2MSP", "Org3MSP", "Org4MSP"]);
    }

    #[test]
    fn what_nobody_can_carry_out_is_refused() {
        let refused = |change: &dyn Fn(&mut Proposal)| {
            let mut given = proposal("mychannel", "mychannel");
            change(&mut given);
            ChannelPlan::of(&given).unwrap_err()
        };
        assert!(refused(&|given| given.channel_id = "Not A Channel".to_owned()).contains("no channel"));
        assert!(refused(&|given| given.channel_id = "other".to_owned()).contains("\"mychannel\""));
        assert!(refused(&|given| given.artifacts.config_update = "*".to_owned()).contains("not base64"));
        assert!(refused(&|given| given.artifacts.config_update = "/////w==".to_owned()).contains("no configuration"));
        assert!(refused(&|given| given.action = Action::from("remove")).contains("neither update nor create"));
    }
}
