//! The embedded network under clients and chaincode that are not ours.
//!
//! What runs here speaks to the network as its authors published it: Fabric's client libraries for Node.js, its chaincode
//! library, and, where `FABRIC_BIN` names a folder with them, its command line programs. One script of calls is played on
//! the embedded network and compared with what real nodes answered to it.
//!
//! The packages of `node/` are installed by `npm ci --omit=optional --ignore-scripts` there. Without them, or without
//! Node.js, a test says that it was skipped, and passes; so does one that needs `FABRIC_BIN` without it.

#![allow(clippy::print_stderr, reason = "tests talk to the person who runs them")]
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the line, and that is enough")]
#![allow(dead_code, reason = "the real network's support offers more than the tests here use")]
#![allow(unreachable_pub, reason = "a test binary has no users: pub marks what a support module offers")]

mod binaries;
mod channels;
mod clients;
mod differences;
mod differential;
mod embedded;
#[allow(unused_imports, reason = "it offers its users more than these tests need")]
#[path = "../real_fabric/network/mod.rs"]
mod network;
mod node;
#[cfg(feature = "typescript")]
mod typescript;
