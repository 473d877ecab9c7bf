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
mod config_update;
mod credentials;
mod deliver;
mod discovery;
mod error;
pub mod events;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gateway;
mod gateway_events;
pub mod lifecycle;
mod members;
pub mod net;
mod node;
mod orderers_update;
pub mod participation;
mod peer_gateway;
pub mod profile;
mod topology;
mod transact;
mod turns;

pub use channel::{Channel, EvaluateError};
pub use config_update::{UpdateError, Updated};
pub use credentials::Renewed;
pub use deliver::{BlockStream, FilteredBlockStream, Flaw, PrivateBlockStream, Span, StreamError};
pub use error::{CallError, GatewayDetail, NodeName};
pub use gateway::{Client, ClientBuilder, ClientError, Timeouts};
pub use gateway_events::GatewayEventStream;
pub use members::{DiscoveryError, EndorsementPlan, Member, NodeConfig};
pub use node::{Orderer, Peer};
pub use transact::{
    BroadcastError, CommitRequest, CommitStatus, Committed, Endorsed, Endorsers, Retry, SignedCommitRequest,
    SubmitError, Way,
};

// Scripted nodes need the embedded network's dependencies: certificates and a gRPC server.
#[cfg(all(test, feature = "devnet"))]
mod tests;
