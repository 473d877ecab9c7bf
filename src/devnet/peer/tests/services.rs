//! Blocks, configurations and neighbours: what a peer tells to who asks.

use std::sync::Arc;

use prost::Message as _;
use tonic::Request;

use super::kit::{CHANNEL, Net, OTHER_CHANNEL, net};
use crate::chaincode::asset::AssetContract;
use crate::devnet::peer::discovery::Discovering;
use crate::fabric::block::{Block, filtered_block};
use crate::fabric::identity::{Signer as _, SigningIdentity};
use crate::fabric::tx::Invocation;
use crate::pb::common::{BlockchainInfo, Config};
use crate::pb::discovery::discovery_server::Discovery as _;
use crate::pb::discovery::query::Query as Kind;
use crate::pb::discovery::query_result::Result as Found;
use crate::pb::discovery::{
    self, AuthInfo, ChaincodeQuery, ConfigQuery, LocalPeerQuery, PeerMembershipQuery, SignedRequest,
};
use crate::pb::gossip::gossip_message::Content;
use crate::pb::gossip::{Envelope, GossipMessage};
use crate::pb::protos::{
    ChaincodeCall, ChaincodeInterest, ChannelQueryResponse, ProcessedTransaction, filtered_transaction,
};

async fn ask(net: &Net, chaincode: &str, args: &[&str]) -> Result<bytes::Bytes, String> {
    let invocation = Invocation::new(chaincode, args[0]);
    let invocation = args[1..].iter().fold(invocation, |call, arg| call.arg((*arg).to_owned()));
    let response = net.ask(0, CHANNEL, &invocation).await;
    if response.status == 200 { Ok(response.payload) } else { Err(response.message) }
}

#[tokio::test]
async fn qscc_tells_blocks_and_transactions() {
    let net = net();
    net.deploy("asset", Arc::new(AssetContract)).await;
    let (tx_id, _) = net.submit(&[0, 1], &Invocation::new("asset", "InitLedger")).await.unwrap();
    let info = BlockchainInfo::decode(ask(&net, "qscc", &["GetChainInfo", CHANNEL]).await.unwrap()).unwrap();
    assert_eq!(info.height, 5, "genesis, two approvals, the commit, the transaction");
    let by_number = ask(&net, "qscc", &["GetBlockByNumber", CHANNEL, "4"]).await.unwrap();
    let by_tx_id = ask(&net, "qscc", &["GetBlockByTxID", CHANNEL, tx_id.as_str()]).await.unwrap();
    assert_eq!(by_number, by_tx_id);
    assert_eq!(Block::decode(by_number).unwrap().number(), 4);
    let invocation = Invocation::new("qscc", "GetBlockByHash").arg(CHANNEL).arg(info.current_block_hash);
    assert_eq!(net.ask(0, CHANNEL, &invocation).await.payload, by_tx_id);
    let found = ask(&net, "qscc", &["GetTransactionByID", CHANNEL, tx_id.as_str()]).await.unwrap();
    assert_eq!(ProcessedTransaction::decode(found).unwrap().validation_code, 0);
    for (args, expected) in [
        (&["GetChainInfo"][..], "Incorrect number of arguments, 1"),
        (&["GetChainInfo", "nowhere"], "Invalid chain ID, nowhere"),
        (&["GetBlockByNumber", CHANNEL], "missing 3rd argument for GetBlockByNumber"),
        (
            &["GetBlockByNumber", CHANNEL, "x"],
            "Failed to parse block number with error strconv.ParseUint: parsing \"x\": invalid syntax",
        ),
        (&["GetBlockByNumber", CHANNEL, "9"], "Failed to get block number 9, error no such block number [9] in index"),
        (
            &["GetTransactionByID", CHANNEL, "t"],
            "Failed to get transaction with id t, error no such transaction ID [t] in index",
        ),
        (&["GetBlockByHash", CHANNEL, "h"], "Failed to get block hash h, error no such block hash [68] in index"),
        (&["Nothing", CHANNEL, ""], "access denied for [Nothing][ops]: [Unmapped policy for qscc/Nothing]"),
    ] {
        assert_eq!(ask(&net, "qscc", args).await, Err(expected.to_owned()), "for {args:?}");
    }
}

