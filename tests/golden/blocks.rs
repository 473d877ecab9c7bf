//! Blocks and their hashes.

use bytes::Bytes;
use opssc::fabric::block::{
    self, Action, Block, ChaincodeEvent, Transaction, ValidationCode, chaincode_events, filtered_events,
};
use opssc::fabric::identity::{Certificate, Creator};
use opssc::fabric::names::hex;
use opssc::pb::common::{BlockData, BlockHeader, HeaderType};
use opssc::pb::kvrwset::{HashedRwSet, KvrwSet};
use opssc::pb::protos;
use prost::Message as _;
use serde_json::{Value, json};

use super::support::{Case, Finding, family, same, unhex};

pub(crate) fn block_hash() {
    family("block-hash", |case| {
        let entries = case.json(case.text("/input/file"));
        for entry in entries.as_array().expect("a list") {
            let id = entry["id"].as_str().unwrap_or("?");
            hashes(entry).map_err(|finding| format!("{id}: {finding}"))?;
        }
        Ok(())
    });
}

fn hashes(entry: &Value) -> Finding {
    let bytes = |key: &str| Bytes::from(unhex(entry[key].as_str().unwrap()));
    if let Some(items) = entry["data_hex"].as_array() {
        let data = BlockData { data: items.iter().map(|item| unhex(item.as_str().unwrap()).into()).collect() };
        same("data", &Bytes::from(data.encode_to_vec()), &bytes("block_data_pb_hex"))?;
        return same("hash", &block::data_hash(&data).as_slice(), &bytes("data_hash_hex").as_ref());
    }
    let header = BlockHeader {
        number: entry["number"].as_str().unwrap().parse().unwrap(),
        previous_hash: bytes("previous_hash_hex"),
        data_hash: bytes("data_hash_hex"),
    };
    same("DER", &hex(&block::header_der(&header)).as_str(), &entry["asn1_hex"].as_str().unwrap())?;
    same("hash", &hex(&block::header_hash(&header)).as_str(), &entry["hash_hex"].as_str().unwrap())?;
    same("header", &Bytes::from(header.encode_to_vec()), &bytes("header_pb_hex"))
}

pub(crate) fn blocks() {
    family("blocks", |case| {
        let block = Block::decode(case.bytes("block.pb")).map_err(|error| error.to_string())?;
        let expected = case.json("expected.json");
        compare("", &shown(&block, &expected)?, &expected)?;
        block.check_data().map_err(|error| error.to_string())?;
        signatures(&block, &expected)?;
        let codes: Vec<String> = block.transactions().iter().map(|item| item.validation.to_string()).collect();
        compare("codes", &json!(codes), case.get("/expected/validation_codes"))?;
        filtered(case, &block)
    });
}

/// Finds the first difference of two JSON values.
fn compare(path: &str, ours: &Value, expected: &Value) -> Finding {
    match (ours, expected) {
        (Value::Object(ours), Value::Object(expected)) => {
            let keys = ours.keys().chain(expected.keys());
            for key in keys {
                let none = Value::Null;
                let (left, right) = (ours.get(key).unwrap_or(&none), expected.get(key).unwrap_or(&none));
                compare(&format!("{path}/{key}"), left, right)?;
            }
            Ok(())
        }
        (Value::Array(ours), Value::Array(expected)) if ours.len() == expected.len() => ours
            .iter()
            .zip(expected)
            .enumerate()
            .try_for_each(|(at, (ours, expected))| compare(&format!("{path}/{at}"), ours, expected)),
        _ if ours == expected => Ok(()),
        _ => Err(format!("{path}: {ours} in place of {expected}")),
    }
}

