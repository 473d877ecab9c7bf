//! Asks a chaincode something: nothing is written.
//!
//! `cargo run --example evaluate -- PROFILE MSP_ID MSP_FOLDER mychannel asset ReadAsset asset1`

use std::error::Error;
use std::sync::Arc;

use opssc::client::Client;
use opssc::client::profile::ConnectionProfile;
use opssc::fabric::identity::SigningIdentity;
use opssc::fabric::names::{ChannelName, MspId};
use opssc::fabric::tx::Invocation;

pub(crate) async fn run(arguments: &[String]) -> Result<String, Box<dyn Error>> {
    let [profile, msp_id, msp, channel, chaincode, function, values @ ..] = arguments else {
        return Err("usage: evaluate PROFILE MSP_ID MSP_FOLDER CHANNEL CHAINCODE FUNCTION [ARGUMENT…]".into());
    };
    let user = SigningIdentity::load_msp(MspId::parse(msp_id)?, msp.as_ref())?;
    let client = Client::builder(Arc::new(user), ConnectionProfile::load(profile.as_ref())?).build()?;
    let question = Invocation::new(chaincode, function);
    let question = values.iter().fold(question, |question, value| question.arg(value.clone()));
    let answer = client.channel(ChannelName::parse(channel)?).evaluate(&question).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[allow(clippy::print_stdout, reason = "it is for people to read")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run(&std::env::args().skip(1).collect::<Vec<_>>()).await.map(|done| println!("{done}"))
}
