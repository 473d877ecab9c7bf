//! Deploys a chaincode that runs as a service, as one organization's administrator: run it in each organization.
//!
//! `cargo run --example deploy_chaincode -- PROFILE MSP_ID ADMIN_MSP_FOLDER mychannel asset 1 host:9999`

use std::error::Error;
use std::sync::Arc;

use opssc::client::profile::ConnectionProfile;
use opssc::client::{Client, lifecycle::LifecycleError};
use opssc::fabric::identity::SigningIdentity;
use opssc::fabric::lifecycle::ChaincodeDefinition;
use opssc::fabric::names::{ChaincodeName, ChannelName, Label, MspId};
use opssc::fabric::package::{Package, ccaas};

pub(crate) async fn run(arguments: &[String]) -> Result<String, Box<dyn Error>> {
    let [profile, msp_id, msp, channel, name, sequence, address] = arguments else {
        return Err("usage: deploy_chaincode PROFILE MSP_ID MSP_FOLDER CHANNEL NAME SEQUENCE ADDRESS".into());
    };
    let admin = SigningIdentity::load_msp(MspId::parse(msp_id)?, msp.as_ref())?;
    let client = Client::builder(Arc::new(admin), ConnectionProfile::load(profile.as_ref())?).build()?;
    let connection = ccaas::Connection::plain(address).to_json();
    let label = Label::parse(format!("{name}_{sequence}"))?;
    let package = Package::pack("ccaas", &label, &[("connection.json", connection.as_bytes())])?;
    let definition = ChaincodeDefinition::new(ChaincodeName::parse(name)?, sequence, sequence.parse()?);
    let lifecycle = client.channel(ChannelName::parse(channel)?).lifecycle();
    let installed = client.ensure_installed(&package).await?;
    let approved = lifecycle.ensure_approved(&definition, Some(package.id())).await?;
    let committed = match lifecycle.ensure_committed(&definition).await {
        Err(waiting @ LifecycleError::NotReady { .. }) => waiting.to_string(),
        committed => format!("{:?}", committed?),
    };
    Ok(format!("{}: {installed:?}\n{approved:?}\n{committed}", package.id()))
}
#[allow(clippy::print_stdout, reason = "it is for people to read")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run(&std::env::args().skip(1).collect::<Vec<_>>()).await.map(|done| println!("{done}"))
}