/// The block as expected.json shows it; its signatures are looked at elsewhere.
fn shown(block: &Block, expected: &Value) -> Result<Value, String> {
    let raw = block.raw();
    let header = raw.header.as_ref().unwrap();
    let text = |error: block::BlockError| error.to_string();
    let filter = raw.metadata.as_ref().and_then(|metadata| metadata.metadata.get(2)).cloned().unwrap_or_default();
    let transactions: Vec<Value> = block.transactions().iter().map(transaction).collect();
    let events: Vec<Value> = chaincode_events(raw).map_err(text)?.iter().map(event).collect();
    let commit_hash = block::commit_hash(raw).map_err(text)?.unwrap_or_default();
    Ok(json!({
        "number": block.number().to_string(),
        "previous_hash_hex": hex(&header.previous_hash),
        "data_hash_hex": hex(&header.data_hash),
        "data_hash_computed_hex": hex(&block::data_hash(raw.data.as_ref().unwrap())),
        "header_hash_hex": hex(&block.hash()),
        "commit_hash_hex": hex(&commit_hash),
        "is_config_block": block.is_config(),
        "last_config": block::last_config(raw).map_err(text)?.to_string(),
        "transactions_filter_hex": hex(&filter),
        "transactions": transactions,
        "valid_chaincode_events": events,
        "orderer_signatures": expected["orderer_signatures"],
    }))
}

fn msp_id(creator: &[u8]) -> String {
    Creator::decode(creator).map(|creator| creator.msp_id.to_string()).unwrap_or_default()
}

fn transaction(item: &Transaction) -> Value {
    let time = item.timestamp.unwrap_or_default();
    let mut shown = json!({
        "index": item.index,
        "txid": item.tx_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        "channel": item.channel,
        "type": item.header_type,
        "type_name": HeaderType::try_from(item.header_type).unwrap().as_str_name(),
        "timestamp": format!("{}.{:09}", time.seconds, time.nanos),
        "creator_mspid": msp_id(&item.creator),
        "validation_code": item.validation.number(),
        "validation_name": item.validation.name(),
    });
    let fields = shown.as_object_mut().unwrap();
    for action in item.actions() {
        fields.extend(self::action(action).as_object().unwrap().clone());
    }
    shown
}

fn action(action: &Action) -> Value {
    let sets = action.read_write_set().unwrap();
    json!({
        "chaincode": action.chaincode,
        "args_hex": action.args.iter().map(|arg| hex(arg)).collect::<Vec<_>>(),
        "action_chaincode": {"name": action.chaincode_id.name, "version": action.chaincode_id.version},
        "response_status": action.response.status,
        "response_message": action.response.message,
        "response_payload_hex": hex(&action.response.payload),
        "proposal_hash_hex": hex(&action.proposal_hash),
        "endorser_mspids": action.endorsements.iter().map(|item| msp_id(&item.endorser)).collect::<Vec<_>>(),
        "event": action.event.as_ref().map(|event| json!({
            "chaincode_id": event.chaincode_id,
            "event_name": event.event_name,
            "tx_id": event.tx_id,
            "payload_hex": hex(&event.payload),
        })),
        "rwset": sets.ns_rwset.iter().map(namespace).collect::<Vec<_>>(),
    })
}

fn namespace(set: &opssc::pb::rwset::NsReadWriteSet) -> Value {
    let public = KvrwSet::decode(set.rwset.clone()).unwrap();
    let reads = public.reads.iter().map(|read| {
        let version = read.version.as_ref().map(|version| format!("{}.{}", version.block_num, version.tx_num));
        json!({"key": read.key, "version": version})
    });
    let writes = public
        .writes
        .iter()
        .map(|write| json!({"key": write.key, "is_delete": write.is_delete, "value_hex": hex(&write.value)}));
    let mut shown = json!({
        "namespace": set.namespace,
        "reads": reads.collect::<Vec<_>>(),
        "writes": writes.collect::<Vec<_>>(),
    });
    if !set.collection_hashed_rwset.is_empty() {
        shown["collections"] = set.collection_hashed_rwset.iter().map(collection).collect();
    }
    shown
}

fn collection(set: &opssc::pb::rwset::CollectionHashedReadWriteSet) -> Value {
    let hashed = HashedRwSet::decode(set.hashed_rwset.clone()).unwrap();
    let writes = hashed.hashed_writes.iter().map(|write| {
        json!({
            "is_delete": write.is_delete,
            "key_hash_hex": hex(&write.key_hash),
            "value_hash_hex": hex(&write.value_hash),
        })
    });
    json!({
        "collection": set.collection_name,
        "hashed_reads": hashed.hashed_reads.len(),
        "hashed_writes": writes.collect::<Vec<_>>(),
        "pvt_rwset_hash_hex": hex(&set.pvt_rwset_hash),
    })
}

