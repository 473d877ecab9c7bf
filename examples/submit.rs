//! Has a chaincode write something, and waits until it is on the ledger.
//!
//! `cargo run --example submit -- PROFILE MSP_ID MSP_FOLDER mychannel asset TransferAsset asset1 Tomoko`

use std::error::Error;
use std::sync::Arc;

use opssc::client::profile::ConnectionProfile;
use opssc::client::{Client, Endorsers};
use opssc::fabric::identity::SigningIdentity;
use opssc::fabric::names::{ChannelName, MspId};
use opssc::fabric::tx::Invocation;

pub(crate) async fn run(arguments: &[String]) -> Result<String, Box<dyn Error>> {
    let [profile, msp_id, msp, channel, chaincode, function, values @ ..] = arguments else {
        return Err("usage: submit PROFILE MSP_ID MSP_FOLDER CHANNEL CHAINCODE FUNCTION [ARGUMENT…]".into());
    };
    let user = SigningIdentity::load_msp(MspId::parse(msp_id)?, msp.as_ref())?;
    let client = Client::builder(Arc::new(user), ConnectionProfile::load(profile.as_ref())?).build()?;
    let call = Invocation::new(chaincode, function);
    let call = values.iter().fold(call, |call, value| call.arg(value.clone()));
    let committed = client.channel(ChannelName::parse(channel)?).submit(&call, Endorsers::Majority).await?;
    Ok(format!("transaction {} is in block {}", committed.tx_id, committed.block))
}

#[allow(clippy::print_stdout, reason = "it is for people to read")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run(&std::env::args().skip(1).collect::<Vec<_>>()).await.map(|done| println!("{done}"))
}
