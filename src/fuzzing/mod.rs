//! Every decoder of bytes that come from the network, the ledger or a file of others, each behind a function of bytes.
//!
//! A module of its own because two programs drive the same bodies: `fuzz/` with coverage and for as long as one likes,
//! and the tests here, in every run, with the seeds and mutations of them. It is built for these two only.
//!
//! A body panics when it finds a fault: a decoder that panics, never ends or overflows the stack, or one of the
//! properties that it states does not hold. What a decoder refuses is no fault.
//!
//! Not here: whether decoders say the same as Fabric (`tests/golden`).

#![allow(clippy::missing_panics_doc, reason = "to panic is how a body tells what it has found")]

mod config;
mod identity;
mod ledger;
pub mod mutate;
mod policy;
#[cfg(all(test, feature = "cli"))]
mod tests;
mod text;

#[cfg(feature = "shim")]
use crate::chaincode::shim::fuzzing as shim;
use crate::client::fuzzing as client;
#[cfg(feature = "devnet")]
use crate::devnet::fuzzing as devnet;
use crate::fabric::package::fuzzing as package;
#[cfg(feature = "opssc-contracts")]
use crate::opssc::contracts::fuzzing as contracts;

/// A body with the name of its target.
pub type Target = (&'static str, fn(&[u8]));

macro_rules! targets {
    ($($(#[$when:meta])? $module:ident: $($name:ident)+;)+) => {
        $($(#[$when])? pub use $module::{$($name),+};)+

        /// All bodies, by what they are about. Each has a program in `fuzz/fuzz_targets`, and a line in `fuzz/seeds`.
        pub const TARGETS: &[&[Target]] =
            &[$($(#[$when])? &[$((stringify!($name), $module::$name)),+]),+];

        #[cfg(all(test, feature = "cli"))]
        mod replayed {
            $($(#[$when])? mod $module {
                $(#[test]
                fn $name() {
                    crate::fuzzing::tests::replay(stringify!($name), crate::fuzzing::$name);
                })+
            })+
        }
    };
}

targets! {
    ledger: block private_data filtered_block config_block envelope proposal proposal_response lifecycle names;
    config: config_tree config_profile;
    identity: identity certificate revocation_list private_key pem signature msp_config;
    policy: policy_bytes policy_text policy_of_opssc collections;
    client: discovery gateway_error participation checkpoint;
    package: package tar go_source;
    text: profile opssc_event;
    #[cfg(feature = "opssc-contracts")]
    contracts: contract_call contract_json;
    #[cfg(feature = "shim")]
    shim: shim_of_peer;
    #[cfg(feature = "devnet")]
    devnet: transaction config_update signed_proposal admin_form endorsement_plan shim_of_chaincode system_call;
}

/// The parts of an input, which are separated by line ends: for what takes a name beside its bytes.
fn split(input: &[u8]) -> (&[u8], &[u8]) {
    match input.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&input[..at], &input[at + 1..]),
        None => (input, &[]),
    }
}
