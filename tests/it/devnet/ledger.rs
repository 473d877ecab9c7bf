//! Transactions: endorsed, ordered, checked, committed.

use std::time::Duration;

use futures_util::StreamExt as _;
use opssc::client::events::Start;
use opssc::client::{Endorsers, SubmitError};
use opssc::fabric::block::ValidationCode;

use super::{Network, create, name, read, submit, transfer};

#[tokio::test(flavor = "multi_thread")]
async fn what_one_organization_writes_the_other_reads() {
    let network = Network::with_asset("").await;
    let (one, two) = (network.user(1), network.user(2));
    let mut events = one.chaincode_events(&name("asset"), Start::Oldest);
    let committed = submit(&one, &create("a1")).await.unwrap();
    network.devnet.settled(one.name()).await;
    let asset = two.evaluate(&read("a1")).await.unwrap();
    assert!(String::from_utf8_lossy(&asset).contains("\"a1\""), "{asset:?}");
    assert_eq!(two.transaction(&committed.tx_id).await.unwrap(), Some(ValidationCode::Valid));
    let event = tokio::time::timeout(Duration::from_secs(20), events.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((event.name.as_str(), event.block), ("CreateAsset", committed.block));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_endorsement_is_no_majority() {
    let network = Network::with_asset("").await;
    let one = network.user(1);
    let error = one.submit(&create("a1"), Endorsers::Own).await.unwrap_err();
    assert!(
        matches!(error, SubmitError::Invalidated { code: ValidationCode::EndorsementPolicyFailure, .. }),
        "{error:?}"
    );
    one.evaluate(&read("a1")).await.expect_err("an invalid transaction changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_colliding_transactions_one_counts() {
    // Both are endorsed before the block that holds the first of them is cut.
    let network = Network::with_batch_timeout(Duration::from_secs(1)).await;
    network.deploy("asset", "OR('Org1MSP.peer','Org2MSP.peer')").await;
    let (one, two) = (network.user(1), network.user(2));
    one.submit(&create("a1"), Endorsers::Own).await.unwrap();
    network.devnet.settled(one.name()).await;
    let (to_ann, to_bob) = (transfer("a1", "ann"), transfer("a1", "bob"));
    let (first, second) = tokio::join!(one.submit(&to_ann, Endorsers::Own), two.submit(&to_bob, Endorsers::Own));
    let conflict = [&first, &second].into_iter().find_map(|outcome| outcome.as_ref().err());
    match conflict {
        Some(SubmitError::Invalidated { code, .. }) => assert_eq!(*code, ValidationCode::MvccReadConflict),
        other => panic!("one of the two must collide, not {other:?}"),
    }
    assert!(first.is_ok() || second.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_cut_by_count_and_time() {
    let network = Network::with_asset("OR('Org1MSP.peer','Org2MSP.peer')").await;
    let one = network.user(1);
    let before = network.devnet.height(one.name()).unwrap();
    let many: Vec<_> = (0..25).map(|number| create(&format!("a{number}"))).collect();
    let outcomes = futures_util::future::join_all(many.iter().map(|it| one.submit(it, Endorsers::Own))).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let blocks = network.devnet.height(one.name()).unwrap() - before;
    assert!((3..=25).contains(&blocks), "25 transactions of at most 10 in a block came in {blocks} blocks");
}
