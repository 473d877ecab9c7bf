//! Flows over the embedded network. One binary, so that it links once.

mod devnet;
