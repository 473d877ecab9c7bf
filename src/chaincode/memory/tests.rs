//! Transactions that collide, and what the ledger in memory keeps of them.

use super::*;

/// Puts its second argument at its first, after it has looked at the key, at the whole range, and called itself.
struct Scribe;

#[async_trait]
impl Contract for Scribe {
    async fn invoke(&self, stub: &mut dyn Stub) -> Response {
        let args: Vec<String> = stub.args().iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect();
        let done = async {
            match args[0].as_str() {
                "put" => {
                    stub.get_state(&args[1]).await?;
                    stub.put_state(&args[1], Bytes::from(args[2].clone())).await?;
                }
                "count" => {
                    let found = stub.get_state_by_range("", "").await?.len();
                    stub.put_state("count", Bytes::from(found.to_string())).await?;
                }
                "page" => {
                    let page = stub.get_state_by_range_paged("", "", 2, &args[1]).await?;
                    return Ok(page.entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>().join(",")
                        + "|"
                        + &page.bookmark);
                }
                "hide" => stub.put_private_data("secrets", &args[1], Bytes::from(args[2].clone())).await?,
                "seek" => {
                    let found = stub.get_private_data("secrets", &args[1]).await?.unwrap_or_default();
                    let hash = stub.get_private_data_hash("secrets", &args[1]).await?.unwrap_or_default();
                    assert_eq!(hash.is_empty(), found.is_empty());
                    return Ok(String::from_utf8_lossy(&found).into_owned());
                }
                "search" => {
                    let found = stub.get_private_data_by_range("secrets", "", "").await?;
                    let refused = stub.put_state("found", Bytes::from_static(b"x")).await.unwrap_err();
                    return Ok(format!("{}, {refused}", found.len()));
                }
                "guard" => {
                    let before = stub.get_state_validation_parameter(&args[1]).await?;
                    stub.set_state_validation_parameter(&args[1], Bytes::from(args[2].clone())).await?;
                    return Ok(String::from_utf8_lossy(&before).into_owned());
                }
                "history" => {
                    let found = stub.get_history_for_key(&args[1]).await?;
                    let values = found.into_iter().map(|change| change.value.unwrap_or(Bytes::from_static(b"-")));
                    return Ok(values.map(|value| String::from_utf8_lossy(&value).into_owned()).collect());
                }
                "delete" => stub.del_state(&args[1]).await?,
                _ => {
                    let rest: Vec<Bytes> = stub.args()[1..].to_vec();
                    stub.set_event("mine", Bytes::new())?;
                    return Ok(stub.invoke_chaincode("other", &rest, None).await?.message);
                }
            }
            Ok::<_, StubError>(String::new())
        }
        .await;
        match done {
            Ok(payload) => Response::success(payload),
            Err(error) => Response::failure(error.to_string()),
        }
    }
}

fn ledger() -> (Ledger, MspId) {
    let ledger = Ledger::default().with("one", Arc::new(Scribe)).with("other", Arc::new(Scribe));
    (ledger, MspId::parse("Org1MSP").unwrap())
}

#[tokio::test]
async fn a_changed_value_is_a_conflict() {
    let (mut ledger, org) = ledger();
    let first = ledger.simulate("one", &org, &["put", "a", "1"]).await;
    let second = ledger.simulate("one", &org, &["put", "a", "2"]).await;
    assert_eq!(ledger.commit(&first), Ok(()));
    assert_eq!(ledger.commit(&second), Err(Conflict::Mvcc { chaincode: "one".into(), key: "a".into() }));
    assert_eq!(ledger.get("one", "a"), Some(&Bytes::from("1")));
}

#[tokio::test]
async fn a_new_entry_is_a_phantom() {
    let (mut ledger, org) = ledger();
    let count = ledger.simulate("one", &org, &["count"]).await;
    ledger.put("other", "b", "elsewhere");
    assert_eq!(ledger.commit(&count), Ok(()));
    let count = ledger.simulate("one", &org, &["count"]).await;
    ledger.put("one", "b", "here");
    assert_eq!(ledger.commit(&count), Err(Conflict::Phantom { chaincode: "one".into(), start: "\u{1}".into() }));
}

#[tokio::test]
async fn pages_follow_each_other() {
    let (mut ledger, org) = ledger();
    for key in ["a", "b", "c", "\0composite\0"] {
        ledger.put("one", key, "x");
    }
    let first = ledger.simulate("one", &org, &["page", ""]).await;
    assert_eq!(first.response.payload, "a,b|c");
    let last = ledger.simulate("one", &org, &["page", "c"]).await;
    assert_eq!(last.response.payload, "c|");
}

#[tokio::test]
async fn a_called_chaincode_writes_into_its_own_state_and_emits_nothing() {
    let (mut ledger, org) = ledger();
    let done = ledger.submit("one", &org, &["call", "call", "put", "k", "v"]).await.unwrap();
    assert_eq!(ledger.get("other", "k"), Some(&Bytes::from("v")));
    assert_eq!(ledger.get("one", "k"), None);
    assert_eq!(done.event, Some(Event { name: "mine".into(), payload: Bytes::new() }));
    assert_eq!(done.writes("other").len(), 1);
    let refused = ledger.submit("absent", &org, &["put", "k", "v"]).await;
    assert!(matches!(refused, Err(Conflict::Refused { status: 500, .. })));
}

async fn said(ledger: &mut Ledger, args: &[&str]) -> String {
    let org = MspId::parse("Org1MSP").unwrap();
    let done = ledger.submit("one", &org, args).await.unwrap();
    String::from_utf8(done.response.payload.to_vec()).unwrap()
}

#[tokio::test]
async fn collections_are_states_of_their_own() {
    let (mut ledger, org) = ledger();
    let stale = ledger.simulate("one", &org, &["seek", "k"]).await;
    said(&mut ledger, &["hide", "k", "v"]).await;
    assert_eq!(ledger.get_private("one", "secrets", "k"), Some(&Bytes::from("v")));
    assert_eq!((ledger.get("one", "k"), ledger.get_private("other", "secrets", "k")), (None, None));
    assert_eq!(said(&mut ledger, &["seek", "k"]).await, "v");
    let refusal = "peer refused: a transaction that queried a collection may not write";
    assert_eq!(said(&mut ledger, &["search"]).await, format!("1, {refusal}"));
    assert!(matches!(ledger.commit(&stale), Err(Conflict::Mvcc { .. })), "its value is another one now");
}

#[tokio::test]
async fn keys_have_policies_and_a_past() {
    let (mut ledger, org) = ledger();
    assert_eq!(said(&mut ledger, &["guard", "k", "early"]).await, "", "a key that is not there gets none");
    said(&mut ledger, &["put", "k", "1"]).await;
    let stale = ledger.simulate("one", &org, &["put", "k", "9"]).await;
    assert_eq!(said(&mut ledger, &["guard", "k", "first"]).await, "");
    assert!(matches!(ledger.commit(&stale), Err(Conflict::Mvcc { .. })), "a policy is a change of the key");
    assert_eq!(said(&mut ledger, &["guard", "k", "second"]).await, "first");
    said(&mut ledger, &["delete", "k"]).await;
    said(&mut ledger, &["put", "k", "2"]).await;
    assert_eq!(said(&mut ledger, &["guard", "k", "third"]).await, "", "it went with the key");
    assert_eq!(said(&mut ledger, &["history", "k"]).await, "2-1");
}
