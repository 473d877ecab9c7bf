//! `channel-ops`: which channels there are and who is in them. Proposals to change them are next door.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tonic::async_trait;

use super::Mode;
use super::call::{Call, Parameter};
use super::json::{encode, parse};
use super::refusal::{Refusal, While as _};
use crate::chaincode::{Contract, Response, Stub, composite};
use crate::opssc::channel_ops::{Channel, ChannelType};

/// What a channel is called as an object, and the first part of its key.
const CHANNEL: &str = "channel";

/// The contract `channel-ops`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChannelOps {
    pub(super) mode: Mode,
}

impl ChannelOps {
    /// The contract in `mode`.
    pub fn new(mode: Mode) -> Self {
        Self { mode }
    }

    async fn answer(self, stub: &mut dyn Stub) -> Result<Bytes, Refusal> {
        let call = Call::read(stub.args())?;
        match call.function() {
            "CreateChannel" => {
                let [channel_id, channel_type, msp_ids] = call.parameters()?;
                let members = msp_ids.texts()?;
                create_channel(stub, &key_of(channel_id)?, &channel_type.text(), members).await.map(done)
            }
            "UpdateChannelType" => {
                let [channel_id, channel_type] = call.parameters()?;
                update_channel_type(stub, channel_id, channel_type.text().into()).await.map(done)
            }
            "AddOrganization" => {
                let [channel_id, msp_id] = call.parameters()?;
                let mut channel = known_channel(stub, channel_id).await?;
                channel.organizations.get_or_insert_default().insert(msp_id.text(), String::new());
                put_channel(stub, &channel).await.map(done)
            }
            "SetOrganizations" => {
                let [channel_id, msp_ids] = call.parameters()?;
                let members = msp_ids.texts()?;
                set_organizations(stub, &reading(channel_id.key())?, members).await.map(done)
            }
            "ReadChannel" => {
                let [channel_id] = call.parameters()?;
                let channel = read_channel(stub, &key_of(channel_id)?).await?;
                Ok(encode(&channel).into())
            }
            "ChannelExists" => {
                let [channel_id] = call.parameters()?;
                Ok(channel_exists(stub, &key_of(channel_id)?).await?.to_string().into())
            }
            "CountOrganizationsInChannel" => {
                let [channel_id] = call.parameters()?;
                let channel = known_channel(stub, channel_id).await?;
                Ok(members(&channel).count().to_string().into())
            }
            "GetOrganizationsInChannel" => {
                let [channel_id] = call.parameters()?;
                let channel = known_channel(stub, channel_id).await?;
                // The original's order is random; endorsers must agree.
                Ok(encode(&members(&channel).collect::<Vec<_>>()).into())
            }
            "GetChannelType" => {
                let [channel_id] = call.parameters()?;
                let channel = known_channel(stub, channel_id).await?;
                Ok(String::from(channel.channel_type).into())
            }
            "GetAllChannels" => {
                let channels = all_channels(stub).await?;
                // The original answers with nothing at all where there is none.
                Ok(if channels.is_empty() { Bytes::new() } else { encode(&channels).into() })
            }
            "GetSystemChannelID" => Ok(system_channel_id(stub).await?.into()),
            _ => self.answer_about_proposals(stub, &call).await,
        }
    }
}

#[async_trait]
impl Contract for ChannelOps {
    async fn init(&self, stub: &mut dyn Stub) -> Response {
        if stub.args().first().is_none_or(Bytes::is_empty) {
            return Response::success("Default initiator successful.");
        }
        self.invoke(stub).await
    }

    async fn invoke(&self, stub: &mut dyn Stub) -> Response {
        match self.answer(stub).await {
            Ok(payload) => Response::success(payload),
            Err(Refusal(words)) => Response::failure(words),
        }
    }
}

/// The result of a function that has none.
pub(super) fn done((): ()) -> Bytes {
    Bytes::new()
}

fn key_of(channel_id: Parameter<'_>) -> Result<String, Refusal> {
    channel_id.key().during("failed to create composite key for channel")
}

/// As [`key_of`], for the functions that read the channel first.
fn reading(channel_id: Result<String, Refusal>) -> Result<String, Refusal> {
    channel_id.during("failed to read channel: failed to create composite key for channel")
}

async fn known_channel(stub: &mut dyn Stub, channel_id: Parameter<'_>) -> Result<Channel, Refusal> {
    read_channel(stub, &reading(channel_id.key())?).await.during("failed to read channel")
}

