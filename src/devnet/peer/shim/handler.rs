//! What a peer does upon the messages of a chaincode.
//!
//! Not here: the stream itself, and which transaction a message belongs to ([`connection`](super::connection)).
//!
//! Invariant: every message gets exactly one answer, whatever its bytes are.
//!
//! Source: Fabric 3.1.5 `core/chaincode/handler.go`, `fabric-protos/peer/chaincode_shim.proto`.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use prost::Message;

use super::queries::{Queries, Source, TOTAL_LIMIT};
use crate::devnet::peer::context::{Refused, TransactionContext};
use crate::pb::protos::chaincode_message::Type;
use crate::pb::protos::{self, ChaincodeMessage, write_record};
use crate::pb::queryresult;

/// The largest number of writes, and of keys, that a chaincode may put into one message.
const MAX_BATCH: u32 = 1000;

/// What a peer says of itself with `READY`.
pub(super) fn additional_params() -> protos::ChaincodeAdditionalParams {
    protos::ChaincodeAdditionalParams {
        use_write_batch: true,
        max_size_write_batch: MAX_BATCH,
        use_get_multiple_keys: true,
        max_size_get_multiple_keys: MAX_BATCH,
    }
}

/// Whether `kind` is a request that [`answer`] knows.
pub(super) fn is_request(kind: Type) -> bool {
    matches!(
        kind,
        Type::PutState
            | Type::DelState
            | Type::InvokeChaincode
            | Type::GetState
            | Type::GetStateByRange
            | Type::GetQueryResult
            | Type::GetHistoryForKey
            | Type::QueryStateNext
            | Type::QueryStateClose
            | Type::GetPrivateDataHash
            | Type::GetStateMetadata
            | Type::PutStateMetadata
            | Type::PurgePrivateData
            | Type::WriteBatchState
            | Type::GetStateMultiple
    )
}

/// Answers a request of a chaincode within the transaction of `context`.
pub(super) async fn answer(
    kind: Type,
    message: &ChaincodeMessage,
    context: &Arc<dyn TransactionContext>,
    queries: &Mutex<Queries>,
) -> ChaincodeMessage {
    let payload = if kind == Type::InvokeChaincode {
        invoke(message, &**context).await
    } else {
        let mut queries = queries.lock().unwrap_or_else(PoisonError::into_inner);
        state(kind, &message.payload, &**context, &mut queries)
    };
    reply(message, payload.map_err(|error| failed(kind, &message.txid, error)))
}

/// A failed request as the chaincode hears of it.
pub(super) fn failed(kind: Type, tx_id: &str, error: Refused) -> Refused {
    error.context(format_args!("{} failed: transaction ID: {tx_id}", kind.as_str_name()))
}

/// The answer to `message`.
pub(super) fn reply(message: &ChaincodeMessage, result: Result<Bytes, Refused>) -> ChaincodeMessage {
    let (kind, payload) = match result {
        Ok(payload) => (Type::Response, payload),
        Err(error) => (Type::Error, Bytes::from(error.0)),
    };
    ChaincodeMessage {
        r#type: kind.into(),
        payload,
        txid: message.txid.clone(),
        channel_id: message.channel_id.clone(),
        ..ChaincodeMessage::default()
    }
}

fn decode<M: Message + Default>(payload: &Bytes) -> Result<M, Refused> {
    M::decode(payload.clone()).map_err(|error| Refused(format!("unmarshal failed: {error}")))
}