fn event(event: &ChaincodeEvent) -> Value {
    json!({
        "block_number": event.block.to_string(),
        "tx_index": event.tx_index,
        "tx_id": event.tx_id.as_str(),
        "chaincode_id": event.chaincode,
        "event_name": event.name,
        "payload_hex": hex(&event.payload),
    })
}

/// The orderers' signatures: what they cover, and that they are good.
fn signatures(block: &Block, expected: &Value) -> Finding {
    let ours = block::signatures(block.raw()).map_err(|error| error.to_string())?;
    let expected = expected["orderer_signatures"].as_array().unwrap();
    same("signatures", &ours.len(), &expected.len())?;
    for (ours, expected) in ours.iter().zip(expected) {
        let text = |key: &str| expected[key].as_str().unwrap().to_owned();
        same("creator", &hex(&ours.creator), &text("creator_hex"))?;
        same("signed bytes", &hex(&ours.signed), &text("signed_bytes_hex"))?;
        same("signature", &hex(&ours.signature), &text("signature_hex"))?;
        let creator = Creator::decode(&ours.creator).map_err(|error| error.to_string())?;
        same("MSP ID", &creator.msp_id.to_string(), &text("mspid"))?;
        let certificate = Certificate::from_pem(&creator.certificate_pem).map_err(|error| error.to_string())?;
        same("verified", &certificate.public_key().verify(&ours.signed, &ours.signature), &true)?;
    }
    Ok(())
}

/// The filtered block says the same, without payloads.
fn filtered(case: &Case, block: &Block) -> Finding {
    use protos::deliver_response::Type;
    let bytes = Bytes::from(case.bytes("filtered.pb"));
    let filtered = match protos::DeliverResponse::decode(bytes.clone()) {
        Ok(protos::DeliverResponse { r#type: Some(Type::FilteredBlock(filtered)) }) => filtered,
        _ => protos::FilteredBlock::decode(bytes).map_err(|error| error.to_string())?,
    };
    let expected = case.json("expected.filtered.json");
    compare("filtered", &shown_filtered(&filtered), &expected)?;
    let ours = block::filtered_block(&filtered.channel_id, block.raw()).map_err(|error| error.to_string())?;
    same("what we filter", &ours, &filtered)?;
    same("what we filter leniently", &block::filtered_block_leniently(&filtered.channel_id, block.raw()), &filtered)?;
    let without_payload = |mut event: ChaincodeEvent| {
        event.payload = Bytes::new();
        event
    };
    let whole: Vec<_> = chaincode_events(block.raw()).unwrap().into_iter().map(without_payload).collect();
    let found = filtered_events(&filtered).map_err(|error| error.to_string())?;
    same("events of the filtered block", &found, &whole)
}

fn shown_filtered(block: &protos::FilteredBlock) -> Value {
    use protos::filtered_transaction::Data;
    let mut shown = json!({"channel_id": block.channel_id});
    if block.number > 0 {
        shown["number"] = json!(block.number.to_string());
    }
    let transactions = block.filtered_transactions.iter().map(|item| {
        let mut shown = json!({"type": HeaderType::try_from(item.r#type).unwrap().as_str_name()});
        if !item.txid.is_empty() {
            shown["txid"] = json!(item.txid);
        }
        let code = ValidationCode::from(item.tx_validation_code);
        if !code.is_valid() {
            shown["tx_validation_code"] = json!(code.to_string());
        }
        if let Some(Data::TransactionActions(actions)) = &item.data {
            let events = actions.chaincode_actions.iter().map(|action| {
                let event = action.chaincode_event.clone().unwrap_or_default();
                let parts =
                    [("chaincode_id", event.chaincode_id), ("tx_id", event.tx_id), ("event_name", event.event_name)];
                let parts = parts.into_iter().filter(|(_, text)| !text.is_empty());
                let event: serde_json::Map<_, _> = parts.map(|(key, text)| (key.to_owned(), json!(text))).collect();
                json!({"chaincode_event": event})
            });
            let events: Vec<Value> = events.collect();
            shown["transaction_actions"] =
                if events.is_empty() { json!({}) } else { json!({"chaincode_actions": events}) };
        }
        shown
    });
    shown["filtered_transactions"] = transactions.collect();
    shown
}
