//! Configurations: updates, edits, signatures, first blocks.

use std::path::Path;

use opssc::fabric::block::Block;
use opssc::fabric::config::edit::{Operation, OrganizationType, create_channel, profile};
use opssc::fabric::config::tree::{Config, ConfigUpdate};
use opssc::fabric::config::update::{apply, compute};
use opssc::fabric::config::{Artifacts, ChannelConfig, ConfigSigner, genesis, update_envelope};
use opssc::fabric::identity::Certificate;
use opssc::fabric::names::{ChannelName, MspId};
use opssc::fabric::tx::Nonce;
use opssc::pb::common::{ChannelHeader, ConfigUpdateEnvelope, Envelope, Payload, SignatureHeader};
use prost::Message as _;

use sha2::Digest as _;

use super::support::{Case, Finding, agree, family, same, same_file};

/// The canonical form of an update: all maps sorted, also inside values.
fn same_update(case: &Case, name: &str, ours: &[u8]) -> Finding {
    let ours = ConfigUpdate::decode(ours).map_err(|error| error.to_string())?.canonical().encode();
    same_file(&case.folder.join(name), &ours)
}

pub(crate) fn config_update() {
    family("config-update", |case| {
        let config = |pointer| Config::decode(&case.bytes(case.text(pointer))).map_err(|error| error.to_string());
        let (original, updated) = (config("/input/original")?, config("/input/updated")?);
        let channel = case.text("/input/channel_id");
        let Some(update) = agree(compute(channel, &original, &updated), case.ok())? else { return Ok(()) };
        // Nothing is written anew on the way.
        same_file(&case.folder.join("expected.update.canonical.pb"), &update.canonical().encode())?;
        let sample = ConfigUpdate::decode(&case.bytes("sample.update.pb")).map_err(|error| error.to_string())?;
        same_update(case, "expected.update.canonical.pb", &sample.encode())?;
        let root = original.channel_group.as_ref().ok_or("no channel group")?;
        let accepted = case.get("/expected/apply/ok").as_bool() == Some(true);
        let Some(group) = agree(apply(root, &sample, channel, |_| Ok(())), accepted)? else { return Ok(()) };
        let mut result = original.clone();
        result.sequence += 1;
        result.channel_group = Some(group);
        let result = result.canonical().encode();
        same("result", &sha256(&result).as_str(), &case.text("/expected/result_canonical_sha256"))
    });
}

/// The crypto material that the cases of a family share.
fn crypto(case: &Case) -> tempfile::TempDir {
    case.tree("../crypto.tree.json")
}

pub(crate) fn configtx_cli() {
    family("configtx-cli", |case| {
        let error = case.get("/expected/error").as_str().unwrap_or_default();
        let folder = crypto(case);
        let ours = edit(case, folder.path());
        if error.starts_with("PANIC") && ours.is_ok() {
            // Where the original crashes, doing it right is right too.
            return Ok(());
        }
        let Some(update) = agree(ours, case.ok())? else { return Ok(()) };
        same_update(case, "expected.update.canonical.pb", &update.encode())
    });
}

fn edit(case: &Case, folder: &Path) -> Result<ConfigUpdate, String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let input = |name: &str| case.get(&format!("/input/{name}")).as_str().unwrap_or_default().to_owned();
    let flag = |name: &str| input(&format!("flags/{name}"));
    let profile = match case.get("/input/profile").as_str() {
        Some(name) => String::from_utf8(case.bytes(name)).map_err(|error| text(&error))?,
        None => String::new(),
    };
    let channel = input("channelID");
    let update = if input("command") == "create-channel" {
        create_channel(&channel, &profile::parse(&profile).map_err(|error| text(&error))?)
            .map_err(|error| text(&error))?
    } else {
        let types = || OrganizationType::parse_all(&flag("orgType")).map_err(|error| text(&error));
        let failed = |error: opssc::fabric::config::edit::EditError| text(&error);
        let operations = match input("command").as_str() {
            "set-org" => vec![Operation::SetOrg(types()?, profile::parse(&profile).map_err(failed)?)],
            "remove-org" => vec![Operation::RemoveOrg(types()?, flag("orgName"))],
            "set-consenter" => vec![Operation::SetConsenter(profile::parse(&profile).map_err(failed)?)],
            "remove-consenter" => vec![Operation::RemoveConsenter(flag("consenterAddress"))],
            "set-orderer" => vec![Operation::SetOrderer(profile::parse(&profile).map_err(failed)?)],
            "set-channel" => vec![Operation::SetChannel(profile::parse(&profile).map_err(failed)?)],
            "execute-multiple-ops" => Operation::parse_all(&profile).map_err(failed)?,
            other => return Err(format!("the case has an unknown command {other:?}")),
        };
        let block = std::fs::read(case.folder.join(input("block"))).map_err(|error| text(&error))?;
        let block = Block::decode(block).map_err(|error| text(&error))?;
        let config = ChannelConfig::from_block(block.raw()).map_err(|error| text(&error))?;
        let original = Config::decode(&config.config().encode_to_vec()).map_err(|error| text(&error))?;
        let mut updated = original.clone();
        for operation in operations {
            operation.apply(&mut updated, Some(folder)).map_err(failed)?;
        }
        compute(&channel, &original, &updated).map_err(|error| text(&error))?
    };
    match input("outputFormat").as_str() {
        "delta" => Ok(update),
        "enveloped_delta" => {
            let envelope = update_envelope(&update, prost_types::Timestamp::default());
            let message = check_envelope(&envelope, case.get("/expected/envelope"))?;
            same("signatures", &message.signatures.len(), &0)?;
            ConfigUpdate::decode(&message.config_update).map_err(|error| text(&error))
        }
        other => Err(format!("there is no output format {other:?}")),
    }
}

