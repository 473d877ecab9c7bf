//! Talking to a Fabric network: connections, proposals, transactions, blocks, events, chaincode lifecycle.
