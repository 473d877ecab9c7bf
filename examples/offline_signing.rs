//! Submits a transaction whose signatures are made elsewhere: here stand-ins, a device or another machine in earnest.
//!
//! `cargo run --example offline_signing -- PROFILE MSP_ID MSP_FOLDER mychannel asset TransferAsset asset1 Tomoko`

use std::error::Error;
use std::sync::Arc;

use opssc::client::profile::ConnectionProfile;
use opssc::client::{Client, Endorsers, Way};
use opssc::fabric::identity::{OfflineIdentity, SigningIdentity};
use opssc::fabric::names::{ChannelName, MspId};
use opssc::fabric::tx::Invocation;

pub(crate) async fn run(arguments: &[String]) -> Result<String, Box<dyn Error>> {
    let [profile, msp_id, msp, channel, chaincode, function, values @ ..] = arguments else {
        return Err("usage: offline_signing PROFILE MSP_ID MSP_FOLDER CHANNEL CHAINCODE FUNCTION [ARGUMENT…]".into());
    };
    let elsewhere = SigningIdentity::load_msp(MspId::parse(msp_id)?, msp.as_ref())?;
    let user = OfflineIdentity::new(MspId::parse(msp_id)?, elsewhere.certificate().clone());
    let client =
        Client::builder(Arc::new(user), ConnectionProfile::load(profile.as_ref())?).way(Way::Gateway).build()?;
    let channel = client.channel(ChannelName::parse(channel)?);
    let call = values.iter().fold(Invocation::new(chaincode, function), |call, value| call.arg(value.clone()));
    let proposal = channel.propose(&call)?;
    let signature = elsewhere.sign_now(proposal.bytes());
    let endorsed = channel.endorse_signed(&proposal.signed_with(signature), Endorsers::Discovered).await?;
    let transaction = endorsed.into_transaction();
    let signature = elsewhere.sign_now(transaction.payload());
    channel.order_signed(&transaction.clone().signed_with(signature)).await?;
    let question = channel.commit_request(transaction.tx_id())?;
    let signature = elsewhere.sign_now(question.bytes());
    let status = channel.commit_status_signed(&question.signed_with(signature)).await?;
    Ok(format!("transaction {} is {} in block {}", status.tx_id, status.code, status.block))
}
#[allow(clippy::print_stdout, reason = "it is for people to read")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run(&std::env::args().skip(1).collect::<Vec<_>>()).await.map(|done| println!("{done}"))
}
