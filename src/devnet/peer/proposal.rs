//! A signed proposal taken apart, with the checks that need no ledger.
//!
//! Invariant: an [`UnpackedProposal`] has all the parts that an endorser looks at, and its hash is the one that every
//! other endorser computes. Who signed it is not checked here: that takes the channel's configuration.
//!
//! Source: Fabric 3.1.5 `core/endorser/msgvalidation.go`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use prost::Message;
use sha2::{Digest as _, Sha256};

use super::context::Refused;
use crate::devnet::error::WIRE_FORMAT;
use crate::fabric::identity::{Certificate, Creator};
use crate::fabric::names::TxId;
use crate::pb::common::{ChannelHeader, Header, HeaderType, SignatureHeader};
use crate::pb::protos;

/// How far the clocks of client and peer may be apart.
const TIME_WINDOW: Duration = Duration::from_mins(15);

/// A signed proposal and what is in it.
#[derive(Debug, Clone)]
pub(crate) struct UnpackedProposal {
    /// As it was received.
    pub(crate) signed: protos::SignedProposal,
    pub(crate) channel_header: ChannelHeader,
    pub(crate) signature_header: SignatureHeader,
    /// The chaincode's name, as the header has it.
    pub(crate) chaincode: String,
    pub(crate) input: protos::ChaincodeInput,
    pub(crate) transient: BTreeMap<String, Bytes>,
    /// What the endorsers sign as the proposal.
    pub(crate) hash: Bytes,
}

/// Decodes one message, and names it where that fails.
pub(crate) fn decode<M: Message + Default>(name: &str, bytes: &Bytes) -> Result<M, Refused> {
    M::decode(bytes.clone()).map_err(|_| Refused(format!("error unmarshalling {name}: {WIRE_FORMAT}")))
}

/// That a proposal is of these days, and its client's certificate too: what stands before an endorser.
pub(crate) fn check_time(signed: &protos::SignedProposal, now: SystemTime) -> Result<(), Refused> {
    let failed = |what: &'static str| move |error: Refused| error.context(format_args!("failed parsing {what}"));
    let proposal: protos::Proposal = decode("Proposal", &signed.proposal_bytes).map_err(failed("proposal"))?;
    let header: Header = decode("Header", &proposal.header).map_err(failed("header"))?;
    let signer: SignatureHeader =
        decode("SignatureHeader", &header.signature_header).map_err(failed("signature header"))?;
    if is_expired(&signer.creator, now) {
        return Err(Refused::new("proposal client identity expired"));
    }
    let channel: ChannelHeader = decode("ChannelHeader", &header.channel_header).map_err(failed("channel header"))?;
    let sent = SystemTime::try_from(channel.timestamp.unwrap_or_default()).unwrap_or(SystemTime::UNIX_EPOCH);
    let apart = now.duration_since(sent).or_else(|_| sent.duration_since(now)).unwrap_or(Duration::MAX);
    if apart > TIME_WINDOW {
        let shown = |time: SystemTime| prost_types::Timestamp { nanos: 0, ..time.into() };
        return Err(Refused(format!(
            "request unauthorized due to incorrect timestamp {}, peer time {}, peer.authentication.timewindow 15m0s",
            shown(sent),
            shown(now),
        )));
    }
    Ok(())
}

impl UnpackedProposal {
    /// Takes `signed` apart.
    pub(crate) fn unpack(signed: protos::SignedProposal) -> Result<Self, Refused> {
        let proposal: protos::Proposal = decode("Proposal", &signed.proposal_bytes)?;
        let header: Header = decode("Header", &proposal.header)?;
        let channel_header: ChannelHeader = decode("ChannelHeader", &header.channel_header)?;
        let signature_header: SignatureHeader = decode("SignatureHeader", &header.signature_header)?;
        let extension: protos::ChaincodeHeaderExtension =
            decode("ChaincodeHeaderExtension", &channel_header.extension)?;
        let chaincode =
            extension.chaincode_id.ok_or_else(|| Refused::new("ChaincodeHeaderExtension.ChaincodeId is nil"))?.name;
        if chaincode.is_empty() {
            return Err(Refused::new("ChaincodeHeaderExtension.ChaincodeId.Name is empty"));
        }
        let payload: protos::ChaincodeProposalPayload = decode("ChaincodeProposalPayload", &proposal.payload)?;
        let spec: protos::ChaincodeInvocationSpec = decode("ChaincodeInvocationSpec", &payload.input)?;
        let input = spec
            .chaincode_spec
            .ok_or_else(|| Refused::new("chaincode invocation spec did not contain chaincode spec"))?
            .input
            .ok_or_else(|| Refused::new("chaincode input did not contain any input"))?;
        let without_transient =
            protos::ChaincodeProposalPayload { input: payload.input, transient_map: BTreeMap::new() };
        let hash = Sha256::new()
            .chain_update(&header.channel_header)
            .chain_update(&header.signature_header)
            .chain_update(without_transient.encode_to_vec())
            .finalize()
            .to_vec()
            .into();
        Ok(Self { signed, channel_header, signature_header, chaincode, input, transient: payload.transient_map, hash })
    }

