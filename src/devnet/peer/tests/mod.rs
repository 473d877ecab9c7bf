//! Peers as a whole: real keys, real proposals, blocks committed by hand.

mod calls;
mod collections;
mod gateway;
mod kit;
mod lifecycle;
mod proposals;
mod services;
