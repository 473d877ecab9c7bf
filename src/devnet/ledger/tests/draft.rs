//! Transactions taken apart, changed, and signed again: what a hostile or broken client could send.

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::kit::Endorsed;
use crate::fabric::identity::{Signer as _, SigningIdentity};
use crate::fabric::names::TxId;
use crate::pb::common::{self, ChannelHeader, SignatureHeader};
use crate::pb::protos;

/// All layers of an endorsed transaction.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) channel_header: ChannelHeader,
    pub(super) signature_header: SignatureHeader,
    pub(super) extension: protos::ChaincodeHeaderExtension,
    pub(super) action_header: SignatureHeader,
    pub(super) proposal_payload: Bytes,
    pub(super) action: protos::ChaincodeAction,
    /// Instead of the right one.
    pub(super) proposal_hash: Option<Bytes>,
    /// How often the one action stands in the transaction.
    pub(super) actions: usize,
}

impl Draft {
    pub(super) fn of(endorsed: &Endorsed) -> Self {
        let envelope = common::Envelope::decode(endorsed.envelope.clone()).unwrap();
        let payload = common::Payload::decode(envelope.payload).unwrap();
        let header = payload.header.unwrap();
        let channel_header = ChannelHeader::decode(header.channel_header).unwrap();
        let transaction = protos::Transaction::decode(payload.data).unwrap();
        let action = transaction.actions.into_iter().next().unwrap();
        let action_payload = protos::ChaincodeActionPayload::decode(action.payload).unwrap();
        let response = action_payload.action.unwrap().proposal_response_payload;
        let response = protos::ProposalResponsePayload::decode(response).unwrap();
        Self {
            extension: protos::ChaincodeHeaderExtension::decode(channel_header.extension.clone()).unwrap(),
            channel_header,
            signature_header: SignatureHeader::decode(header.signature_header).unwrap(),
            action_header: SignatureHeader::decode(action.header).unwrap(),
            proposal_payload: action_payload.chaincode_proposal_payload,
            action: protos::ChaincodeAction::decode(response.extension).unwrap(),
            proposal_hash: None,
            actions: 1,
        }
    }

    /// The transaction, endorsed and signed anew.
    pub(super) fn sign(mut self, client: &SigningIdentity, endorsers: &[&SigningIdentity]) -> Bytes {
        if !self.channel_header.extension.is_empty() {
            self.channel_header.extension = self.extension.encode_to_vec().into();
        }
        let channel_header = self.channel_header.encode_to_vec();
        let action_header = self.action_header.encode_to_vec();
        let proposal_hash = Sha256::new()
            .chain_update(&channel_header)
            .chain_update(&action_header)
            .chain_update(&self.proposal_payload)
            .finalize();
        let response = protos::ProposalResponsePayload {
            proposal_hash: self.proposal_hash.unwrap_or_else(|| proposal_hash.to_vec().into()),
            extension: self.action.encode_to_vec().into(),
        };
        let response = Bytes::from(response.encode_to_vec());
        let endorsements = endorsers
            .iter()
            .map(|endorser| protos::Endorsement {
                endorser: endorser.creator().clone(),
                signature: endorser.sign_now(&[response.as_ref(), endorser.creator()].concat()),
            })
            .collect();
        let payload = protos::ChaincodeActionPayload {
            chaincode_proposal_payload: self.proposal_payload,
            action: Some(protos::ChaincodeEndorsedAction { proposal_response_payload: response, endorsements }),
        };
        let action =
            protos::TransactionAction { header: action_header.into(), payload: payload.encode_to_vec().into() };
        let payload = common::Payload {
            header: Some(common::Header {
                channel_header: channel_header.into(),
                signature_header: self.signature_header.encode_to_vec().into(),
            }),
            data: protos::Transaction { actions: vec![action; self.actions] }.encode_to_vec().into(),
        };
        let payload = Bytes::from(payload.encode_to_vec());
        let signature = client.sign_now(&payload);
        common::Envelope { payload, signature }.encode_to_vec().into()
    }

    /// Takes the ID that belongs to nonce and creator.
    pub(super) fn rename(&mut self) {
        let header = &self.signature_header;
        self.channel_header.tx_id = TxId::of(&header.nonce, &header.creator).to_string();
    }
}
