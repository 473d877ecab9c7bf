//! The embedded network as its clients meet it.

mod bft;
mod chaincode;
mod config;
mod faults;
mod hostile;
mod kept;
mod ledger;
mod participation;
pub(crate) mod system_channel;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use opssc::chaincode::asset::AssetContract;
use opssc::client::{Channel, Committed, Endorsers, SubmitError};
use opssc::devnet::Devnet;
use opssc::fabric::lifecycle::ChaincodeDefinition;
use opssc::fabric::names::{ChaincodeName, ChannelName, MspId};
use opssc::fabric::policy::ApplicationPolicy;
use opssc::fabric::tx::Invocation;

/// A network of two organizations with one channel beside the ops channel.
struct Network {
    devnet: Devnet,
    /// Holds the files until the network is gone.
    _folder: tempfile::TempDir,
}

fn channel_name() -> ChannelName {
    ChannelName::parse("mychannel").unwrap()
}

fn org(number: u16) -> MspId {
    MspId::parse(format!("Org{number}MSP")).unwrap()
}

fn name(text: &str) -> ChaincodeName {
    ChaincodeName::parse(text).unwrap()
}

impl Network {
    async fn start() -> Self {
        Self::with_batch_timeout(Duration::from_millis(50)).await
    }

    async fn with_batch_timeout(timeout: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let devnet = Devnet::builder(folder.path())
            .channel(channel_name())
            .native(name("asset"), Arc::new(AssetContract))
            .native(name("panics"), Arc::new(chaincode::Panics))
            .batch_timeout(timeout)
            .start()
            .await
            .unwrap();
        Self { devnet, _folder: folder }
    }

    /// The same with the asset contract on the channel, endorsed by `policy` (empty: the default, a majority).
    async fn with_asset(policy: &str) -> Self {
        let network = Self::start().await;
        network.deploy("asset", policy).await;
        network
    }

    async fn deploy(&self, chaincode: &str, policy: &str) {
        let mut definition = ChaincodeDefinition::new(name(chaincode), "1", 1);
        if let Some(policy) = ApplicationPolicy::parse_flags(policy, "").unwrap() {
            definition.validation_parameter = policy.encode();
        }
        self.devnet.deploy_native(&channel_name(), &definition).await.unwrap();
    }

    /// The channel as a user of an organization sees it.
    fn user(&self, number: u16) -> Channel {
        self.devnet.user(&org(number)).unwrap().channel(channel_name())
    }
}

fn create(id: &str) -> Invocation {
    Invocation::new("asset", "CreateAsset").arg(id.to_owned()).arg("blue").arg("5").arg("tom").arg("300")
}

fn transfer(id: &str, owner: &str) -> Invocation {
    Invocation::new("asset", "TransferAsset").arg(id.to_owned()).arg(owner.to_owned())
}

fn read(id: &str) -> Invocation {
    Invocation::new("asset", "ReadAsset").arg(id.to_owned())
}

async fn submit(channel: &Channel, invocation: &Invocation) -> Result<Committed, SubmitError> {
    channel.submit(invocation, Endorsers::AllOrgs).await
}
