//! Lists a chaincode's events up to now, with the orderers' signatures of every block checked.
//!
//! `cargo run --example events -- PROFILE MSP_ID MSP_FOLDER mychannel asset`

use std::error::Error;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use opssc::client::Client;
use opssc::client::events::Start;
use opssc::client::profile::ConnectionProfile;
use opssc::fabric::identity::SigningIdentity;
use opssc::fabric::names::{ChaincodeName, ChannelName, MspId};

pub(crate) async fn run(arguments: &[String]) -> Result<String, Box<dyn Error>> {
    let [profile, msp_id, msp, channel, chaincode] = arguments else {
        return Err("usage: events PROFILE MSP_ID MSP_FOLDER CHANNEL CHAINCODE".into());
    };
    let user = SigningIdentity::load_msp(MspId::parse(msp_id)?, msp.as_ref())?;
    let client = Client::builder(Arc::new(user), ConnectionProfile::load(profile.as_ref())?).build()?;
    let channel = client.channel(ChannelName::parse(channel)?);
    // Without `until` the stream goes on for ever.
    let span = Start::Oldest.until(channel.height().await? - 1).verified();
    let events = channel.chaincode_events(&ChaincodeName::parse(chaincode)?, span);
    let lines = events.map_ok(|event| format!("{} {} {}\n", event.block, event.tx_id, event.name));
    Ok(lines.try_collect().await?)
}

#[allow(clippy::print_stdout, reason = "it is for people to read")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run(&std::env::args().skip(1).collect::<Vec<_>>()).await.map(|done| println!("{done}"))
}