fn state(
    kind: Type,
    payload: &Bytes,
    context: &dyn TransactionContext,
    queries: &mut Queries,
) -> Result<Bytes, Refused> {
    match kind {
        Type::GetState => {
            let get: protos::GetState = decode(payload)?;
            Ok(context.get(&get.collection, &get.key)?.unwrap_or_default())
        }
        Type::GetStateMultiple => {
            let get: protos::GetStateMultiple = decode(payload)?;
            let values = context.get_multiple(&get.collection, &get.keys)?;
            let values = values.into_iter().map(Option::unwrap_or_default).collect();
            Ok(protos::GetStateMultipleResult { values }.encode_to_vec().into())
        }
        Type::GetPrivateDataHash => {
            let get: protos::GetState = decode(payload)?;
            Ok(context.private_hash(&get.collection, &get.key)?.unwrap_or_default())
        }
        Type::PutState => {
            let put: protos::PutState = decode(payload)?;
            context.put(&put.collection, &put.key, put.value)?;
            Ok(Bytes::new())
        }
        Type::DelState => {
            let delete: protos::DelState = decode(payload)?;
            context.delete(&delete.collection, &delete.key)?;
            Ok(Bytes::new())
        }
        Type::WriteBatchState => write_batch(&decode(payload)?, context),
        Type::GetStateByRange => range(&decode(payload)?, context, queries),
        Type::QueryStateNext => {
            let next: protos::QueryStateNext = decode(payload)?;
            Ok(queries.next(&next.id, context)?.encode_to_vec().into())
        }
        Type::QueryStateClose => {
            let close: protos::QueryStateClose = decode(payload)?;
            Ok(queries.close(&close.id).encode_to_vec().into())
        }
        Type::GetHistoryForKey => {
            let get: protos::GetHistoryForKey = decode(payload)?;
            let found = context.history(&get.key)?.into_iter().map(|modification| {
                let is_delete = modification.value.is_none();
                let modification = queryresult::KeyModification {
                    tx_id: modification.tx_id,
                    value: modification.value.unwrap_or_default(),
                    timestamp: modification.timestamp,
                    is_delete,
                };
                Bytes::from(modification.encode_to_vec())
            });
            Ok(queries.open(Source::Found(found.collect()), context)?.encode_to_vec().into())
        }
        Type::GetStateMetadata => {
            let get: protos::GetStateMetadata = decode(payload)?;
            let entries = context.metadata(&get.collection, &get.key)?.into_iter();
            let entries = entries.map(|(metakey, value)| protos::StateMetadata { metakey, value }).collect();
            Ok(protos::StateMetadataResult { entries }.encode_to_vec().into())
        }
        Type::PutStateMetadata => {
            let put: protos::PutStateMetadata = decode(payload)?;
            let protos::StateMetadata { metakey, value } = put.metadata.unwrap_or_default();
            context.put_metadata(&put.collection, &put.key, metakey, value)?;
            Ok(Bytes::new())
        }
        Type::PurgePrivateData => {
            let purge: protos::DelState = decode(payload)?;
            context.purge(&purge.collection, &purge.key)?;
            Ok(Bytes::new())
        }
        Type::GetQueryResult => {
            let query: protos::GetQueryResult = decode(payload)?;
            let metadata: protos::QueryMetadata = decode(&query.metadata)?;
            Err(context.rich_query(&query.collection, asks_for_page(&metadata)))
        }
        _ => Err(Refused::new("unexpected message")),
    }
}

fn write_batch(batch: &protos::WriteBatchState, context: &dyn TransactionContext) -> Result<Bytes, Refused> {
    for record in &batch.rec {
        let (collection, key) = (&record.collection, &record.key);
        match record.r#type() {
            write_record::Type::PutState => context.put(collection, key, record.value.clone())?,
            write_record::Type::DelState => context.delete(collection, key)?,
            write_record::Type::PurgePrivateData => context.purge(collection, key)?,
            write_record::Type::PutStateMetadata => {
                let protos::StateMetadata { metakey, value } = record.metadata.clone().unwrap_or_default();
                context.put_metadata(collection, key, metakey, value)?;
            }
            write_record::Type::Undefined => return Err(Refused::new("unknown operation type")),
        }
    }
    Ok(Bytes::new())
}

fn asks_for_page(metadata: &protos::QueryMetadata) -> bool {
    metadata.page_size != 0 || !metadata.bookmark.is_empty()
}

fn range(
    range: &protos::GetStateByRange,
    context: &dyn TransactionContext,
    queries: &mut Queries,
) -> Result<Bytes, Refused> {
    let metadata: protos::QueryMetadata = decode(&range.metadata)?;
    let response = if range.collection.is_empty() && asks_for_page(&metadata) {
        let start = if metadata.bookmark.is_empty() { &range.start_key } else { &metadata.bookmark };
        // A page of no size is as large as any query may be.
        let size = usize::try_from(metadata.page_size).ok().filter(|size| *size > 0);
        let cursor = context.open_page(start, &range.end_key, size.unwrap_or(usize::MAX))?;
        queries.page(cursor, size.unwrap_or(TOTAL_LIMIT).min(TOTAL_LIMIT), context)?
    } else {
        let cursor = context.open_range(&range.collection, &range.start_key, &range.end_key)?;
        queries.open(Source::Cursor(cursor), context)?
    };
    Ok(response.encode_to_vec().into())
}

/// The called chaincode's own answer travels inside, as the message it would have sent.
async fn invoke(message: &ChaincodeMessage, context: &dyn TransactionContext) -> Result<Bytes, Refused> {
    let spec: protos::ChaincodeSpec = decode(&message.payload)?;
    let name = spec.chaincode_id.ok_or_else(|| Refused::new("no chaincode is named"))?.name;
    let answer = context.invoke(&name, spec.input.unwrap_or_default()).await?;
    let inside = ChaincodeMessage {
        r#type: Type::Completed.into(),
        payload: answer.response.encode_to_vec().into(),
        txid: message.txid.clone(),
        channel_id: message.channel_id.clone(),
        chaincode_event: answer.event,
        ..ChaincodeMessage::default()
    };
    Ok(inside.encode_to_vec().into())
}
