//! Questions and answers of channel participation as bytes: paths, forms, JSON.
//!
//! A module of its own because it needs no connection, so that it can be held against what real tools and orderers say.
//! Whatever an orderer answers is read, refused, or cut; nothing makes it panic.
//!
//! Source: Fabric 3.1.5 `orderer/common/channelparticipation/restapi.go`, `internal/osnadmin`.

use bytes::Bytes;
use hyper::Method;
use prost::Message as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::super::channels::{channel_of, check};
use super::super::net::MAX_MESSAGE;
use super::super::net::http::{Answered, Asked};
use super::{BlockId, ChannelList, ChannelStatus, ConsensusRelation, Participation, ParticipationError};
use crate::fabric::names::{ChannelName, hex};
use crate::pb::common::{Block, ChannelHeader, Envelope, HeaderType, Payload};

const CHANNELS: &str = "/participation/v1/channels";
/// Answers that are no blocks.
const LONGEST_TEXT: usize = 1 << 20;
/// How much of an orderer's words is kept.
const LONGEST_MESSAGE: usize = 4096;

/// A question about all channels.
pub(super) fn about_all() -> Asked {
    about(Method::GET, CHANNELS.to_owned(), LONGEST_TEXT)
}

/// A question about one channel, or its removal.
pub(super) fn about_one(method: Method, channel: &ChannelName) -> Asked {
    about(method, format!("{CHANNELS}/{channel}"), LONGEST_TEXT)
}

/// A question for a block.
pub(super) fn about_block(channel: &ChannelName, block: BlockId) -> Asked {
    about(Method::GET, format!("{CHANNELS}/{channel}/blocks/{block}"), MAX_MESSAGE)
}

fn about(method: Method, path: String, longest_answer: usize) -> Asked {
    Asked { method, path, content_type: None, body: Bytes::new(), longest_answer }
}

/// A form of one part that holds a file.
pub(super) fn send(method: Method, field: &str, file: &str, content: &[u8]) -> Asked {
    // Nothing can contain its own hash.
    let boundary = hex(&Sha256::digest(content));
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{file}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    let body = [head.as_bytes(), content, format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
    Asked {
        method,
        path: CHANNELS.to_owned(),
        content_type: Some(format!("multipart/form-data; boundary={boundary}")),
        body: body.into(),
        longest_answer: LONGEST_TEXT,
    }
}

/// That bytes are of the channel that is meant.
pub(super) fn fits(channel: &ChannelName, found: Result<ChannelName, String>) -> Result<(), ParticipationError> {
    let unfit = |reason| ParticipationError::Unfit { channel: channel.clone(), reason };
    match found {
        Ok(found) if found == *channel => Ok(()),
        Ok(found) => Err(unfit(format!("it is of channel {found}"))),
        Err(reason) => Err(unfit(reason)),
    }
}

/// The channel that an envelope updates.
pub(super) fn updated_channel(envelope: Bytes) -> Result<ChannelName, String> {
    let undecodable = |error: prost::DecodeError| error.to_string();
    let envelope = Envelope::decode(envelope).map_err(undecodable)?;
    let payload = Payload::decode(envelope.payload).map_err(undecodable)?;
    let header = payload.header.ok_or("no header")?;
    let header = ChannelHeader::decode(header.channel_header).map_err(undecodable)?;
    if header.r#type != HeaderType::ConfigUpdate as i32 {
        return Err("it is no configuration update".to_owned());
    }
    ChannelName::parse(header.channel_id).map_err(|error| error.to_string())
}

/// Why an answer is not the one hoped for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Status {
        status: u16,
        message: String,
        /// Whether what was asked about can be deleted, so exists.
        deletable: bool,
    },
    Malformed(String),
}

pub(super) fn expect(answer: &Answered, status: u16) -> Result<(), Refusal> {
    #[derive(Deserialize)]
    struct Problem {
        error: String,
    }

    if answer.status == status {
        return Ok(());
    }
    let message = serde_json::from_slice(&answer.body)
        .map_or_else(|_| String::from_utf8_lossy(&answer.body).into_owned(), |Problem { error }| error);
    let message = message.trim().chars().take(LONGEST_MESSAGE).collect();
    let deletable = answer.allow.as_deref().is_some_and(|allow| allow.contains("DELETE"));
    Err(Refusal::Status { status: answer.status, message, deletable })
}

fn read<'a, T: Deserialize<'a>>(answer: &'a Answered, status: u16) -> Result<T, Refusal> {
    expect(answer, status)?;
    serde_json::from_slice(&answer.body).map_err(|error| Refusal::Malformed(error.to_string()))
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

pub(super) fn list(answer: &Answered) -> Result<ChannelList, Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct List {
        system_channel: Option<Named>,
        channels: Option<Vec<Named>>,
    }
    let List { system_channel, channels } = read(answer, 200)?;
    let names = channels.unwrap_or_default().into_iter().map(|channel| ChannelName::parse(channel.name));
    let channels = names.collect::<Result<_, _>>().map_err(|error| Refusal::Malformed(error.to_string()))?;
    Ok(ChannelList { system_channel: system_channel.map(|channel| channel.name), channels })
}

