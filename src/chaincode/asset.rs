//! A small real contract: assets with an owner and a value. The demo deploys it, and it shows how a contract is written.
//!
//! Functions and JSON are those of Fabric's sample `asset-transfer-basic`, so its clients work with this one.
//!
//! Source: hyperledger/fabric-samples, `asset-transfer-basic`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tonic::async_trait;

use super::{Contract, Response, Stub, StubError};

/// An asset as it is in the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asset {
    /// What it is worth.
    #[serde(rename = "AppraisedValue")]
    pub appraised_value: i64,
    /// Its colour.
    #[serde(rename = "Color")]
    pub color: String,
    /// Its key in the state.
    #[serde(rename = "ID")]
    pub id: String,
    /// Who owns it.
    #[serde(rename = "Owner")]
    pub owner: String,
    /// How big it is.
    #[serde(rename = "Size")]
    pub size: i64,
}

/// Why the contract refused; the words go to the client.
#[derive(Debug, thiserror::Error)]
enum AssetError {
    #[error("the asset {0} already exists")]
    Exists(String),
    #[error("the asset {0} does not exist")]
    Absent(String),
    #[error("{0} takes {1} arguments")]
    Arguments(&'static str, usize),
    #[error("function {0} is not known")]
    Function(String),
    #[error("{0} is not a whole number")]
    Number(&'static str),
    #[error("an argument is not UTF-8")]
    Text,
    #[error("the asset {0} is not readable")]
    Unreadable(String),
    #[error("{0}")]
    Ledger(#[from] StubError),
}

/// `InitLedger`, `CreateAsset`, `ReadAsset`, `UpdateAsset`, `DeleteAsset`, `AssetExists`, `TransferAsset`,
/// `GetAllAssets`. Every change emits an event of the function's name that carries the asset.
#[derive(Debug, Clone, Copy, Default)]
pub struct AssetContract;

#[async_trait]
impl Contract for AssetContract {
    async fn invoke(&self, stub: &mut dyn Stub) -> Response {
        match answer(stub).await {
            Ok(payload) => Response::success(payload),
            Err(error) => Response::failure(error.to_string()),
        }
    }
}

async fn answer(stub: &mut dyn Stub) -> Result<Bytes, AssetError> {
    let args: Vec<String> = stub
        .args()
        .iter()
        .map(|arg| String::from_utf8(arg.to_vec()).map_err(|_| AssetError::Text))
        .collect::<Result<_, _>>()?;
    let mut args = args.into_iter();
    let function = args.next().unwrap_or_default();
    let args: Vec<String> = args.collect();
    match function.as_str() {
        "InitLedger" => {
            let [] = take("InitLedger", args)?;
            for asset in samples() {
                put(stub, &asset).await?;
            }
            Ok(Bytes::new())
        }
        "CreateAsset" => {
            let asset = asset(take("CreateAsset", args)?)?;
            if find(stub, &asset.id).await?.is_some() {
                return Err(AssetError::Exists(asset.id));
            }
            change(stub, "CreateAsset", &asset).await
        }
        "ReadAsset" => {
            let [id] = take("ReadAsset", args)?;
            Ok(json(&existing(stub, id).await?))
        }
        "UpdateAsset" => {
            let asset = asset(take("UpdateAsset", args)?)?;
            existing(stub, asset.id.clone()).await?;
            change(stub, "UpdateAsset", &asset).await
        }
        "DeleteAsset" => {
            let [id] = take("DeleteAsset", args)?;
            let asset = existing(stub, id).await?;
            stub.del_state(&asset.id).await?;
            stub.set_event("DeleteAsset", json(&asset))?;
            Ok(Bytes::new())
        }
        "AssetExists" => {
            let [id] = take("AssetExists", args)?;
            Ok(Bytes::from(find(stub, &id).await?.is_some().to_string()))
        }
        "TransferAsset" => {
            let [id, owner] = take("TransferAsset", args)?;
            let mut asset = existing(stub, id).await?;
            let before = std::mem::replace(&mut asset.owner, owner);
            change(stub, "TransferAsset", &asset).await?;
            Ok(Bytes::from(before))
        }
        "GetAllAssets" => {
            let [] = take("GetAllAssets", args)?;
            let mut assets = Vec::new();
            for entry in stub.get_state_by_range("", "").await? {
                assets.push(read(&entry.key, &entry.value)?);
            }
            Ok(json(&assets))
        }
        _ => Err(AssetError::Function(function)),
    }
}

/// Exactly as many arguments as a function takes.
fn take<const N: usize>(function: &'static str, args: Vec<String>) -> Result<[String; N], AssetError> {
    args.try_into().map_err(|_| AssetError::Arguments(function, N))
}

fn asset([id, color, size, owner, value]: [String; 5]) -> Result<Asset, AssetError> {
    let number = |name, text: &str| text.parse().map_err(|_| AssetError::Number(name));
    Ok(Asset { appraised_value: number("appraisedValue", &value)?, color, id, owner, size: number("size", &size)? })
}

async fn find(stub: &mut dyn Stub, id: &str) -> Result<Option<Asset>, AssetError> {
    stub.get_state(id).await?.map(|value| read(id, &value)).transpose()
}

async fn existing(stub: &mut dyn Stub, id: String) -> Result<Asset, AssetError> {
    find(stub, &id).await?.ok_or(AssetError::Absent(id))
}

async fn put(stub: &mut dyn Stub, asset: &Asset) -> Result<(), AssetError> {
    Ok(stub.put_state(&asset.id, json(asset)).await?)
}

async fn change(stub: &mut dyn Stub, event: &str, asset: &Asset) -> Result<Bytes, AssetError> {
    put(stub, asset).await?;
    stub.set_event(event, json(asset))?;
    Ok(Bytes::new())
}

fn read(key: &str, value: &[u8]) -> Result<Asset, AssetError> {
    serde_json::from_slice(value).map_err(|_| AssetError::Unreadable(key.to_owned()))
}

fn json(value: &impl Serialize) -> Bytes {
    // Only a map with keys that are no texts, or a failing writer, can refuse; there is neither.
    Bytes::from(serde_json::to_vec(value).unwrap_or_default())
}

fn samples() -> impl Iterator<Item = Asset> {
    [("asset1", "blue", 5, "Tomoko", 300), ("asset2", "red", 5, "Brad", 400), ("asset3", "green", 10, "Jin Soo", 500)]
        .into_iter()
        .map(|(id, color, size, owner, appraised_value)| Asset {
            appraised_value,
            color: color.to_owned(),
            id: id.to_owned(),
            owner: owner.to_owned(),
            size,
        })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::memory::Ledger;
    use super::*;
    use crate::fabric::names::MspId;

    #[tokio::test]
    async fn assets_come_change_and_go() {
        let mut ledger = Ledger::default().with("asset", Arc::new(AssetContract));
        let org = MspId::parse("Org1MSP").unwrap();
        let a1 = r#"{"AppraisedValue":300,"Color":"blue","ID":"a1","Owner":"Tomoko","Size":5}"#;
        for (args, expected, event) in [
            (&["ReadAsset", "a1"][..], "500 the asset a1 does not exist", None),
            (&["CreateAsset", "a1", "blue", "5", "Tomoko", "300"], "200 ", Some("CreateAsset")),
            (&["CreateAsset", "a1", "blue", "5", "Tomoko", "300"], "500 the asset a1 already exists", None),
            (&["ReadAsset", "a1"], &format!("200 {a1}"), None),
            (&["GetAllAssets"], &format!("200 [{a1}]"), None),
            (&["TransferAsset", "a1", "Max"], "200 Tomoko", Some("TransferAsset")),
            (&["UpdateAsset", "a1", "red", "x", "Max", "300"], "500 size is not a whole number", None),
            (&["UpdateAsset", "a2", "red", "5", "Max", "300"], "500 the asset a2 does not exist", None),
            (&["DeleteAsset", "a1"], "200 ", Some("DeleteAsset")),
            (&["AssetExists", "a1"], "200 false", None),
            (&["AssetExists"], "500 AssetExists takes 1 arguments", None),
            (&["AssetExists", ""], "500 not a valid key: it is empty", None),
            (&["InitLedger"], "200 ", None),
            (&["Steal"], "500 function Steal is not known", None),
            (&[], "500 function  is not known", None),
        ] {
            let done = ledger.simulate("asset", &org, args).await;
            let Response { status, message, payload } = &done.response;
            assert_eq!(format!("{status} {message}{}", String::from_utf8_lossy(payload)), expected, "for {args:?}");
            assert_eq!(done.event.as_ref().map(|event| event.name.as_str()), event, "for {args:?}");
            let _ = ledger.commit(&done);
        }
        let all = ledger.simulate("asset", &org, &["GetAllAssets"]).await;
        assert_eq!(serde_json::from_slice::<Vec<Asset>>(&all.response.payload).unwrap(), samples().collect::<Vec<_>>());
        let odd = ledger.simulate::<[u8]>("asset", &org, &[b"ReadAsset", b"\xff"]).await;
        assert_eq!(odd.response.message, "an argument is not UTF-8");
    }
}
