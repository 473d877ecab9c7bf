//! What a chaincode definition demands of endorsers: its validation parameter.

use bytes::Bytes;
use prost::Message as _;

use super::{PolicyError, dsl};
use crate::pb::common::SignaturePolicyEnvelope;
use crate::pb::protos;
use crate::pb::protos::application_policy::Type;

/// A signature policy, or the name of one that the channel has.
#[derive(Debug, Clone, PartialEq)]
pub enum ApplicationPolicy {
    /// The policy itself.
    Signature(SignaturePolicyEnvelope),
    /// The path of a channel policy, such as `/Channel/Application/Endorsement`.
    ChannelReference(String),
}

impl ApplicationPolicy {
    /// From what is given to the peer CLI as `--signature-policy` and `--channel-config-policy`; empty is as if not
    /// given. `None` when neither is.
    ///
    /// # Errors
    /// [`PolicyError`] when both are given or the signature policy cannot be read.
    pub fn parse_flags(signature: &str, reference: &str) -> Result<Option<Self>, PolicyError> {
        match (signature, reference) {
            ("", "") => Ok(None),
            (signature, "") => dsl::parse(signature).map(|policy| Some(Self::Signature(policy))),
            ("", reference) => Ok(Some(Self::ChannelReference(reference.to_owned()))),
            _ => Err(PolicyError::Both),
        }
    }

    /// Reads a validation parameter. Without bytes there is none.
    ///
    /// # Errors
    /// [`PolicyError::Malformed`] when it is no `protos.ApplicationPolicy` or an empty one.
    pub fn decode(bytes: &[u8]) -> Result<Self, PolicyError> {
        let malformed = |reason: String| PolicyError::Malformed { reason };
        let message = protos::ApplicationPolicy::decode(bytes).map_err(|error| malformed(error.to_string()))?;
        match message.r#type {
            Some(Type::SignaturePolicy(policy)) => Ok(Self::Signature(policy)),
            Some(Type::ChannelConfigPolicyReference(path)) => Ok(Self::ChannelReference(path)),
            None => Err(malformed("it is empty".to_owned())),
        }
    }

    /// The message.
    pub fn to_message(&self) -> protos::ApplicationPolicy {
        let r#type = match self {
            Self::Signature(policy) => Type::SignaturePolicy(policy.clone()),
            Self::ChannelReference(path) => Type::ChannelConfigPolicyReference(path.clone()),
        };
        protos::ApplicationPolicy { r#type: Some(r#type) }
    }

    /// The validation parameter.
    pub fn encode(&self) -> Bytes {
        self.to_message().encode_to_vec().into()
    }
}
