//! From a chaincode's name to what runs: the channel's definition, this organization's approval, the installed package.
//!
//! Invariant: the committed sequence is read in the transaction's own simulation, so that a transaction which was
//! endorsed by an older definition does not become valid under a newer one.
//!
//! Source: Fabric 3.1.5 `core/chaincode/lifecycle/{endorsement_info,cache}.go`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::call::{Call, Simulated};
use super::context::Refused;
use super::packages::Installed;
use super::proposal::shown;
use super::{Peer, cscc, lifecycle, qscc};
use crate::devnet::ledger::{Ledger, implicit_collection};
use crate::devnet::lifecycle::state::{self, Definition};
use crate::pb::protos::Response;

/// The chaincodes that are part of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SystemChaincode {
    Lifecycle,
    Cscc,
    Qscc,
}

/// The version under which system chaincodes endorse.
const SYSTEM_VERSION: &str = "syscc";

impl SystemChaincode {
    fn named(name: &str) -> Option<Self> {
        match name {
            "_lifecycle" => Some(Self::Lifecycle),
            "cscc" => Some(Self::Cscc),
            "qscc" => Some(Self::Qscc),
            _ => None,
        }
    }

    /// Answers a call.
    pub(super) fn invoke(self, call: &Call) -> Response {
        match self {
            Self::Lifecycle => lifecycle::invoke(call),
            Self::Cscc => cscc::invoke(call),
            Self::Qscc => qscc::invoke(call),
        }
    }
}

/// Whether `name` is a chaincode of the peer's own, the legacy lifecycle included, which is only ever looked up.
pub(super) fn is_system(name: &str) -> bool {
    name == "lscc" || SystemChaincode::named(name).is_some()
}

/// What stands behind a chaincode's name.
#[derive(Debug)]
pub(super) enum Resolved {
    System(SystemChaincode),
    Chaincode { version: String, init_required: bool, installed: Arc<Installed> },
}

impl Resolved {
    /// The version that endorsements bear.
    pub(super) fn version(&self) -> &str {
        match self {
            Self::System(_) => SYSTEM_VERSION,
            Self::Chaincode { version, .. } => version,
        }
    }
}

/// A response that refuses.
pub(super) fn failure(message: impl Into<String>) -> Response {
    Response { status: 500, message: message.into(), ..Response::default() }
}

/// A response with a result.
pub(super) fn success(payload: impl Into<bytes::Bytes>) -> Response {
    Response { status: 200, message: String::new(), payload: payload.into() }
}

/// What this organization has to say about a committed definition.
struct Approval {
    definition: Definition,
    approved: bool,
    /// Empty for none.
    package_id: String,
}

impl Peer {
    /// What `chaincode` is on `channel`.
    pub(super) fn resolve(
        &self,
        channel: &str,
        chaincode: &str,
        simulation: Option<&Simulated>,
    ) -> Result<Resolved, Refused> {
        if let Some(system) = SystemChaincode::named(chaincode) {
            return Ok(Resolved::System(system));
        }
        let (Some(known), Some(simulation)) = (self.channel(channel), simulation) else {
            return Err(Refused(format!("could not get channel config for channel '{}'", shown(channel))));
        };
        let current = lifecycle::with_public(simulation, |public| state::committed_sequence(public, chaincode))?;
        if current == 0 {
            return Err(Refused(format!("chaincode {} not found", shown(chaincode))));
        }
        // Fabric keeps these apart from the simulation too: they are no part of what was read.
        let approval = self.approval(known.ledger(), chaincode)?;
        let Some(Approval { definition, approved, package_id }) = approval else {
            return Err(Refused(format!(
                "could not get approved chaincode info from cache: unknown chaincode '{chaincode}' for channel '{channel}'"
            )));
        };
        if definition.sequence != current {
            return Err(Refused(format!(
                "chaincode cache at sequence {} but current sequence is {current}, chaincode definition for \
                 '{chaincode}' changed during invoke",
                definition.sequence
            )));
        }
        if !approved {
            return Err(Refused(format!(
                "chaincode definition for '{chaincode}' at sequence {current} on channel '{channel}' has not yet been \
                 approved by this org"
            )));
        }
        let installed = self.packages.get(&package_id).ok_or_else(|| {
            Refused(format!("chaincode definition for '{chaincode}' exists, but chaincode is not installed"))
        })?;
        Ok(Resolved::Chaincode {
            version: definition.parameters.endorsement.version,
            init_required: definition.parameters.endorsement.init_required,
            installed,
        })
    }

    fn approval(&self, ledger: &Ledger, chaincode: &str) -> Result<Option<Approval>, Refused> {
        let snapshot = Simulated::new(ledger.simulate());
        let Some(definition) = lifecycle::with_public(&snapshot, |public| state::definition(public, chaincode))? else {
            return Ok(None);
        };
        let name = state::private_name(chaincode, definition.sequence);
        let collection = implicit_collection(self.msp_id.as_str());
        let mismatches = lifecycle::with_collection(&snapshot, &collection, |own| {
            state::mismatches(own, state::NAMESPACES, &name, &definition.parameters)
        })?;
        let package = lifecycle::with_collection(&snapshot, &collection, |own| state::local_package(own, &name));
        // A peer that has not got its organization's approval yet cannot run what it names.
        let package_id = package.ok().flatten().map(|package| package.0).unwrap_or_default();
        Ok(Some(Approval { definition, approved: mismatches.is_empty(), package_id }))
    }

    /// Which definitions run which package: by package ID, then by channel, names with versions.
    pub(super) fn references(&self) -> BTreeMap<String, BTreeMap<String, Vec<(String, String)>>> {
        let mut references: BTreeMap<String, BTreeMap<String, Vec<_>>> = BTreeMap::new();
        for name in self.channels() {
            let Some(ledger) = self.ledger(&name) else { continue };
            let snapshot = Simulated::new(ledger.simulate());
            for chaincode in lifecycle::defined(&snapshot).unwrap_or_default() {
                let Ok(Some(approval)) = self.approval(&ledger, &chaincode) else { continue };
                if approval.approved {
                    let version = approval.definition.parameters.endorsement.version;
                    let of_channel = references.entry(approval.package_id).or_default();
                    of_channel.entry(name.to_string()).or_default().push((chaincode, version));
                }
            }
        }
        references
    }

    /// The chaincodes that this peer can run on a channel, with the numbers of their definitions.
    pub(super) fn runnable(&self, ledger: &Ledger) -> Vec<(String, i64)> {
        let snapshot = Simulated::new(ledger.simulate());
        let names = lifecycle::defined(&snapshot).unwrap_or_default();
        let runnable = names.into_iter().filter_map(|chaincode| {
            let approval = self.approval(ledger, &chaincode).ok()??;
            let runs = approval.approved && self.packages.get(&approval.package_id).is_some();
            runs.then_some((chaincode, approval.definition.sequence))
        });
        runnable.collect()
    }
}
