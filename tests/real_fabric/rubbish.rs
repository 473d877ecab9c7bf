//! Transactions that nobody can take apart: any writer can have them ordered, and peers refuse to filter their blocks.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt as _;
use opssc::client::events::Start;
use opssc::client::net::Pool;
use opssc::client::profile::ConnectionProfile;
use opssc::client::{Channel, Endorsers, Way};
use opssc::fabric::block::ValidationCode;
use opssc::fabric::identity::{Signer as _, SigningIdentity};
use opssc::fabric::names::{MspId, TxId};
use opssc::fabric::tx::{Header, Invocation, Nonce, envelope};
use opssc::pb::common::HeaderType;
use opssc::pb::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use opssc::pb::protos::FilteredBlock;

use crate::network::Network;

const PATIENCE: Duration = Duration::from_mins(1);

/// Has a block of rubbish ordered on `channel`, in the name of the network's first organization.
pub async fn order(network: &Network, channel: &Channel) -> TxId {
    let organization = &network.organizations()[0];
    let msp_id = MspId::parse(&organization.msp_id).expect("an MSP ID");
    let signer = SigningIdentity::load_msp(msp_id, &organization.admin_msp()).expect("the administrator");
    let profile = ConnectionProfile::load(&organization.connection_profile).expect("the connection profile");
    let now = SystemTime::now();
    let since = now.duration_since(SystemTime::UNIX_EPOCH).expect("a clock that is right").subsec_nanos();
    let mut nonce = [7; 24];
    nonce[..4].copy_from_slice(&since.to_be_bytes());
    let header = Header {
        header_type: HeaderType::EndorserTransaction,
        channel: Some(channel.name()),
        creator: signer.creator(),
        nonce: Nonce(nonce),
        time: now.into(),
        tls_cert_hash: None,
    };
    let rubbish = envelope(&header, Bytes::from_static(b"\xff\xffno transaction"));
    let signed = rubbish.sign(&signer).await.expect("a signature");
    let pool = Pool::new();
    // All of them, as some orderers take nothing for others' blocks.
    for orderer in profile.orderers() {
        let connection = pool.connection(&orderer.endpoint).expect("an endpoint");
        let requests = futures_util::stream::iter([signed.clone()]);
        let answers = AtomicBroadcastClient::new(connection.channel()).broadcast(requests).await;
        let answer = answers.expect("a stream").into_inner().message().await.expect("an answer").expect("one answer");
        let taken = answer.status == 200 || answer.info.contains("already exists");
        assert!(taken, "{answer:?}");
    }
    rubbish.tx_id().clone()
}

/// Streams get past it, and who calls `invocation` hears of the commit, both ways.
pub async fn pass(network: &Network, channel: &Channel, invocation: impl Fn(&str) -> Invocation) {
    let mut filtered = channel.filtered_blocks(Start::Oldest);
    for way in [Way::Direct, Way::Gateway] {
        let rubbish = order(network, channel).await;
        let (block, code) = heard(&mut filtered, &rubbish).await;
        assert_ne!(code, ValidationCode::Valid, "{rubbish} in block {}", block.number);
        let left = block.filtered_transactions.iter().find(|transaction| transaction.txid == rubbish.as_str());
        assert!(left.expect("the rubbish").data.is_none(), "there are no actions in it");
        // The newest block is now one that the peer does not filter.
        let invocation = invocation(&format!("beside-rubbish-{way:?}"));
        let committed = channel.clone().by(way).submit(&invocation, Endorsers::AllOrgs).await.expect("a commit");
        let (block, code) = heard(&mut filtered, &committed.tx_id).await;
        assert_eq!((block.number, code), (committed.block, ValidationCode::Valid));
    }
}

/// The block of a transaction, and what became of it. No block is left out before it.
async fn heard(blocks: &mut opssc::client::FilteredBlockStream, tx_id: &TxId) -> (FilteredBlock, ValidationCode) {
    let mut before: Option<u64> = None;
    loop {
        let block = tokio::time::timeout(PATIENCE, blocks.next()).await.expect("a block in time");
        let block = block.expect("a stream without end").expect("a block");
        assert!(before.is_none_or(|before| before + 1 == block.number), "{before:?} before {}", block.number);
        before = Some(block.number);
        let found = block.filtered_transactions.iter().find(|transaction| transaction.txid == tx_id.as_str());
        if let Some(code) = found.map(|transaction| ValidationCode::from(transaction.tx_validation_code)) {
            return (block, code);
        }
    }
}