/// The fields of an unsigned envelope but its time.
fn check_envelope(envelope: &Envelope, expected: &serde_json::Value) -> Result<ConfigUpdateEnvelope, String> {
    let payload = Payload::decode(envelope.payload.clone()).unwrap();
    let header = payload.header.unwrap();
    let channel = ChannelHeader::decode(header.channel_header).unwrap();
    let number = |name: &str| expected[name].as_i64().unwrap_or_default();
    same("type", &i64::from(channel.r#type), &number("type"))?;
    same("version", &i64::from(channel.version), &number("version"))?;
    same("epoch", &channel.epoch, &0)?;
    same("channel", &channel.channel_id.as_str(), &expected["channel_id"].as_str().unwrap_or_default())?;
    same("transaction", &channel.tx_id.as_str(), &"")?;
    same("signature header", &header.signature_header.len(), &0)?;
    same("signature", &envelope.signature.len(), &0)?;
    Ok(ConfigUpdateEnvelope::decode(payload.data).unwrap())
}

pub(crate) fn config_sign() {
    family("config-sign", |case| {
        let file = |name: &str| case.bytes(case.text(&format!("/input/{name}")));
        let msp_id = MspId::parse(case.text("/input/mspID")).unwrap();
        let signer = ConfigSigner::from_pem(msp_id, &file("cert"), &file("key")).map_err(|error| error.to_string());
        // As the program does without being told otherwise.
        let signer = signer.and_then(|signer| if signer.is_ecdsa() { Ok(signer) } else { Err("Ed25519".to_owned()) });
        let Some(signer) = agree(signer, case.ok())? else { return Ok(()) };
        let update = file("update");
        let signature = signer.sign(&update, Nonce([7; 24]));
        let header = SignatureHeader::decode(signature.signature_header.clone()).unwrap();
        same_file(&case.folder.join("expected.creator.pb"), &header.creator)?;
        same("nonce", &Some(header.nonce.len() as u64), &case.get("/expected/nonce_length").as_u64())?;
        let key = Certificate::from_pem(&file("cert")).unwrap().public_key().clone();
        let signed = [&signature.signature_header[..], &update].concat();
        let good = case.get("/expected/fabric_verifies_sample/verify").is_null();
        same("fits", &signer.key_fits(), &good)?;
        same("verifies", &key.verify(&signed, &signature.signature), &good)
    });
}

pub(crate) fn config_envelope() {
    family("config-envelope", |case| {
        let profile = String::from_utf8(case.bytes(case.text("/input/profile"))).unwrap();
        let envelope = Artifacts::parse(&profile).map_err(|error| error.to_string()).and_then(|artifacts| {
            artifacts.to_envelope(prost_types::Timestamp::default()).map_err(|error| error.to_string())
        });
        let Some(envelope) = agree(envelope, case.ok())? else { return Ok(()) };
        let expected = case.get("/expected/envelope");
        let message = check_envelope(&envelope, expected)?;
        same_file(&case.folder.join("config_update.pb"), &message.config_update)?;
        let mut ours: Vec<(String, String)> = message
            .signatures
            .iter()
            .map(|signature| (sha256(&signature.signature_header), opssc::fabric::names::hex(&signature.signature)))
            .collect();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let mut expected: Vec<(String, String)> = expected["signatures"]
            .as_array()
            .unwrap()
            .iter()
            .map(|signature| (text(&signature["signature_header_sha256"]), text(&signature["signature_hex"])))
            .collect();
        ours.sort();
        expected.sort();
        same("signatures", &ours, &expected)
    });
}

fn sha256(bytes: &[u8]) -> String {
    opssc::fabric::names::hex(&sha2::Sha256::digest(bytes))
}

pub(crate) fn genesis_configtxgen() {
    family("genesis-configtxgen", |case| {
        let folder = crypto(case);
        let text = String::from_utf8(case.bytes(case.text("/input/configtx"))).unwrap();
        let config = genesis::Profile::parse(&text, case.text("/input/profile"))
            .and_then(|profile| genesis::config(&profile, folder.path()));
        let Some(config) = agree(config, case.ok())? else { return Ok(()) };
        same_file(&case.folder.join("expected.config.canonical.pb"), &config.clone().canonical().encode())?;
        check_block(case, &config)
    });
}

/// What stands around the configuration in a first block: all but its time and nonce.
fn check_block(case: &Case, config: &Config) -> Finding {
    let sample = Block::decode(case.bytes("genesis.block")).map_err(|error| error.to_string())?;
    let channel = ChannelName::parse(case.text("/input/channel_id")).unwrap();
    let header = payload(sample.raw()).header.unwrap();
    let channel_header = ChannelHeader::decode(header.channel_header).unwrap();
    let nonce = SignatureHeader::decode(header.signature_header).unwrap().nonce;
    let nonce = Nonce(nonce.as_ref().try_into().map_err(|_| "the nonce has another length".to_owned())?);
    let ours = genesis::block(&channel, config, nonce, channel_header.timestamp.unwrap_or_default());
    same("metadata", &ours.metadata, &sample.raw().metadata)?;
    same("headers", &payload(&ours).header, &payload(sample.raw()).header)?;
    let ours = Block::new(ours).map_err(|error| error.to_string())?;
    ours.check_data().map_err(|error| error.to_string())?;
    let accepts = case.get("/expected/orderer_accepts_config").as_bool().unwrap_or(true);
    if accepts { ChannelConfig::from_block(ours.raw()).map(drop).map_err(|error| error.to_string()) } else { Ok(()) }
}

fn payload(block: &opssc::pb::common::Block) -> Payload {
    let envelope = Envelope::decode(block.data.as_ref().unwrap().data[0].clone()).unwrap();
    Payload::decode(envelope.payload).unwrap()
}
