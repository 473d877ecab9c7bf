//! Talking to a Fabric network: connections, proposals, transactions, blocks, events, chaincode lifecycle.
//!
//! A [`Client`] acts as one member of one organization. It knows the nodes of a connection profile and finds those of
//! other organizations itself. Everything that waits has a deadline or is a stream; what was signed is sent as it is;
//! nothing is spawned, so dropping a future ends its work on this side.
//!
//! Protobuf types stop here, but for blocks, which are handed on as they came.

mod channel;
pub mod channels;
mod checkpoint;
mod deliver;
mod discovery;
mod error;
pub mod events;
mod gateway;
pub mod lifecycle;
pub mod net;
mod node;
pub mod profile;
mod topology;
mod transact;

pub use channel::{Channel, EvaluateError};
pub use deliver::{BlockStream, FilteredBlockStream, StreamError};
pub use error::{CallError, NodeName};
pub use gateway::{Client, ClientBuilder, ClientError, Timeouts};
pub use node::{Orderer, Peer};
pub use transact::{BroadcastError, Committed, Endorsers, SubmitError};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::lifecycle::ChaincodeDefinition;
    use crate::fabric::package::Package;
    use crate::fabric::tx::Invocation;
    use crate::pb::common::Block;
    use crate::runtime::retry::Backoff;

    /// Workers run on any thread: what they wait for must be able to move.
    #[allow(dead_code, clippy::too_many_arguments, reason = "compiled, not run")]
    fn futures_move_between_threads(
        client: &Client,
        channel: &Channel,
        peer: &Peer,
        block: &Block,
        invocation: &Invocation,
        definition: &ChaincodeDefinition,
        package: &Package,
    ) {
        fn moves<T: Send>(_: T) {}
        moves(channel.submit_with_retry(invocation, Endorsers::Majority, Backoff::conflicts()));
        moves(channel.evaluate(invocation));
        moves(channel.lifecycle().approve(definition, None));
        moves(channel.lifecycle().commit(definition));
        moves(client.peer_lifecycle(peer).install(package));
        moves(client.join(peer, block));
        moves(client.genesis_block(channel.name()));
        moves(client.newest_config_block(channel.name()));
        moves(channel.blocks(events::Start::Newest));
    }
}
