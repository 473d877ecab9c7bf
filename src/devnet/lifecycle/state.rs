//! Where `_lifecycle` keeps what: structures as one key per field, so that write sets name just what changes.
//!
//! A module of its own because the committer reads the same keys as the system chaincode writes, and because other
//! organizations compare the hashes of these very bytes.
//!
//! Source: Fabric 3.1.5 `core/chaincode/lifecycle/{serializer,lifecycle}.go`; `fabric-protos/peer/lifecycle/db.proto`.

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::pb::lifecycle::{ChaincodeEndorsementInfo, ChaincodeValidationInfo, StateData, StateMetadata, state_data};
use crate::pb::protos::CollectionConfigPackage;

/// The chaincode itself.
pub(crate) const LIFECYCLE: &str = "_lifecycle";
/// Where definitions lie, in the open and in the organizations' own collections.
pub(crate) const NAMESPACES: &str = "namespaces";
/// Where an organization notes which package runs a definition.
pub(crate) const SOURCES: &str = "chaincode-sources";

/// Keys that can be read.
pub(crate) trait Read {
    /// The value of a key.
    fn get(&mut self, key: &str) -> Option<Bytes>;
}

/// Keys that can be written too.
pub(crate) trait Write: Read {
    /// Writes or deletes a key. The text of an error is for the client.
    fn put(&mut self, key: &str, value: Option<Bytes>) -> Result<(), String>;
}

/// Keys of which only hashes are known.
pub(crate) trait Hashes {
    /// The hash of a key's value.
    fn hash(&mut self, key: &str) -> Option<Bytes>;
}

/// A structure that is kept as a key per field.
pub(crate) trait Structure {
    /// Its type's name.
    const DATATYPE: &'static str;

    /// Its fields, in their order.
    fn fields(&self) -> Vec<(&'static str, state_data::Type)>;
}

/// What a definition says beside its number.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Parameters {
    pub(crate) endorsement: ChaincodeEndorsementInfo,
    pub(crate) validation: ChaincodeValidationInfo,
    pub(crate) collections: CollectionConfigPackage,
}

/// A committed definition.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Definition {
    pub(crate) sequence: i64,
    pub(crate) parameters: Parameters,
}

/// Which package an organization runs for a definition; empty: none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LocalPackage(pub(crate) String);

impl Structure for Parameters {
    const DATATYPE: &'static str = "ChaincodeParameters";

    fn fields(&self) -> Vec<(&'static str, state_data::Type)> {
        let message = |bytes: Vec<u8>| state_data::Type::Bytes(bytes.into());
        vec![
            ("EndorsementInfo", message(self.endorsement.encode_to_vec())),
            ("ValidationInfo", message(self.validation.encode_to_vec())),
            ("Collections", message(self.collections.encode_to_vec())),
        ]
    }
}

impl Structure for Definition {
    const DATATYPE: &'static str = "ChaincodeDefinition";

    fn fields(&self) -> Vec<(&'static str, state_data::Type)> {
        let mut fields = vec![("Sequence", state_data::Type::Int64(self.sequence))];
        fields.extend(self.parameters.fields());
        fields
    }
}

impl Structure for LocalPackage {
    const DATATYPE: &'static str = "ChaincodeLocalPackage";

    fn fields(&self) -> Vec<(&'static str, state_data::Type)> {
        vec![("PackageID", state_data::Type::String(self.0.clone()))]
    }
}

fn metadata_key(namespace: &str, name: &str) -> String {
    format!("{namespace}/metadata/{name}")
}

fn field_key(namespace: &str, name: &str, field: &str) -> String {
    format!("{namespace}/fields/{name}/{field}")
}

fn metadata_of<S: Structure>(structure: &S) -> StateMetadata {
    StateMetadata {
        datatype: S::DATATYPE.to_owned(),
        fields: structure.fields().into_iter().map(|(name, _)| name.to_owned()).collect(),
    }
}