    /// The channel; empty for none.
    pub(crate) fn channel(&self) -> &str {
        &self.channel_header.channel_id
    }

    /// The transaction's ID, as the header has it.
    pub(crate) fn tx_id(&self) -> &str {
        &self.channel_header.tx_id
    }

    /// Checks the headers, as far as they speak for themselves.
    pub(crate) fn validate(&self) -> Result<(), Refused> {
        match HeaderType::try_from(self.channel_header.r#type) {
            // The first configuration of a channel is proposed under the second type (JoinChain).
            Ok(HeaderType::EndorserTransaction | HeaderType::Config) => {}
            Ok(other) => return Err(Refused(format!("invalid header type {}", other.as_str_name()))),
            Err(_) => return Err(Refused(format!("invalid header type {}", self.channel_header.r#type))),
        }
        if self.channel_header.epoch != 0 {
            return Err(Refused::new("epoch is non-zero"));
        }
        let SignatureHeader { creator, nonce } = &self.signature_header;
        if nonce.is_empty() {
            return Err(Refused::new("nonce is empty"));
        }
        if creator.is_empty() {
            return Err(Refused::new("creator is empty"));
        }
        let expected = TxId::of(nonce, creator);
        if self.tx_id() != expected.as_str() {
            return Err(Refused(format!(
                "incorrectly computed txid '{}' -- expected '{expected}'",
                shown(self.tx_id())
            )));
        }
        if self.signed.signature.is_empty() {
            return Err(Refused::new("empty signature bytes"));
        }
        Ok(())
    }
}

/// Whether the certificate of `creator` has expired; what cannot be read has not.
pub(crate) fn is_expired(creator: &[u8], now: SystemTime) -> bool {
    let certificate = Creator::decode(creator).ok().and_then(|it| Certificate::from_pem(&it.certificate_pem).ok());
    let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    certificate.is_some_and(|certificate| u64::try_from(certificate.not_after()).is_ok_and(|end| end < now))
}

/// A text of somebody else's, short enough for a message.
pub(crate) fn shown(text: &str) -> String {
    if text.chars().count() > 200 { text.chars().take(200).chain("…".chars()).collect() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::names::ChannelName;
    use crate::fabric::tx::{Invocation, Nonce, Proposal};

    fn proposal() -> (Proposal, protos::SignedProposal) {
        let channel = ChannelName::parse("ops").unwrap();
        let invocation = Invocation::new("basic", "Read").arg("a1").transient("secret", "s");
        let proposal = Proposal::new(
            Some(&channel),
            &invocation,
            &Bytes::from_static(b"creator"),
            Nonce([7; 24]),
            prost_types::Timestamp::default(),
            HeaderType::EndorserTransaction,
        );
        let signed =
            protos::SignedProposal { proposal_bytes: proposal.bytes().clone(), signature: Bytes::from_static(b"s") };
        (proposal, signed)
    }

    #[test]
    fn a_clients_proposal_is_taken_apart() {
        let (proposal, signed) = proposal();
        let unpacked = UnpackedProposal::unpack(signed).unwrap();
        unpacked.validate().unwrap();
        assert_eq!((unpacked.channel(), unpacked.chaincode.as_str()), ("ops", "basic"));
        assert_eq!(unpacked.tx_id(), proposal.tx_id().as_str());
        assert_eq!(unpacked.hash, proposal.hash().as_slice());
        assert_eq!(unpacked.transient["secret"], "s");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let unpacked = UnpackedProposal::unpack(proposal().1).unwrap();
        let check = |change: fn(&mut UnpackedProposal), expected: &str| {
            let mut changed = unpacked.clone();
            change(&mut changed);
            let said = changed.validate().unwrap_err().to_string();
            assert!(said.starts_with(expected), "{said} instead of {expected}");
        };
        check(|p| p.channel_header.r#type = HeaderType::ConfigUpdate.into(), "invalid header type CONFIG_UPDATE");
        check(|p| p.channel_header.r#type = 77, "invalid header type 77");
        check(|p| p.channel_header.epoch = 1, "epoch is non-zero");
        check(|p| p.signature_header.nonce = Bytes::new(), "nonce is empty");
        check(|p| p.signature_header.creator = Bytes::new(), "creator is empty");
        check(|p| p.signature_header.nonce = Bytes::from_static(b"n"), "incorrectly computed txid '");
        check(|p| p.channel_header.tx_id = "x".into(), "incorrectly computed txid 'x' -- expected '");
        check(|p| p.signed.signature = Bytes::new(), "empty signature bytes");
    }

    #[test]
    fn rubbish_is_refused() {
        for bytes in [&b""[..], b"\xff\xff", b"\x0a\x02\x0a\x00"] {
            let signed = protos::SignedProposal { proposal_bytes: bytes.into(), signature: Bytes::new() };
            assert!(UnpackedProposal::unpack(signed).is_err(), "for {bytes:?}");
        }
    }
}