fn members(channel: &Channel) -> impl Iterator<Item = &String> {
    channel.organizations.iter().flat_map(BTreeMap::keys)
}

fn as_members(msp_ids: Vec<String>) -> BTreeMap<String, String> {
    msp_ids.into_iter().map(|msp_id| (msp_id, String::new())).collect()
}

pub(super) async fn create_channel(
    stub: &mut dyn Stub,
    channel_id: &str,
    channel_type: &str,
    msp_ids: Vec<String>,
) -> Result<(), Refusal> {
    if channel_exists(stub, channel_id).await? {
        return Err(Refusal(format!("the channel {channel_id} already exists")));
    }
    let channel_type = match channel_type {
        "" => ChannelType::Application,
        given => given.into(),
    };
    if !matches!(channel_type, ChannelType::System | ChannelType::Ops | ChannelType::Application) {
        return Err(Refusal::new("invalid channel type - expecting system, ops or application"));
    }
    let channel = Channel {
        doc_type: CHANNEL.to_owned(),
        id: channel_id.to_owned(),
        channel_type,
        organizations: Some(as_members(msp_ids)),
    };
    put_channel(stub, &channel).await
}

async fn update_channel_type(
    stub: &mut dyn Stub,
    channel_id: Parameter<'_>,
    channel_type: ChannelType,
) -> Result<(), Refusal> {
    let channel = known_channel(stub, channel_id).await?;
    if matches!(channel_type, ChannelType::Other(_)) {
        return Err(Refusal::new("invalid channel type - expecting system, ops, application or disable"));
    }
    put_channel(stub, &Channel { channel_type, ..channel }).await
}

pub(super) async fn set_organizations(
    stub: &mut dyn Stub,
    channel_id: &str,
    msp_ids: Vec<String>,
) -> Result<(), Refusal> {
    let channel = read_channel(stub, channel_id).await.during("failed to read channel")?;
    put_channel(stub, &Channel { organizations: Some(as_members(msp_ids)), ..channel }).await
}

async fn get_channel(stub: &mut dyn Stub, channel_id: &str) -> Result<Option<Bytes>, Refusal> {
    let key = composite::key(CHANNEL, &[channel_id]).during("failed to create composite key for channel")?;
    stub.get_state(&key).await.during("failed to read from world state")
}

pub(super) async fn read_channel(stub: &mut dyn Stub, channel_id: &str) -> Result<Channel, Refusal> {
    match get_channel(stub, channel_id).await? {
        Some(value) => stored(&value),
        None => Err(Refusal(format!("the channel {channel_id} does not exist"))),
    }
}

pub(super) async fn channel_exists(stub: &mut dyn Stub, channel_id: &str) -> Result<bool, Refusal> {
    Ok(get_channel(stub, channel_id).await?.is_some())
}

pub(super) async fn count_organizations(stub: &mut dyn Stub, channel_id: &str) -> Result<usize, Refusal> {
    let channel = read_channel(stub, channel_id).await.during("failed to read channel")?;
    Ok(members(&channel).count())
}

async fn all_channels(stub: &mut dyn Stub) -> Result<Vec<Channel>, Refusal> {
    let entries = stub.get_state_by_partial_composite_key(CHANNEL, &[]).await?;
    entries.iter().map(|entry| stored(&entry.value)).collect()
}

pub(super) async fn system_channel_id(stub: &mut dyn Stub) -> Result<String, Refusal> {
    let channels = all_channels(stub).await.during("failed to get system channel")?;
    let system = channels.into_iter().find(|channel| channel.channel_type == ChannelType::System);
    system.map(|channel| channel.id).ok_or_else(|| Refusal::new("system channel is not found"))
}

async fn put_channel(stub: &mut dyn Stub, channel: &Channel) -> Result<(), Refusal> {
    let key = composite::key(CHANNEL, &[&channel.id])?;
    Ok(stub.put_state(&key, encode(channel).into()).await?)
}

/// An object of the state. Numbers inside it keep their exact values.
pub(super) fn stored<T: DeserializeOwned>(value: &[u8]) -> Result<T, Refusal> {
    let value = parse(value).map_err(|error| Refusal(error.to_string()))?;
    serde_json::from_value(value.into_value()).map_err(|error| Refusal(error.to_string()))
}
