//! Contracts that run in this process.
//!
//! They are deployed as any chaincode is, so that lifecycle, policies and endorsement are the real ones: a package of
//! the type `native` holds, instead of code, the name under which the contract is registered here.
//!
//! Invariant: a contract sees what it would see behind a stream; a panic in it fails its transaction and nothing else.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use futures_util::FutureExt as _;
use tonic::async_trait;

use super::context::{Answer, Modification, Refused, TransactionContext};
use super::shim::TOTAL_LIMIT;
use crate::chaincode::{Contract, KeyModification, KeyValue, Page, Response, Stub, StubError, composite};
use crate::devnet::ledger::VALIDATION_PARAMETER;
use crate::fabric::names::{ChaincodeName, ChannelName, Label, TxId};
use crate::fabric::package::{Package, PackageError};
use crate::pb::protos::{self, ChaincodeEvent, ChaincodeInput};

/// The type of packages that name a contract of this process.
pub(crate) const PACKAGE_TYPE: &str = "native";
/// The file of such a package that holds the name.
const CONTRACT_FILE: &str = "contract";

/// The contracts that packages may name.
#[derive(Default)]
pub(crate) struct Contracts(RwLock<BTreeMap<ChaincodeName, Arc<dyn Contract>>>);

impl std::fmt::Debug for Contracts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let contracts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(contracts.keys()).finish()
    }
}

impl Contracts {
    /// Registers `contract`; another one of the same name is replaced.
    pub(crate) fn insert(&self, name: ChaincodeName, contract: Arc<dyn Contract>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(name, contract);
    }

    /// The contract of a name.
    pub(crate) fn get(&self, name: &ChaincodeName) -> Option<Arc<dyn Contract>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

/// A package that names `contract`.
///
/// # Errors
/// None in practice: the name fits into the archive.
pub(crate) fn package(label: &Label, contract: &ChaincodeName) -> Result<Package, PackageError> {
    Package::pack(PACKAGE_TYPE, label, &[(CONTRACT_FILE, contract.as_str().as_bytes())])
}

/// The contract that a package names.
pub(crate) fn contract_of(package: &Package) -> Result<ChaincodeName, Refused> {
    let files = package.code_files().map_err(|error| Refused(error.to_string()))?;
    let file = files.get(CONTRACT_FILE).ok_or_else(|| Refused::new("package names no contract"))?;
    let name = String::from_utf8_lossy(file);
    ChaincodeName::parse(name.trim()).map_err(|error| Refused(error.to_string()))
}

/// The transaction as a contract sees it.
pub(crate) struct NativeStub {
    pub(crate) tx_id: TxId,
    pub(crate) channel: ChannelName,
    pub(crate) args: Vec<Bytes>,
    pub(crate) creator: Bytes,
    pub(crate) timestamp: prost_types::Timestamp,
    pub(crate) transient: BTreeMap<String, Bytes>,
    pub(crate) context: Arc<dyn TransactionContext>,
    pub(crate) event: Option<ChaincodeEvent>,
}

/// Runs `contract`.
///
/// Cancel safety: dropping the future ends the contract where it waits.
pub(crate) async fn run(contract: &dyn Contract, mut stub: NativeStub, is_init: bool) -> Result<Answer, Refused> {
    let work = async { if is_init { contract.init(&mut stub).await } else { contract.invoke(&mut stub).await } };
    let response = AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .map_err(|_| Refused::new("transaction returned with failure: contract panicked"))?;
    if is_init && response.status >= 500 {
        // The shim sends an error, not a response, when the initialization fails.
        return Err(Refused(format!("transaction returned with failure: {}", response.message)));
    }
    let response = protos::Response { status: response.status, message: response.message, payload: response.payload };
    Ok(Answer { response, event: stub.event })
}

impl NativeStub {
    /// All that a query finds, as far as it goes.
    fn range(&self, collection: &str, start: &str, end: &str) -> Result<Vec<KeyValue>, StubError> {
        let mut cursor = self.context.open_range(collection, start, end).map_err(refused)?;
        let mut entries = Vec::new();
        while entries.len() < TOTAL_LIMIT {
            match self.context.next(&mut cursor).map_err(refused)? {
                Some(entry) => entries.push(entry),
                None => break,
            }
        }
        Ok(entries)
    }

