//! Configurations and blocks as JSON, in the form of configtxlator's `proto_decode` and `proto_encode`.
//!
//! Messages that are nested in bytes are written out, down to the read and write sets of transactions. What cannot be
//! taken apart (a value that a later Fabric brings) stays base64, in both directions, where
//! configtxlator gives up. JSON has no place for unknown fields: the [tree](super::tree) keeps those.
//!
//! Source: fabric-config's `protolator`, Go's `protojson`.

mod read;
mod schema;
#[cfg(test)]
mod tests;
mod write;

use bytes::Bytes;
pub(crate) use schema::{role_of, value_of};
use serde_json::{Map, Value};

use super::tree::TreeError;

/// Messages may lie so deep in each other.
const MAX_DEPTH: usize = 80;

/// Why there is no JSON of bytes, or no bytes of JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The message is none of a configuration.
    #[error("there is no message {name:?} here")]
    Unknown {
        /// Which was asked for.
        name: String,
    },
    /// The bytes cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The JSON has another form.
    #[error("{path}: {reason}")]
    Form {
        /// Where.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

/// The names of all messages that are known here, such as `common.Config`.
pub fn messages() -> Vec<&'static str> {
    schema::messages().collect()
}

/// The JSON of the message `name` that these bytes are.
///
/// # Errors
/// [`JsonError`] when the message is unknown here or the bytes are none.
pub fn decode(name: &str, bytes: &[u8]) -> Result<Value, JsonError> {
    known(name)?;
    read::message(&Type::of(name), bytes, 0)
}

/// The canonical bytes of the message `name` that this JSON is.
///
/// # Errors
/// [`JsonError`] when the message is unknown here or the JSON has another form.
pub fn encode(name: &str, json: &Value) -> Result<Bytes, JsonError> {
    known(name)?;
    write::message(&Type::of(name), json, &mut vec![name.to_owned()])
}

fn known(name: &str) -> Result<(), JsonError> {
    if schema::messages().any(|known| known == name) {
        Ok(())
    } else {
        Err(JsonError::Unknown { name: name.to_owned() })
    }
}

/// A message, with what follows from where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Type {
    message: String,
    /// Of a group, its role; of a value, the message that it is.
    role: String,
}

impl Type {
    /// `message` or `message/role`.
    fn of(name: &str) -> Self {
        let (message, role) = name.split_once('/').unwrap_or((name, ""));
        Self { message: message.to_owned(), role: role.to_owned() }
    }

    /// The type of the entry `key` of a map.
    fn entry(&self, of: &str, key: &str) -> Self {
        let mut entry = Self::of(of);
        match (self.message.as_str(), of) {
            ("common.ConfigGroup", "common.ConfigGroup") => {
                schema::role_of(&self.role, key).clone_into(&mut entry.role);
            }
            ("common.ConfigGroup", "common.ConfigValue") => {
                schema::value_of(&self.role, key).unwrap_or_default().clone_into(&mut entry.role);
            }
            _ => {}
        }
        entry
    }

    /// The message in the bytes of the field that varies, from what stands beside it.
    fn variable(&self, beside: &Beside) -> Option<String> {
        let message = match (self.message.as_str(), beside) {
            ("common.ConfigValue", _) if !self.role.is_empty() => &self.role,
            ("common.Policy", Beside::Number(1)) => "common.SignaturePolicyEnvelope",
            ("common.Policy", Beside::Number(3)) => "common.ImplicitMetaPolicy",
            ("common.MSPPrincipal", Beside::Number(0)) => "common.MSPRole",
            ("common.MSPPrincipal", Beside::Number(1)) => "common.OrganizationUnit",
            ("common.MSPPrincipal", Beside::Number(2)) => "msp.SerializedIdentity",
            ("msp.MSPConfig", Beside::Number(0)) => "msp.FabricMSPConfig",
            ("common.Payload", Beside::Number(1)) => "common.ConfigEnvelope",
            ("common.Payload", Beside::Number(2)) => "common.ConfigUpdateEnvelope",
            ("common.Payload", Beside::Number(3)) => "protos.Transaction",
            ("common.Payload", Beside::Number(4)) => "common.Envelope",
            ("common.ChannelHeader", Beside::Number(3)) => "protos.ChaincodeHeaderExtension",
            ("orderer.ConsensusType", Beside::Text(kind)) if kind == "etcdraft" => "etcdraft.ConfigMetadata",
            ("orderer.ConsensusType", Beside::Text(kind)) if kind == "BFT" => "orderer.smartbft.Options",
            _ => return None,
        };
        Some(message.to_owned())
    }
}

/// What stands beside a field that varies: the first field, or the type in a payload's header.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Beside {
    Nothing,
    Number(i32),
    Text(String),
}

/// What stands beside the field that varies, in the JSON of the message.
fn beside(of: &Type, object: &Map<String, Value>) -> Beside {
    let number = |value: Option<&Value>| {
        let number = value.and_then(Value::as_i64).and_then(|number| i32::try_from(number).ok());
        number.map_or(Beside::Number(0), Beside::Number)
    };
    match of.message.as_str() {
        "orderer.ConsensusType" => {
            Beside::Text(object.get("type").and_then(Value::as_str).unwrap_or_default().to_owned())
        }
        "common.Payload" => match object.get("header").and_then(|header| header.get("channel_header")) {
            Some(header) => number(header.get("type")),
            None => Beside::Nothing,
        },
        "common.MSPPrincipal" => {
            let value = object.get("principal_classification");
            let name = value.and_then(Value::as_str);
            let known = name.and_then(|name| schema::number_of("common.MSPPrincipal.Classification", name));
            known.map_or_else(|| number(value), Beside::Number)
        }
        _ => number(object.get("type")),
    }
}
