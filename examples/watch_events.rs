//! Prints a chaincode's events from the channel's first block on: each with its block, name and size.
//!
//! Needs a connection profile and an enrolled identity of one of its organizations:
//! `cargo run --example watch_events -- profile.yaml Org1MSP cert.pem key.pem mychannel basic`

use std::error::Error;
use std::sync::Arc;

use futures_util::StreamExt as _;
use opssc::client::Client;
use opssc::client::events::Start;
use opssc::client::profile::ConnectionProfile;
use opssc::fabric::identity::SigningIdentity;
use opssc::fabric::names::{ChaincodeName, ChannelName, MspId};

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "it is for people to read")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [profile, msp_id, certificate, key, channel, chaincode] = &arguments[..] else {
        return Err("usage: watch_events PROFILE MSP_ID CERTIFICATE KEY CHANNEL CHAINCODE".into());
    };
    let signer = SigningIdentity::load(MspId::parse(msp_id)?, certificate.as_ref(), key.as_ref())?;
    let client = Client::builder(Arc::new(signer), ConnectionProfile::load(profile.as_ref())?).build()?;
    let channel = client.channel(ChannelName::parse(channel)?);
    let mut events = channel.chaincode_events(&ChaincodeName::parse(chaincode)?, Start::Oldest);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => println!("{} {} {} bytes", event.block, event.name, event.payload.len()),
            Err(error) => eprintln!("{error}"),
        }
    }
    Ok(())
}
