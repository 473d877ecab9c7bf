//! Chaincode packages: made reproducibly, read without belief.
