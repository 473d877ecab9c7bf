//! The peer's side of the shim protocol, for chaincodes that run as services.
//!
//! The peer dials the chaincode (`protos.Chaincode/Connect`), the chaincode registers, and from then on transactions
//! run side by side on the one stream.

mod connection;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod handler;
mod queries;

#[cfg(test)]
mod tests;

pub(crate) use connection::{ChaincodeStream, EXECUTE_TIMEOUT, Request};
pub(crate) use queries::TOTAL_LIMIT;