#[tokio::test]
async fn cscc_tells_channels_and_joins_them_once() {
    let net = net();
    let channels = ChannelQueryResponse::decode(ask(&net, "cscc", &["GetChannels"]).await.unwrap()).unwrap();
    let names: Vec<_> = channels.channels.into_iter().map(|channel| channel.channel_id).collect();
    assert_eq!(names, [CHANNEL, OTHER_CHANNEL]);
    let block = ask(&net, "cscc", &["GetConfigBlock", CHANNEL]).await.unwrap();
    assert_eq!(Block::decode(block.clone()).unwrap().number(), 0);
    let config = Config::decode(ask(&net, "cscc", &["GetChannelConfig", CHANNEL]).await.unwrap()).unwrap();
    assert!(config.channel_group.unwrap().groups.contains_key("Application"));
    let again = net.ask(0, "", &Invocation::new("cscc", "JoinChain").arg(block)).await;
    assert_eq!(
        again.message,
        "cannot create ledger from genesis block: ledger [ops] already exists with state [ACTIVE]"
    );
    let transaction = {
        net.deploy("asset", Arc::new(AssetContract)).await;
        prost::Message::encode_to_vec(&*net.ledger(0, CHANNEL).block(1).unwrap())
    };
    for (block, expected) in [
        (&b"\xff"[..], "Failed to reconstruct the genesis block, "),
        (
            b"",
            "\"JoinChain\" request failed to extract channel id from the block due to [failed to retrieve channel id - \
             block is empty]",
        ),
        (
            &transaction,
            "\"JoinChain\" for channelID = ops failed because of validation of configuration block, because of Bad \
             configuration envelope: invalid type ENDORSER_TRANSACTION, expected CONFIG",
        ),
    ] {
        let join = Invocation::new("cscc", "JoinChain").arg(block.to_vec());
        let said = net.ask(0, "", &join).await.message;
        assert!(said.starts_with(expected), "{said} instead of {expected}");
    }
    let by_snapshot = net.ask(0, "", &Invocation::new("cscc", "JoinChainBySnapshot").arg("folder")).await;
    assert_eq!(by_snapshot.message, "this network makes no snapshots of ledgers and joins none");
    assert_eq!(net.ask(0, "", &Invocation::new("cscc", "JoinBySnapshotStatus")).await.status, 200);
    for (args, expected) in [
        (&["GetConfigBlock"][..], "Incorrect number of arguments, 1"),
        (
            &["GetConfigBlock", "nowhere"],
            "access denied for [GetConfigBlock][nowhere]: Failed to get policy manager for channel [nowhere]",
        ),
        (&["GetChannelConfig", ""], "empty channel name provided"),
        (&["Nothing", ""], "Requested function Nothing not found."),
    ] {
        assert_eq!(ask(&net, "cscc", args).await, Err(expected.to_owned()), "for {args:?}");
    }
}

#[tokio::test]
async fn filtered_blocks_tell_events_without_payloads() {
    let net = net();
    net.deploy("asset", Arc::new(AssetContract)).await;
    let create = ["a1", "blue", "5", "Tomoko", "300"];
    let create = create.into_iter().fold(Invocation::new("asset", "CreateAsset"), Invocation::arg);
    let (tx_id, _) = net.submit(&[0, 1], &create).await.unwrap();
    let ledger = net.ledger(0, CHANNEL);
    let block = filtered_block(CHANNEL, &ledger.block(4).unwrap()).unwrap();
    assert_eq!((block.channel_id.as_str(), block.number), (CHANNEL, 4));
    let transaction = &block.filtered_transactions[0];
    assert_eq!((transaction.txid.as_str(), transaction.tx_validation_code), (tx_id.as_str(), 0));
    let Some(filtered_transaction::Data::TransactionActions(actions)) = &transaction.data else { panic!() };
    let event = actions.chaincode_actions[0].chaincode_event.as_ref().unwrap();
    assert_eq!((event.chaincode_id.as_str(), event.event_name.as_str()), ("asset", "CreateAsset"));
    assert_eq!((event.tx_id.as_str(), event.payload.len()), (tx_id.as_str(), 0));
    let genesis = filtered_block(CHANNEL, &ledger.block(0).unwrap()).unwrap();
    assert!(genesis.filtered_transactions[0].data.is_none());
}

