//! Collections and keys with policies, as a contract of this process uses them.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use tonic::async_trait;

use super::kit::{CHANNEL, Net, label, net, process, sign};
use crate::chaincode::{Contract, Response, Stub, StubError};
use crate::devnet::peer::{Topology, native_package};
use crate::fabric::block::ValidationCode::{EndorsementPolicyFailure, Valid};
use crate::fabric::lifecycle::ChaincodeDefinition;
use crate::fabric::names::ChaincodeName;
use crate::fabric::policy::{ApplicationPolicy, dsl};
use crate::fabric::tx::Invocation;
use crate::pb::protos::{
    CollectionConfig, CollectionConfigPackage, CollectionPolicyConfig, StaticCollectionConfig, collection_config,
    collection_policy_config,
};

/// Does what its arguments say.
struct Vault;

impl Vault {
    async fn work(stub: &mut dyn Stub) -> Result<String, StubError> {
        let args: Vec<_> = stub.args().iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect();
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let text =
            |value: Option<Bytes>| value.map_or("none".to_owned(), |it| String::from_utf8_lossy(&it).into_owned());
        match args[..] {
            ["put", collection, key, value] => {
                stub.put_private_data(collection, key, value.to_owned().into()).await?;
            }
            ["get", collection, key] => return stub.get_private_data(collection, key).await.map(text),
            ["hash", collection, key] => {
                let hash = stub.get_private_data_hash(collection, key).await?;
                return Ok(hash.map_or(0, |hash| hash.len()).to_string());
            }
            ["purge", collection, key] => stub.purge_private_data(collection, key).await?,
            ["range", collection] => {
                let found = stub.get_private_data_by_range(collection, "", "").await?;
                return Ok(found.into_iter().map(|entry| entry.key).collect());
            }
            ["write", key, value] => stub.put_state(key, value.to_owned().into()).await?,
            ["guard", key, rule] => {
                let policy = dsl::parse(rule).map_err(|error| StubError::Refused(error.to_string()))?;
                stub.set_state_validation_parameter(key, policy.encode_to_vec().into()).await?;
            }
            ["guarded", key] => {
                return Ok((!stub.get_state_validation_parameter(key).await?.is_empty()).to_string());
            }
            ["history", key] => {
                let found = stub.get_history_for_key(key).await?;
                return Ok(found.into_iter().map(|it| text(it.value)).collect::<Vec<_>>().join(" "));
            }
            _ => return Err(StubError::Refused(format!("what is {args:?}?"))),
        }
        Ok("done".to_owned())
    }
}

#[async_trait]
impl Contract for Vault {
    async fn invoke(&self, stub: &mut dyn Stub) -> Response {
        match Self::work(stub).await {
            Ok(payload) => Response::success(payload),
            Err(error) => Response::failure(error.to_string()),
        }
    }
}

fn collection(name: &str, members: &str, required_peer_count: i32) -> CollectionConfig {
    let members = collection_policy_config::Payload::SignaturePolicy(dsl::parse(members).unwrap());
    let config = StaticCollectionConfig {
        name: name.to_owned(),
        member_orgs_policy: Some(CollectionPolicyConfig { payload: Some(members) }),
        required_peer_count,
        maximum_peer_count: required_peer_count,
        member_only_read: true,
        member_only_write: true,
        ..StaticCollectionConfig::default()
    };
    CollectionConfig { payload: Some(collection_config::Payload::StaticCollectionConfig(config)) }
}

