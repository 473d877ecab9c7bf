//! Fabric's protobuf messages and services, as Rust.
//!
//! Generated from `fabric-protos/` into `proto/gen` and checked in, so users of the library build no generator;
//! `tests/protos.rs` holds that both agree and that the definitions are Fabric's own. Maps are `BTreeMap`: with a hash
//! map the bytes of a configuration would change from run to run, and every signature over them would break.
//!
//! Module names are the protobuf packages. These types stop at the client layer; above it are domain types.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]

macro_rules! generated {
    ($file:literal) => {
        include!(concat!(env!("CARGO_MANIFEST_DIR"), "/proto/gen/", $file, ".rs"));
    };
}

pub mod common {
    generated!("common");
}
pub mod discovery {
    generated!("discovery");
}
pub mod etcdraft {
    generated!("etcdraft");
}
pub mod gateway {
    generated!("gateway");
}
pub mod gossip {
    generated!("gossip");
}
pub mod kvrwset {
    generated!("kvrwset");
}
pub mod lifecycle {
    generated!("lifecycle");
}
pub mod msp {
    generated!("msp");
}
pub mod orderer {
    generated!("orderer");
    pub mod smartbft {
        generated!("orderer.smartbft");
    }
}
pub mod protos {
    generated!("protos");
}
pub mod queryresult {
    generated!("queryresult");
}
pub mod rwset {
    generated!("rwset");
}