fn encode(value: state_data::Type) -> Bytes {
    StateData { r#type: Some(value) }.encode_to_vec().into()
}

/// What is known of a structure: its type's name and its fields.
pub(crate) fn metadata(state: &mut impl Read, namespace: &str, name: &str) -> Option<StateMetadata> {
    let bytes = state.get(&metadata_key(namespace, name))?;
    StateMetadata::decode(bytes).ok()
}

fn field(state: &mut impl Read, namespace: &str, name: &str, field: &str) -> Option<state_data::Type> {
    let bytes = state.get(&field_key(namespace, name, field))?;
    StateData::decode(bytes).ok()?.r#type
}

fn message_field<M: prost::Message + Default>(
    state: &mut impl Read,
    namespace: &str,
    name: &str,
    key: &str,
) -> Option<M> {
    match field(state, namespace, name, key) {
        Some(state_data::Type::Bytes(bytes)) => M::decode(bytes).ok(),
        _ => None,
    }
}

/// Writes `structure`, but only the keys whose values change.
pub(crate) fn write<S: Structure>(
    state: &mut impl Write,
    namespace: &str,
    name: &str,
    structure: &S,
) -> Result<(), String> {
    let known = metadata(state, namespace, name).unwrap_or_default();
    let mut existing: Vec<(String, Option<Bytes>)> = Vec::new();
    for field in &known.fields {
        let key = field_key(namespace, name, field);
        let value = state.get(&key);
        existing.push((key, value));
    }
    for (field, value) in structure.fields() {
        let key = field_key(namespace, name, field);
        let value = encode(value);
        let position = existing.iter().position(|(known, _)| *known == key);
        let unchanged = position.is_some_and(|position| existing.swap_remove(position).1.as_ref() == Some(&value));
        if !unchanged {
            state.put(&key, Some(value))?;
        }
    }
    let metadata = metadata_of(structure);
    if !existing.is_empty() || metadata != known {
        state.put(&metadata_key(namespace, name), Some(metadata.encode_to_vec().into()))?;
    }
    for (key, _) in existing {
        state.put(&key, None)?;
    }
    Ok(())
}

/// Whether the hashes are those of `structure`, and where they differ.
pub(crate) fn mismatches<S: Structure>(
    state: &mut impl Hashes,
    namespace: &str,
    name: &str,
    structure: &S,
) -> Vec<String> {
    let hash = |bytes: &[u8]| Sha256::digest(bytes).to_vec();
    // All keys are read in any case, so that the read set does not depend on what they hold.
    let metadata_hash = state.hash(&metadata_key(namespace, name));
    let fields: Vec<_> = structure
        .fields()
        .into_iter()
        .map(|(field, value)| (field, value, state.hash(&field_key(namespace, name, field))))
        .collect();
    if metadata_hash.as_deref() != Some(&hash(&metadata_of(structure).encode_to_vec())) {
        return vec![S::DATATYPE.to_owned()];
    }
    fields
        .into_iter()
        .filter(|(_, value, known)| known.as_deref() != Some(&hash(&encode(value.clone()))))
        .map(|(field, ..)| field.to_owned())
        .collect()
}

/// The number of the committed definition of a chaincode; 0 where there is none.
pub(crate) fn committed_sequence(state: &mut impl Read, chaincode: &str) -> i64 {
    match field(state, NAMESPACES, chaincode, "Sequence") {
        Some(state_data::Type::Int64(sequence)) => sequence,
        _ => 0,
    }
}

/// The committed definition of a chaincode.
pub(crate) fn definition(state: &mut impl Read, chaincode: &str) -> Option<Definition> {
    let metadata = metadata(state, NAMESPACES, chaincode)?;
    if metadata.datatype != Definition::DATATYPE {
        return None;
    }
    let sequence = committed_sequence(state, chaincode);
    Some(Definition { sequence, parameters: parameters_at(state, chaincode) })
}

/// What an organization has approved under `name` (`chaincode#sequence`), read in its own collection.
pub(crate) fn parameters(state: &mut impl Read, name: &str) -> Option<Parameters> {
    let metadata = metadata(state, NAMESPACES, name)?;
    (metadata.datatype == Parameters::DATATYPE).then(|| parameters_at(state, name))
}

fn parameters_at(state: &mut impl Read, name: &str) -> Parameters {
    Parameters {
        endorsement: message_field(state, NAMESPACES, name, "EndorsementInfo").unwrap_or_default(),
        validation: message_field(state, NAMESPACES, name, "ValidationInfo").unwrap_or_default(),
        collections: message_field(state, NAMESPACES, name, "Collections").unwrap_or_default(),
    }
}

/// Which package an organization has noted under `name`.
pub(crate) fn local_package(state: &mut impl Read, name: &str) -> Option<LocalPackage> {
    metadata(state, SOURCES, name)?;
    match field(state, SOURCES, name, "PackageID") {
        Some(state_data::Type::String(package)) => Some(LocalPackage(package)),
        _ => None,
    }
}

/// The key under which an organization keeps its approval.
pub(crate) fn private_name(chaincode: &str, sequence: i64) -> String {
    format!("{chaincode}#{sequence}")
}

/// Whose metadata a key is: the name in `namespaces/metadata/<name>`.
pub(crate) fn name_in_metadata_key(key: &str) -> Option<&str> {
    key.strip_prefix(NAMESPACES)?.strip_prefix("/metadata/")
}

/// The range of all metadata keys of definitions.
pub(crate) fn metadata_range() -> (String, String) {
    let start = format!("{NAMESPACES}/metadata/");
    let end = format!("{start}\u{7F}");
    (start, end)
}
