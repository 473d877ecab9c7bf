//! The system chaincode `_lifecycle`: install packages, approve and commit definitions, ask for all of it.
//!
//! Not here: the rules and the keys ([`devnet::lifecycle`](crate::devnet::lifecycle)), and what a definition must look
//! like ([`validate`]).
//!
//! Source: Fabric 3.1.5 `core/chaincode/lifecycle/scc.go`; `fabric-protos/peer/lifecycle/lifecycle.proto`.

mod functions;
mod validate;

use std::cell::RefCell;

use bytes::Bytes;

use super::call::{Call, Simulated};
use super::context::Refused;
use super::proposal::shown;
use super::resolve::{failure, success};
use crate::devnet::ledger::{Simulation, SimulationError};
use crate::devnet::lifecycle::state::{Hashes, Read, Write, metadata_range, name_in_metadata_key};
use crate::pb::protos::Response;

/// The chaincode's name, and with it the namespace of its state.
const NAMESPACE: &str = "_lifecycle";

/// Answers a call of `_lifecycle`.
pub(super) fn invoke(call: &Call) -> Response {
    let args = &call.input.args;
    let [function, argument] = args.as_slice() else {
        return failure(if args.is_empty() {
            "lifecycle scc must be invoked with arguments".to_owned()
        } else {
            format!("lifecycle scc operations require exactly two arguments but received {}", args.len())
        });
    };
    let function = String::from_utf8_lossy(function);
    if !call.channel.is_empty() && call.peer.channel(&call.channel).is_none() {
        return failure(format!("could not get channelconfig for channel '{}'", shown(&call.channel)));
    }
    let resource = format!("{NAMESPACE}/{function}");
    if let Err(error) = call.peer.check_acl(&resource, &call.channel, &call.proposal) {
        return failure(format!("Failed to authorize invocation due to failed ACL check: {error}"));
    }
    match functions::dispatch(call, &function, argument) {
        Ok(result) => success(result),
        Err(Failure::NotDefined(name)) => {
            Response { status: 404, message: format!("namespace {name} is not defined"), ..Response::default() }
        }
        Err(Failure::Refused(error)) => {
            failure(format!("failed to invoke backing implementation of '{}': {error}", shown(&function)))
        }
    }
}

/// Why a function has no result.
enum Failure {
    /// No such chaincode is committed.
    NotDefined(String),
    Refused(Refused),
}

impl From<Refused> for Failure {
    fn from(error: Refused) -> Self {
        Self::Refused(error)
    }
}

impl From<String> for Failure {
    fn from(error: String) -> Self {
        Self::Refused(Refused(error))
    }
}

/// The state of `_lifecycle` in a simulation: the public one, or a collection.
///
/// What cannot be read counts as absent, and is remembered for the end.
pub(super) struct LifecycleState<'a> {
    simulation: &'a Simulated,
    collection: &'a str,
    failed: &'a RefCell<Option<Refused>>,
}

impl LifecycleState<'_> {
    fn remember<T: Default>(&self, result: Result<T, Refused>) -> T {
        result.unwrap_or_else(|error| {
            self.failed.borrow_mut().get_or_insert(error);
            T::default()
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Simulation) -> Result<T, SimulationError>) -> Result<T, Refused> {
        Ok(self.simulation.with(work)??)
    }
}

impl Read for LifecycleState<'_> {
    fn get(&mut self, key: &str) -> Option<Bytes> {
        let found = if self.collection.is_empty() {
            self.simulation.with(|simulation| simulation.get(NAMESPACE, key))
        } else {
            self.with(|simulation| simulation.private_get(NAMESPACE, self.collection, key))
        };
        self.remember(found)
    }
}

impl Write for LifecycleState<'_> {
    fn put(&mut self, key: &str, value: Option<Bytes>) -> Result<(), String> {
        let done = match (self.collection, value) {
            ("", Some(value)) => self.with(|simulation| simulation.put(NAMESPACE, key, value)),
            ("", None) => self.with(|simulation| simulation.delete(NAMESPACE, key)),
            (collection, Some(value)) => {
                self.with(|simulation| simulation.private_put(NAMESPACE, collection, key, value))
            }
            (collection, None) => self.with(|simulation| simulation.private_delete(NAMESPACE, collection, key)),
        };
        done.map_err(|error| error.0)
    }
}

impl Hashes for LifecycleState<'_> {
    fn hash(&mut self, key: &str) -> Option<Bytes> {
        let found = self.simulation.with(|simulation| simulation.private_hash(NAMESPACE, self.collection, key));
        self.remember(found)
    }
}

/// Does something with the public state.
pub(super) fn with_public<T>(
    simulation: &Simulated,
    work: impl FnOnce(&mut LifecycleState<'_>) -> T,
) -> Result<T, Refused> {
    with_collection(simulation, "", work)
}

/// Does something with a collection.
pub(super) fn with_collection<T>(
    simulation: &Simulated,
    collection: &str,
    work: impl FnOnce(&mut LifecycleState<'_>) -> T,
) -> Result<T, Refused> {
    let failed = RefCell::new(None);
    let result = work(&mut LifecycleState { simulation, collection, failed: &failed });
    match failed.into_inner() {
        Some(error) => Err(error),
        None => Ok(result),
    }
}

/// The names of all committed definitions.
pub(super) fn defined(simulation: &Simulated) -> Result<Vec<String>, Refused> {
    let (start, end) = metadata_range();
    let found = simulation.with(|simulation| simulation.range(NAMESPACE, &start, &end))?;
    Ok(found.iter().filter_map(|(key, _)| name_in_metadata_key(key)).map(ToOwned::to_owned).collect())
}

/// The names (`chaincode#sequence`) of all approvals in a collection.
fn approved_names(simulation: &Simulated, collection: &str) -> Result<Vec<String>, Refused> {
    let (start, end) = metadata_range();
    let found = simulation.with(|simulation| simulation.private_range(NAMESPACE, collection, &start, &end))??;
    Ok(found.iter().filter_map(|(key, _)| name_in_metadata_key(key)).map(ToOwned::to_owned).collect())
}