    /// The policy of a key alone; an empty `collection` is the public state.
    fn policy(&self, collection: &str, key: &str) -> Result<Bytes, StubError> {
        let metadata = self.context.metadata(collection, not_empty(key)?).map_err(refused)?;
        let policy = metadata.into_iter().find(|(name, _)| name == VALIDATION_PARAMETER).map(|(_, policy)| policy);
        Ok(policy.unwrap_or_default())
    }

    fn set_policy(&self, collection: &str, key: &str, policy: Bytes) -> Result<(), StubError> {
        let name = VALIDATION_PARAMETER.to_owned();
        self.context.put_metadata(collection, not_empty(key)?, name, policy).map_err(refused)
    }
}

/// What the shim refuses before it asks the peer.
fn not_empty(key: &str) -> Result<&str, StubError> {
    if key.is_empty() {
        return Err(StubError::InvalidKey("key must not be an empty string".to_owned()));
    }
    Ok(key)
}

fn named(collection: &str) -> Result<&str, StubError> {
    if collection.is_empty() {
        return Err(StubError::InvalidKey("collection must not be an empty string".to_owned()));
    }
    Ok(collection)
}

fn refused(error: Refused) -> StubError {
    StubError::Refused(error.0)
}

#[async_trait]
impl Stub for NativeStub {
    fn tx_id(&self) -> &TxId {
        &self.tx_id
    }

    fn channel(&self) -> &ChannelName {
        &self.channel
    }

    fn args(&self) -> &[Bytes] {
        &self.args
    }

    fn creator(&self) -> &Bytes {
        &self.creator
    }

    fn timestamp(&self) -> prost_types::Timestamp {
        self.timestamp
    }

    fn transient(&self) -> &BTreeMap<String, Bytes> {
        &self.transient
    }

    async fn get_state(&mut self, key: &str) -> Result<Option<Bytes>, StubError> {
        let value = self.context.get("", not_empty(key)?).map_err(refused)?;
        // Behind a stream, nothing and a value of no bytes look the same.
        Ok(value.filter(|value| !value.is_empty()))
    }

    async fn put_state(&mut self, key: &str, value: Bytes) -> Result<(), StubError> {
        self.context.put("", not_empty(key)?, value).map_err(refused)
    }

    async fn del_state(&mut self, key: &str) -> Result<(), StubError> {
        self.context.delete("", not_empty(key)?).map_err(refused)
    }

    async fn get_state_by_range(&mut self, start: &str, end: &str) -> Result<Vec<KeyValue>, StubError> {
        let (start, end) = composite::simple_range(start, end)?;
        self.range("", start, end)
    }

    async fn get_state_by_range_paged(
        &mut self,
        start: &str,
        end: &str,
        page_size: i32,
        bookmark: &str,
    ) -> Result<Page, StubError> {
        let (start, end) = composite::simple_range(start, end)?;
        let start = if bookmark.is_empty() { start } else { bookmark };
        let size = usize::try_from(page_size).ok().filter(|size| *size > 0);
        let size = size.ok_or_else(|| StubError::Refused(format!("page size {page_size} is not positive")))?;
        let mut cursor = self.context.open_page(start, end, size).map_err(refused)?;
        let mut entries = Vec::new();
        // A full page is not asked for what comes after it.
        while entries.len() < size.min(TOTAL_LIMIT) {
            match self.context.next(&mut cursor).map_err(refused)? {
                Some(entry) => entries.push(entry),
                None => break,
            }
        }
        let bookmark = self.context.bookmark(&cursor).map_err(refused)?;
        Ok(Page { entries, bookmark })
    }

    async fn get_state_by_partial_composite_key(
        &mut self,
        object_type: &str,
        attributes: &[&str],
    ) -> Result<Vec<KeyValue>, StubError> {
        let (start, end) = composite::range(object_type, attributes)?;
        self.range("", &start, &end)
    }

