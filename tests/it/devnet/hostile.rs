//! Requests that nobody should send.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::StreamExt as _;
use opssc::client::events::Start;
use opssc::client::net::{Connection, Pool};
use opssc::client::profile::ConnectionProfile;
use opssc::client::{Channel, Client, Way};
use opssc::fabric::block::ValidationCode;
use opssc::fabric::identity::{Signer as _, SigningIdentity};
use opssc::fabric::tx::{Header, Nonce, envelope};
use opssc::pb::common::{Envelope, HeaderType};
use opssc::pb::discovery::SignedRequest;
use opssc::pb::discovery::discovery_client::DiscoveryClient;
use opssc::pb::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use opssc::pb::protos::SignedProposal;
use opssc::pb::protos::deliver_client::DeliverClient;
use opssc::pb::protos::endorser_client::EndorserClient;

use super::{Network, channel_name, create, org, read, submit};

fn rubbish() -> Vec<Vec<u8>> {
    let nested = (0..200).fold(vec![0x0a, 0x00], |inner, _| {
        let mut outer = vec![0x0a];
        // A length that fits into one or two bytes, as protobuf writes it.
        let length = inner.len();
        if length < 128 {
            outer.push(u8::try_from(length).unwrap());
        } else {
            outer.push(u8::try_from(length % 128 + 128).unwrap());
            outer.push(u8::try_from(length / 128).unwrap());
        }
        outer.extend(inner);
        outer
    });
    vec![Vec::new(), vec![0xff; 40], b"../../etc/passwd".to_vec(), vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], nested]
}

/// Connections to a peer and to an orderer.
fn connections(network: &Network) -> (Pool, Connection, Connection) {
    let profile = ConnectionProfile::load(&network.devnet.organizations()[0].connection_profile).unwrap();
    let pool = Pool::new();
    let peer = pool.connection(&profile.peers()[0].endpoint).unwrap();
    let orderer = pool.connection(&profile.orderers()[0].endpoint).unwrap();
    (pool, peer, orderer)
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_is_answered_and_does_no_harm() {
    let network = Network::with_asset("").await;
    let (_pool, peer, orderer) = connections(&network);
    for bytes in rubbish() {
        let envelope = Envelope { payload: bytes.clone().into(), signature: bytes.clone().into() };
        let proposal = SignedProposal { proposal_bytes: bytes.clone().into(), signature: bytes.clone().into() };
        EndorserClient::new(peer.channel()).process_proposal(proposal).await.unwrap_err();
        let request = SignedRequest { payload: bytes.clone().into(), signature: bytes.clone().into() };
        // What can be read as a request for nothing is answered with nothing.
        if let Ok(answer) = DiscoveryClient::new(peer.channel()).discover(request).await {
            assert!(answer.into_inner().results.is_empty());
        }
        let requests = || futures_util::stream::iter([envelope.clone()]);
        let mut deliver = DeliverClient::new(peer.channel());
        let answer = deliver.deliver(requests()).await.unwrap().into_inner().message().await.unwrap();
        assert!(answer.is_some(), "every request gets a status");
        let answer = deliver.deliver_filtered(requests()).await.unwrap().into_inner().message().await.unwrap();
        assert!(answer.is_some(), "every request gets a status");
        let mut ordering = AtomicBroadcastClient::new(orderer.channel());
        let answer = ordering.broadcast(requests()).await.unwrap().into_inner().message().await.unwrap().unwrap();
        assert_eq!(answer.status, 400, "{answer:?}");
        let answer = ordering.deliver(requests()).await.unwrap().into_inner().message().await.unwrap();
        assert!(answer.is_some(), "every request gets a status");
    }
    submit(&network.user(1), &create("a1")).await.unwrap();
}

/// Any writer can have it ordered, and a peer that cannot take a transaction apart does not filter its block.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_none_hides_nothing_after_it() {
    let network = Network::with_asset("").await;
    let (_pool, _, orderer) = connections(&network);
    let signer = SigningIdentity::load_msp(org(1), &network.devnet.organizations()[0].admin_msp).unwrap();
    let user = network.user(2);
    let mut blocks = user.filtered_blocks(Start::Oldest);
    for (number, way) in [(1, Way::Direct), (2, Way::Gateway)] {
        let header = Header {
            header_type: HeaderType::EndorserTransaction,
            channel: Some(&channel_name()),
            creator: signer.creator(),
            nonce: Nonce([number; 24]),
            time: SystemTime::now().into(),
            tls_cert_hash: None,
        };
        let rubbish = envelope(&header, Bytes::from_static(b"\xff\xffno transaction"));
        let envelopes = futures_util::stream::iter([rubbish.sign(&signer).await.unwrap()]);
        let mut ordering = AtomicBroadcastClient::new(orderer.channel());
        let answer = ordering.broadcast(envelopes).await.unwrap().into_inner().message().await.unwrap().unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut find = async |tx_id: &str| loop {
            let block = blocks.next().await.unwrap().unwrap();
            if let Some(found) = block.filtered_transactions.into_iter().find(|found| found.txid == tx_id) {
                return (block.number, ValidationCode::from(found.tx_validation_code), found.data);
            }
        };
        let (_, code, data) = find(rubbish.tx_id().as_str()).await;
        assert!(!code.is_valid() && data.is_none(), "{code}");
        let committed = submit(&user.clone().by(way), &create(&format!("a{number}"))).await.unwrap();
        let (block, code, _) = find(committed.tx_id.as_str()).await;
        assert_eq!((block, code), (committed.block, ValidationCode::Valid));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_of_another_network_is_a_stranger() {
    let (network, elsewhere) = (Network::with_asset("").await, Network::start().await);
    let profile = ConnectionProfile::load(&network.devnet.organizations()[0].connection_profile).unwrap();
    let msp = &elsewhere.devnet.organizations()[0].admin_msp;
    let signer = SigningIdentity::load_msp(org(1), msp).unwrap();
    let stranger: Channel = Client::builder(Arc::new(signer), profile).build().unwrap().channel(channel_name());
    let error = format!("{:?}", stranger.evaluate(&read("a1")).await.unwrap_err());
    // Peers cannot even read a certificate whose authority they do not know.
    let denied = "access denied: channel [mychannel] creator org unknown, creator is malformed";
    assert!(error.contains(denied), "{error}");
    let error = stranger.client().genesis_block(&channel_name()).await.unwrap_err();
    assert!(format!("{error:?}").to_lowercase().contains("forbidden"), "{error:?}");
}