/// The contract as `vault`, which the peer of either organization endorses, with its collections.
async fn vault() -> Arc<Net> {
    let net = Arc::new(net());
    let topology: Arc<dyn Topology> = net.clone();
    for side in &net.sides {
        side.peer.services(Arc::clone(&topology), &net.workers);
    }
    let name = ChaincodeName::parse("vault").unwrap();
    net.contracts.insert(name.clone(), Arc::new(Vault));
    let package = native_package(&label("vault"), &name).unwrap();
    for side in 0..2 {
        net.install(side, &package).await;
    }
    let mut definition = ChaincodeDefinition::new(name, "1.0", 1);
    let either = dsl::parse("OR('Org1MSP.peer', 'Org2MSP.peer')").unwrap();
    definition.validation_parameter = ApplicationPolicy::Signature(either).encode();
    definition.collections = Some(CollectionConfigPackage {
        config: vec![
            collection("both", "OR('Org1MSP.member', 'Org2MSP.member')", 1),
            collection("first", "OR('Org1MSP.member')", 0),
            collection("lonely", "OR('Org1MSP.member')", 1),
        ],
    });
    net.define(&definition, [Some(package.id()), Some(package.id())]).await;
    net
}

fn invocation(args: &str) -> Invocation {
    let mut words = args.split('|').map(ToOwned::to_owned);
    let function = words.next().unwrap_or_default();
    words.fold(Invocation::new("vault", function), Invocation::arg)
}

/// What `side`'s peer says to a call by the user of `by`.
async fn ask(net: &Net, side: usize, by: usize, args: &str) -> String {
    let user = &net.sides[by].user;
    let proposal = net.proposal(CHANNEL, &invocation(args), user);
    let answer = process(&net.sides[side].peer, sign(&proposal, user)).await.unwrap().response.unwrap();
    if answer.status == 200 { String::from_utf8(answer.payload.to_vec()).unwrap() } else { answer.message }
}

#[tokio::test]
async fn collections_have_members() {
    let net = vault().await;
    let put = net.submit(&[0], &invocation("put|both|k|v")).await.unwrap();
    assert_eq!(put.1, Valid);
    for side in [0, 1] {
        assert_eq!(ask(&net, side, side, "get|both|k").await, "v");
        assert_eq!(ask(&net, side, side, "hash|both|k").await, "32");
    }
    assert_eq!(ask(&net, 0, 0, "get|both|other").await, "none");
    assert_eq!(ask(&net, 0, 0, "range|both").await, "k");
    assert_eq!(net.submit(&[0], &invocation("put|first|k|v")).await.unwrap().1, Valid);
    let denied = "tx creator does not have read access permission on privatedata in chaincodeName:vault \
                  collectionName: first";
    assert_eq!(ask(&net, 0, 1, "get|first|k").await, format!("peer refused: {denied}"));
    assert_eq!(ask(&net, 1, 1, "hash|first|k").await, "32");
    assert_eq!(
        ask(&net, 0, 0, "hash|none|k").await,
        "peer refused: collection [none] not defined in the collection config for chaincode [vault]"
    );
    assert_eq!(net.submit(&[1], &invocation("purge|both|k")).await.unwrap().1, Valid);
    assert_eq!(ask(&net, 0, 0, "get|both|k").await, "none");
    assert_eq!(ask(&net, 1, 1, "hash|both|k").await, "0");
}

#[tokio::test]
async fn collections_demand_peers() {
    let net = vault().await;
    let said = ask(&net, 0, 0, "put|lonely|k|v").await;
    let expected = "could not build private data dissemination plan for chaincode vault and collection lonely: \
                    required to disseminate to at least 1 peers, but know of only 0 eligible peers";
    assert!(said.starts_with("error in simulation: Failed to distribute private collection, txID "), "{said}");
    assert!(said.ends_with(expected), "{said}");
}

#[tokio::test]
async fn keys_have_policies_and_histories() {
    let net = vault().await;
    for step in ["write|k|1", "guard|k|OR('Org1MSP.peer')", "write|k|2"] {
        assert_eq!(net.submit(&[0], &invocation(step)).await.unwrap().1, Valid, "{step}");
    }
    assert_eq!(net.submit(&[1], &invocation("write|k|3")).await.unwrap().1, EndorsementPolicyFailure);
    assert_eq!(ask(&net, 1, 1, "guarded|k").await, "true");
    assert_eq!(ask(&net, 1, 1, "guarded|l").await, "false");
    assert_eq!(ask(&net, 1, 1, "history|k").await, "2 1");
}