    async fn get_history_for_key(&mut self, key: &str) -> Result<Vec<KeyModification>, StubError> {
        let found = self.context.history(not_empty(key)?).map_err(refused)?;
        let modification =
            |it: Modification| KeyModification { tx_id: it.tx_id, value: it.value, timestamp: it.timestamp };
        Ok(found.into_iter().take(TOTAL_LIMIT).map(modification).collect())
    }

    async fn get_state_validation_parameter(&mut self, key: &str) -> Result<Bytes, StubError> {
        self.policy("", key)
    }

    async fn set_state_validation_parameter(&mut self, key: &str, policy: Bytes) -> Result<(), StubError> {
        self.set_policy("", key, policy)
    }

    async fn get_private_data(&mut self, collection: &str, key: &str) -> Result<Option<Bytes>, StubError> {
        let value = self.context.get(named(collection)?, not_empty(key)?).map_err(refused)?;
        Ok(value.filter(|value| !value.is_empty()))
    }

    async fn get_private_data_hash(&mut self, collection: &str, key: &str) -> Result<Option<Bytes>, StubError> {
        self.context.private_hash(named(collection)?, not_empty(key)?).map_err(refused)
    }

    async fn put_private_data(&mut self, collection: &str, key: &str, value: Bytes) -> Result<(), StubError> {
        self.context.put(named(collection)?, not_empty(key)?, value).map_err(refused)
    }

    async fn del_private_data(&mut self, collection: &str, key: &str) -> Result<(), StubError> {
        self.context.delete(named(collection)?, not_empty(key)?).map_err(refused)
    }

    async fn purge_private_data(&mut self, collection: &str, key: &str) -> Result<(), StubError> {
        self.context.purge(named(collection)?, not_empty(key)?).map_err(refused)
    }

    async fn get_private_data_by_range(
        &mut self,
        collection: &str,
        start: &str,
        end: &str,
    ) -> Result<Vec<KeyValue>, StubError> {
        let (start, end) = composite::simple_range(start, end)?;
        self.range(named(collection)?, start, end)
    }

    async fn get_private_data_validation_parameter(&mut self, collection: &str, key: &str) -> Result<Bytes, StubError> {
        self.policy(named(collection)?, key)
    }

    async fn set_private_data_validation_parameter(
        &mut self,
        collection: &str,
        key: &str,
        policy: Bytes,
    ) -> Result<(), StubError> {
        self.set_policy(named(collection)?, key, policy)
    }

    fn set_event(&mut self, name: &str, payload: Bytes) -> Result<(), StubError> {
        if name.is_empty() {
            return Err(StubError::InvalidKey("an event's name is empty".to_owned()));
        }
        self.event = Some(ChaincodeEvent { event_name: name.to_owned(), payload, ..ChaincodeEvent::default() });
        Ok(())
    }

    async fn invoke_chaincode(
        &mut self,
        chaincode: &str,
        args: &[Bytes],
        channel: Option<&ChannelName>,
    ) -> Result<Response, StubError> {
        let name = match channel {
            Some(channel) => format!("{chaincode}/{channel}"),
            None => chaincode.to_owned(),
        };
        let input = ChaincodeInput { args: args.to_vec(), ..ChaincodeInput::default() };
        let answer = match self.context.invoke(&name, input).await {
            Ok(answer) => answer,
            // The call failed, not the ledger: the contract decides what that means, as it does behind the shim.
            Err(error) => {
                let doing = format_args!("INVOKE_CHAINCODE failed: transaction ID: {}", self.tx_id);
                return Ok(Response::failure(error.context(doing).0));
            }
        };
        let protos::Response { status, message, payload } = answer.response;
        Ok(Response { status, message, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_names_its_contract() {
        let (label, name) = (Label::parse("asset_1").unwrap(), ChaincodeName::parse("asset").unwrap());
        let made = package(&label, &name).unwrap();
        let read = Package::read(made.bytes().clone()).unwrap();
        assert_eq!((read.kind(), contract_of(&read).unwrap()), (PACKAGE_TYPE, name));
        let nameless = Package::pack(PACKAGE_TYPE, &label, &[("other", b"asset")]).unwrap();
        assert_eq!(contract_of(&nameless), Err(Refused::new("package names no contract")));
    }
}
