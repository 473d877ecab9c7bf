//! What real Fabric does with the same input, family by family.
//!
//! Every test walks all cases of one family below `$OPSSC_GOLDEN` (default `testdata/golden`), so the same program
//! judges other cases of the same layout. All failures of a family are reported together; a family without cases fails.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the line, and that is enough")]

mod blocks;
mod config;
mod exchange;
mod identities;
mod packages;
mod participation;
mod policies;
mod protos;
mod support;
mod transactions;

macro_rules! families {
    ($($module:ident::$family:ident;)*) => {
        $(#[test]
        fn $family() {
            $module::$family();
        })*
    };
}

families! {
    protos::protos;
    policies::policy_dsl;
    policies::policy_dsl_of_profiles;
    policies::application_policy;
    policies::collections_peer_cli;
    policies::opssc_validation_parameter;
    policies::opssc_collections;
    packages::labels;
    identities::identity_serialized;
    identities::identity_verify;
    identities::msp_config;
    identities::private_keys;
    identities::ski;
    transactions::transactions;
    transactions::lifecycle_args;
    config::config_update;
    config::configtx_cli;
    config::config_sign;
    config::config_envelope;
    config::genesis_configtxgen;
    blocks::blocks;
    blocks::block_hash;
    exchange::peer_exchange;
    packages::package_opssc_external;
    packages::package_parse;
    packages::package_peer_cli;
    packages::package_opssc_agent;
    packages::couchdb_index_files;
    participation::orderer_admin;
}
