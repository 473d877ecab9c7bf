//! What an organization approves and commits, as the `_lifecycle` chaincode takes it.
//!
//! A file of its own because client and embedded network speak of the same definition from the two ends of the wire.
//! Not here: sending any of it.
//!
//! Source: `fabric-protos/peer/lifecycle/lifecycle.proto`, Fabric 3.1.5 `core/chaincode/lifecycle`.

mod difference;

use bytes::Bytes;

pub use difference::{Difference, Field, Part};

use crate::fabric::names::{ChaincodeName, PackageId};
use crate::pb::lifecycle as pb;
use crate::pb::lifecycle::chaincode_source::{Local, Type as SourceType, Unavailable};
use crate::pb::protos::CollectionConfigPackage;

/// What the peers fill in where a definition names no endorsement plugin.
pub const DEFAULT_ENDORSEMENT_PLUGIN: &str = "escc";
/// What the peers fill in where a definition names no validation plugin.
pub const DEFAULT_VALIDATION_PLUGIN: &str = "vscc";
/// The policy that peers fill in, by reference, where a definition has no validation parameter.
pub const DEFAULT_ENDORSEMENT_POLICY: &str = "/Channel/Application/Endorsement";

/// A chaincode definition: what the organizations of a channel have to agree upon, byte for byte.
#[derive(Debug, Clone, PartialEq)]
pub struct ChaincodeDefinition {
    /// The chaincode's name.
    pub name: ChaincodeName,
    /// Free text; the peers only compare it.
    pub version: String,
    /// 1 for the first definition, then one more for each.
    pub sequence: i64,
    /// Empty for the default.
    pub endorsement_plugin: String,
    /// Empty for the default.
    pub validation_plugin: String,
    /// An encoded `protos.ApplicationPolicy`; empty for the channel's `Endorsement` policy.
    pub validation_parameter: Bytes,
    /// The private data collections.
    pub collections: Option<CollectionConfigPackage>,
    /// Whether the first invocation must be the initializing one.
    pub init_required: bool,
}

impl ChaincodeDefinition {
    /// A definition with Fabric's defaults.
    pub fn new(name: ChaincodeName, version: impl Into<String>, sequence: i64) -> Self {
        Self {
            name,
            version: version.into(),
            sequence,
            endorsement_plugin: String::new(),
            validation_plugin: String::new(),
            validation_parameter: Bytes::new(),
            collections: None,
            init_required: false,
        }
    }