#[tokio::test]
async fn private_data_is_told_to_members_of_the_collection() {
    let net = net();
    net.deploy("asset", Arc::new(AssetContract)).await;
    let namespaces = |side: usize, block: u64, may_read: bool| -> Vec<(String, String)> {
        let told = net.ledger(side, CHANNEL).private_data(block, |_| may_read);
        let sets = told.into_values().flat_map(|set| set.ns_pvt_rwset);
        sets.flat_map(|set| {
            let namespace = set.namespace;
            set.collection_pvt_rwset.into_iter().map(move |it| (namespace.clone(), it.collection_name))
        })
        .collect()
    };
    // The first block after the genesis block is the approval of the first organization.
    let own = ("_lifecycle".to_owned(), "_implicit_org_Org1MSP".to_owned());
    assert_eq!(namespaces(0, 1, true), [own]);
    assert_eq!(namespaces(0, 1, false), [], "those who may not read it are told nothing");
    assert_eq!(namespaces(1, 1, true), [], "a peer of another organization has nothing");
    assert_eq!(namespaces(0, 0, true), []);
    assert_eq!(namespaces(0, 99, true), []);
}

async fn discover(net: &Arc<Net>, signer: &SigningIdentity, channel: &str, query: Kind) -> Found {
    let query = discovery::Query { channel: channel.to_owned(), query: Some(query) };
    let authentication =
        AuthInfo { client_identity: signer.creator().clone(), client_tls_cert_hash: bytes::Bytes::new() };
    let request = discovery::Request { authentication: Some(authentication), queries: vec![query] };
    let payload = bytes::Bytes::from(request.encode_to_vec());
    let signature = signer.sign_now(&payload);
    let topology = Arc::clone(net);
    let service = Discovering { peer: Arc::clone(&net.sides[0].peer), topology };
    let response = service.discover(Request::new(SignedRequest { payload, signature })).await.unwrap();
    response.into_inner().results.remove(0).result.unwrap()
}

fn content(envelope: &Envelope) -> Content {
    GossipMessage::decode(envelope.payload.clone()).unwrap().content.unwrap()
}

#[tokio::test]
async fn discovery_tells_peers_and_orderers() {
    let net = Arc::new(net());
    net.deploy("asset", Arc::new(AssetContract)).await;
    let (user, admin) = (&net.sides[0].user, &net.sides[0].admin);
    let peers = async |names: &[&str]| {
        let chaincodes = names.iter().map(|name| ChaincodeCall { name: (*name).to_owned(), ..Default::default() });
        let filter = Some(ChaincodeInterest { chaincodes: chaincodes.collect() });
        match discover(&net, user, CHANNEL, Kind::PeerQuery(PeerMembershipQuery { filter })).await {
            Found::Members(members) => members.peers_by_org,
            other => panic!("{other:?}"),
        }
    };
    let found = peers(&["asset"]).await;
    assert_eq!(found.keys().collect::<Vec<_>>(), ["Org1MSP", "Org2MSP"]);
    let peer = &found["Org2MSP"].peers[0];
    assert_eq!(peer.identity, *net.sides[1].peer.signer.creator());
    let Content::AliveMsg(alive) = content(peer.membership_info.as_ref().unwrap()) else { panic!() };
    assert_eq!(alive.membership.unwrap().endpoint, "localhost:7052");
    assert!(alive.timestamp.is_some());
    let Content::StateInfo(info) = content(peer.state_info.as_ref().unwrap()) else { panic!() };
    let properties = info.properties.unwrap();
    let names: Vec<_> = properties.chaincodes.iter().map(|it| (it.name.as_str(), it.version.as_str())).collect();
    assert_eq!((properties.ledger_height, names.as_slice()), (4, &[("asset", "1"), ("_lifecycle", "1")][..]));

    let Found::ConfigResult(config) = discover(&net, user, CHANNEL, Kind::ConfigQuery(ConfigQuery {})).await else {
        panic!()
    };
    assert_eq!(config.msps.len(), 2);
    assert_eq!(config.orderers.len(), 2);

    let local = || Kind::LocalPeers(LocalPeerQuery {});
    let Found::Members(members) = discover(&net, admin, "", local()).await else { panic!() };
    assert!(members.peers_by_org["Org1MSP"].peers[0].state_info.is_none());
    let refused = async |signer, channel, query| match discover(&net, signer, channel, query).await {
        Found::Error(error) => error.content,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(user, "", local()).await, "access denied");
    assert_eq!(refused(user, "nowhere", Kind::ConfigQuery(ConfigQuery {})).await, "access denied");
    assert_eq!(refused(user, CHANNEL, local()).await, "unknown or missing request type");
    let call = |name: &str| ChaincodeCall { name: name.to_owned(), ..ChaincodeCall::default() };
    let nothing = Some(ChaincodeInterest { chaincodes: vec![call("nothing")] });
    let unknown = Kind::PeerQuery(PeerMembershipQuery { filter: nothing });
    assert_eq!(refused(user, CHANNEL, unknown).await, "No metadata was found for chaincode nothing in channel ops");
    for (names, expected) in [
        (None, "chaincode query must have at least one chaincode interest"),
        (Some(&[][..]), "chaincode interest must contain at least one chaincode"),
        (Some(&[""][..]), "chaincode name in interest cannot be empty"),
        (
            Some(&["asset", "nothing"]),
            "failed constructing descriptor for chaincodes:{name:\"asset\"} chaincodes:{name:\"nothing\"}",
        ),
    ] {
        let interest =
            |names: &[&str]| ChaincodeInterest { chaincodes: names.iter().map(|&name| call(name)).collect() };
        let query = ChaincodeQuery { interests: names.map(interest).into_iter().collect() };
        assert_eq!(refused(user, CHANNEL, Kind::CcQuery(query)).await, expected);
    }
}

