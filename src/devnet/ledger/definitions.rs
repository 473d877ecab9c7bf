//! Chaincode definitions as they are committed, read from the state.
//!
//! A file of its own because committing a block asks for them while it holds the state, and everybody else does not.

use bytes::Bytes;

use super::state::{Namespace, State, View};
use crate::devnet::lifecycle::state::{self as codec, Definition, LIFECYCLE};

/// The public keys of `_lifecycle`.
struct Committed<'a> {
    state: &'a State,
    view: View,
    namespace: Namespace,
}

impl codec::Read for Committed<'_> {
    fn get(&mut self, key: &str) -> Option<Bytes> {
        self.state.get(&self.namespace, key, self.view).map(|entry| entry.value)
    }
}

/// The definition of a chaincode that `view` sees.
pub(super) fn definition(state: &State, view: View, chaincode: &str) -> Option<Definition> {
    codec::definition(&mut Committed { state, view, namespace: Namespace::Public(LIFECYCLE.to_owned()) }, chaincode)
}