    /// The definition as the peers keep it: with what they fill in for what was left out. Two definitions are the same
    /// to them when these are equal.
    #[must_use]
    pub fn with_defaults(mut self) -> Self {
        if self.endorsement_plugin.is_empty() {
            DEFAULT_ENDORSEMENT_PLUGIN.clone_into(&mut self.endorsement_plugin);
        }
        if self.validation_plugin.is_empty() {
            DEFAULT_VALIDATION_PLUGIN.clone_into(&mut self.validation_plugin);
        }
        if self.validation_parameter.is_empty() {
            use crate::pb::protos::{ApplicationPolicy, application_policy::Type};
            let reference = Type::ChannelConfigPolicyReference(DEFAULT_ENDORSEMENT_POLICY.to_owned());
            self.validation_parameter =
                prost::Message::encode_to_vec(&ApplicationPolicy { r#type: Some(reference) }).into();
        }
        if self.collections.as_ref().is_none_or(|collections| collections.config.is_empty()) {
            self.collections = Some(CollectionConfigPackage::default());
        }
        self
    }

    /// Whether the peers take the two for the same definition.
    pub fn is_same(&self, other: &Self) -> bool {
        self.clone().with_defaults() == other.clone().with_defaults()
    }

    /// In what `found` differs from this definition; nothing where the peers take both for the same.
    pub fn differences(&self, found: &Self) -> Vec<Difference> {
        difference::between(self, found)
    }

    /// The argument of `ApproveChaincodeDefinitionForMyOrg`. Without a package the definition is approved, but the
    /// organization's peers do not run it.
    pub fn approve_args(&self, package: Option<&PackageId>) -> pb::ApproveChaincodeDefinitionForMyOrgArgs {
        let source = match package {
            Some(id) => SourceType::LocalPackage(Local { package_id: id.to_string() }),
            None => SourceType::Unavailable(Unavailable {}),
        };
        pb::ApproveChaincodeDefinitionForMyOrgArgs {
            sequence: self.sequence,
            name: self.name.to_string(),
            version: self.version.clone(),
            endorsement_plugin: self.endorsement_plugin.clone(),
            validation_plugin: self.validation_plugin.clone(),
            validation_parameter: self.validation_parameter.clone(),
            collections: self.collections.clone(),
            init_required: self.init_required,
            source: Some(pb::ChaincodeSource { r#type: Some(source) }),
        }
    }

    /// The argument of `CommitChaincodeDefinition`.
    pub fn commit_args(&self) -> pb::CommitChaincodeDefinitionArgs {
        pb::CommitChaincodeDefinitionArgs {
            sequence: self.sequence,
            name: self.name.to_string(),
            version: self.version.clone(),
            endorsement_plugin: self.endorsement_plugin.clone(),
            validation_plugin: self.validation_plugin.clone(),
            validation_parameter: self.validation_parameter.clone(),
            collections: self.collections.clone(),
            init_required: self.init_required,
        }
    }

    /// The argument of `CheckCommitReadiness`.
    pub fn readiness_args(&self) -> pb::CheckCommitReadinessArgs {
        pb::CheckCommitReadinessArgs {
            sequence: self.sequence,
            name: self.name.to_string(),
            version: self.version.clone(),
            endorsement_plugin: self.endorsement_plugin.clone(),
            validation_plugin: self.validation_plugin.clone(),
            validation_parameter: self.validation_parameter.clone(),
            collections: self.collections.clone(),
            init_required: self.init_required,
        }
    }

    /// The answer of `QueryApprovedChaincodeDefinition`, which leaves out the name that was asked for.
    pub fn from_approved(name: ChaincodeName, approved: pb::QueryApprovedChaincodeDefinitionResult) -> Self {
        Self {
            name,
            version: approved.version,
            sequence: approved.sequence,
            endorsement_plugin: approved.endorsement_plugin,
            validation_plugin: approved.validation_plugin,
            validation_parameter: approved.validation_parameter,
            collections: approved.collections,
            init_required: approved.init_required,
        }
    }

    /// The answer of `QueryChaincodeDefinition`, which leaves out the name that was asked for.
    pub fn from_committed(name: ChaincodeName, committed: pb::QueryChaincodeDefinitionResult) -> Self {
        Self {
            name,
            version: committed.version,
            sequence: committed.sequence,
            endorsement_plugin: committed.endorsement_plugin,
            validation_plugin: committed.validation_plugin,
            validation_parameter: committed.validation_parameter,
            collections: committed.collections,
            init_required: committed.init_required,
        }
    }
}

/// The package ID that an approval names; `None` when it names none.
pub fn approved_package(source: Option<&pb::ChaincodeSource>) -> Option<&str> {
    match source?.r#type.as_ref()? {
        SourceType::LocalPackage(local) => Some(local.package_id.as_str()).filter(|id| !id.is_empty()),
        SourceType::Unavailable(_) => None,
    }
}

/// The argument of `InstallChaincode`.
pub fn install_args(package: Bytes) -> pb::InstallChaincodeArgs {
    pb::InstallChaincodeArgs { chaincode_install_package: package }
}

/// The argument of `QueryInstalledChaincodes`.
pub fn installed_all_args() -> pb::QueryInstalledChaincodesArgs {
    pb::QueryInstalledChaincodesArgs {}
}

/// The argument of `QueryInstalledChaincode`.
pub fn installed_args(id: &PackageId) -> pb::QueryInstalledChaincodeArgs {
    pb::QueryInstalledChaincodeArgs { package_id: id.to_string() }
}

/// The argument of `GetInstalledChaincodePackage`.
pub fn installed_package_args(id: &PackageId) -> pb::GetInstalledChaincodePackageArgs {
    pb::GetInstalledChaincodePackageArgs { package_id: id.to_string() }
}

/// The argument of `QueryApprovedChaincodeDefinition`; a sequence of 0 asks for the newest.
pub fn approved_args(name: &ChaincodeName, sequence: i64) -> pb::QueryApprovedChaincodeDefinitionArgs {
    pb::QueryApprovedChaincodeDefinitionArgs { name: name.to_string(), sequence }
}

/// The argument of `QueryApprovedChaincodeDefinitions`, which peers know from Fabric 3.0 on.
pub fn approved_all_args() -> pb::QueryApprovedChaincodeDefinitionsArgs {
    pb::QueryApprovedChaincodeDefinitionsArgs {}
}

/// The argument of `QueryChaincodeDefinition`.
pub fn committed_args(name: &ChaincodeName) -> pb::QueryChaincodeDefinitionArgs {
    pb::QueryChaincodeDefinitionArgs { name: name.to_string() }
}

/// The argument of `QueryChaincodeDefinitions`.
pub fn committed_all_args() -> pb::QueryChaincodeDefinitionsArgs {
    pb::QueryChaincodeDefinitionsArgs {}
}