pub(super) fn participation(answer: &Answered, channel: &ChannelName, status: u16) -> Result<Participation, Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Part {
        name: String,
        consensus_relation: String,
        status: String,
        height: u64,
    }
    let part: Part = read(answer, status)?;
    if part.name != channel.as_str() {
        return Err(Refusal::Malformed(format!("it is about {:?} in place of {channel}", part.name)));
    }
    Ok(Participation {
        channel: channel.clone(),
        relation: match part.consensus_relation.as_str() {
            "consenter" => ConsensusRelation::Consenter,
            "follower" => ConsensusRelation::Follower,
            "config-tracker" => ConsensusRelation::ConfigTracker,
            _ => ConsensusRelation::Other(part.consensus_relation),
        },
        status: match part.status.as_str() {
            "active" => ChannelStatus::Active,
            "onboarding" => ChannelStatus::Onboarding,
            "inactive" => ChannelStatus::Inactive,
            "failed" => ChannelStatus::Failed,
            _ => ChannelStatus::Other(part.status),
        },
        height: part.height,
    })
}

pub(super) fn fetched(answer: &Answered, channel: &ChannelName, wanted: BlockId) -> Result<Block, Refusal> {
    expect(answer, 200)?;
    let block = Block::decode(answer.body.clone()).map_err(|error| Refusal::Malformed(error.to_string()))?;
    let number = match wanted {
        BlockId::Number(number) => Some(number),
        BlockId::Oldest => Some(0),
        BlockId::Newest | BlockId::Config => None,
    };
    check(&block, number).map_err(|error| Refusal::Malformed(error.to_string()))?;
    // The first block is a configuration too.
    if matches!(wanted, BlockId::Config | BlockId::Oldest) {
        let found = channel_of(&block).map_err(Refusal::Malformed)?;
        if found != *channel {
            return Err(Refusal::Malformed(format!("a block of channel {found}")));
        }
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel() -> ChannelName {
        ChannelName::parse("mychannel").unwrap()
    }

    fn answer(status: u16, body: &str) -> Answered {
        Answered { status, allow: None, body: body.to_owned().into() }
    }

    #[test]
    fn a_form_holds_the_bytes_as_they_are() {
        let content = b"\r\n--\0\xff";
        let asked = send(Method::POST, "config-block", "config.block", content);
        let boundary = asked.content_type.as_deref().unwrap().split_once("boundary=").unwrap().1;
        let body = asked.body.strip_suffix(format!("\r\n--{boundary}--\r\n").as_bytes()).unwrap();
        assert!(body.starts_with(format!("--{boundary}\r\n").as_bytes()));
        let head_end = body.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        assert_eq!(&body[head_end + 4..], content);
        assert!(boundary.len() <= 70, "the longest that is allowed");
    }

    #[test]
    fn what_is_about_another_channel_is_malformed() {
        let body = r#"{"name":"other","url":"","consensusRelation":"consenter","status":"active","height":1}"#;
        let found = participation(&answer(200, body), &channel(), 200);
        assert!(matches!(found, Err(Refusal::Malformed(_))), "{found:?}");
    }

    #[test]
    fn new_words_are_kept() {
        let body = r#"{"name":"mychannel","consensusRelation":"learner","status":"asleep","height":7,"more":[]}"#;
        let found = participation(&answer(200, body), &channel(), 200).unwrap();
        assert_eq!(found.relation, ConsensusRelation::Other("learner".to_owned()));
        assert_eq!(found.status, ChannelStatus::Other("asleep".to_owned()));
    }

    #[test]
    fn refusals_need_no_json_and_have_an_end() {
        let Err(Refusal::Status { status: 502, message, .. }) = expect(&answer(502, " Bad Gateway\n"), 200) else {
            panic!("a refusal")
        };
        assert_eq!(message, "Bad Gateway");
        let Err(Refusal::Status { message, .. }) = expect(&answer(400, &"x".repeat(1 << 20)), 200) else {
            panic!("a refusal")
        };
        assert_eq!(message.len(), LONGEST_MESSAGE);
    }

    #[test]
    fn rubbish_is_malformed() {
        for body in ["", "[]", "{", "null", "{\"channels\":[{\"name\":\"\"}]}", "{\"channels\":3}"] {
            let found = list(&answer(200, body));
            assert!(matches!(found, Err(Refusal::Malformed(_))), "{body}: {found:?}");
        }
        let found = fetched(&answer(200, "\u{1}\u{2}"), &channel(), BlockId::Newest);
        assert!(matches!(found, Err(Refusal::Malformed(_))), "{found:?}");
    }

    #[test]
    fn an_update_of_another_kind_or_channel_is_not_sent() {
        let envelope = |kind: HeaderType, id: &str| {
            let header = ChannelHeader { r#type: kind.into(), channel_id: id.to_owned(), ..Default::default() };
            let header = crate::pb::common::Header {
                channel_header: header.encode_to_vec().into(),
                signature_header: Bytes::new(),
            };
            let payload = Payload { header: Some(header), data: Bytes::new() };
            Bytes::from(Envelope { payload: payload.encode_to_vec().into(), ..Default::default() }.encode_to_vec())
        };
        let check = |envelope| fits(&channel(), updated_channel(envelope));
        check(envelope(HeaderType::ConfigUpdate, "mychannel")).unwrap();
        check(envelope(HeaderType::ConfigUpdate, "other")).unwrap_err();
        check(envelope(HeaderType::EndorserTransaction, "mychannel")).unwrap_err();
        check(Bytes::from_static(b"rubbish")).unwrap_err();
    }
}