#[tokio::test]
async fn discovery_tells_who_may_endorse() {
    let net = Arc::new(net());
    net.deploy("asset", Arc::new(AssetContract)).await;
    let user = &net.sides[0].user;
    let plan = async |call: ChaincodeCall| {
        let query = ChaincodeQuery { interests: vec![ChaincodeInterest { chaincodes: vec![call] }] };
        match discover(&net, user, CHANNEL, Kind::CcQuery(query)).await {
            Found::CcQueryRes(mut found) => found.content.remove(0),
            other => panic!("{other:?}"),
        }
    };
    let call = ChaincodeCall { name: "asset".to_owned(), ..ChaincodeCall::default() };
    let both = plan(call.clone()).await;
    assert_eq!((both.chaincode.as_str(), both.endorsers_by_groups.len()), ("asset", 2));
    assert_eq!(both.layouts.len(), 1);
    assert_eq!(both.layouts[0].quantities_by_group.values().collect::<Vec<_>>(), [&1, &1]);
    let of_lifecycle = ChaincodeCall { name: "_lifecycle".to_owned(), ..ChaincodeCall::default() };
    assert_eq!(plan(of_lifecycle).await.layouts[0].quantities_by_group.len(), 2);

    // Only one organization's peers hold its own collection and may endorse for it.
    let own = ChaincodeCall { collection_names: vec!["_implicit_org_Org2MSP".to_owned()], ..call.clone() };
    let one = plan(own).await;
    assert_eq!(one.layouts[0].quantities_by_group.len(), 1);
    let peers: Vec<_> = one.endorsers_by_groups.into_values().flat_map(|group| group.peers).collect();
    assert_eq!(peers.len(), 1);
    assert_eq!(peers[0].identity, *net.sides[1].peer.signer.creator());

    let key_policy = crate::fabric::policy::dsl::parse("OR('Org1MSP.peer')").unwrap();
    let of_key = ChaincodeCall { key_policies: vec![key_policy], disregard_namespace_policy: true, ..call };
    assert_eq!(plan(of_key).await.layouts[0].quantities_by_group.len(), 1);
}

#[tokio::test]
async fn discovery_answers_rubbish() {
    let net = Arc::new(net());
    let topology = Arc::clone(&net);
    let service = Discovering { peer: Arc::clone(&net.sides[0].peer), topology };
    for payload in [&b""[..], b"\xff\xff"] {
        let request = SignedRequest { payload: payload.into(), signature: bytes::Bytes::new() };
        assert_eq!(service.discover(Request::new(request)).await.unwrap_err().code(), tonic::Code::Unknown);
    }
}
