//! What orderers and peers write beside a block: signatures, the last configuration, the commit hash.

use bytes::Bytes;

use super::{BlockError, header_der};
use crate::fabric::names::BlockNumber;
use crate::pb::common::{self, BlockMetadataIndex, LastConfig, Metadata, OrdererBlockMetadata, SignatureHeader};

/// One orderer's signature over a block.
#[derive(Debug, Clone)]
pub struct BlockSignature {
    /// The orderer's serialized identity; empty where the signature names a consenter by number.
    pub creator: Bytes,
    /// The consenter's number, for BFT blocks.
    pub consenter: Option<u32>,
    /// What was signed.
    pub signed: Bytes,
    /// The signature.
    pub signature: Bytes,
}

/// So many bytes are signed in one block, all signatures together: far more than a thousand orderers would.
const MOST_SIGNED: usize = 64 << 20;

fn part(block: &common::Block, index: BlockMetadataIndex) -> Option<&Bytes> {
    block.metadata.as_ref()?.metadata.get(index as usize)
}

fn decode<M: prost::Message + Default>(what: &'static str, bytes: &Bytes) -> Result<M, BlockError> {
    M::decode(bytes.clone()).map_err(|error| BlockError::malformed(what, &error))
}

/// The orderers' signatures, each with the very bytes that it covers.
///
/// # Errors
/// [`BlockError`] when the metadata cannot be read.
pub fn signatures(block: &common::Block) -> Result<Vec<BlockSignature>, BlockError> {
    let Some(bytes) = part(block, BlockMetadataIndex::Signatures) else { return Ok(Vec::new()) };
    let header = block.header.as_ref().ok_or(BlockError::Missing { number: 0, what: "header" })?;
    let metadata: Metadata = decode("block signatures", bytes)?;
    let header = header_der(header);
    // Every signature covers the same bytes again: a block of a few megabytes could ask for terabytes.
    if metadata.signatures.len().saturating_mul(metadata.value.len() + header.len()) > MOST_SIGNED {
        let reason = format!("{} are too many", metadata.signatures.len());
        return Err(BlockError::Malformed { what: "block signatures", reason });
    }
    metadata
        .signatures
        .into_iter()
        .map(|item| {
            let by_number: Option<common::IdentifierHeader> = (item.signature_header.is_empty()
                && !item.identifier_header.is_empty())
            .then(|| decode("identifier header", &item.identifier_header))
            .transpose()?;
            let (creator, named) = if by_number.is_some() {
                (Bytes::new(), &item.identifier_header)
            } else {
                let signer: SignatureHeader = decode("signature header", &item.signature_header)?;
                (signer.creator, &item.signature_header)
            };
            Ok(BlockSignature {
                creator,
                consenter: by_number.map(|identifier| identifier.identifier),
                signed: [metadata.value.as_ref(), named, &header].concat().into(),
                signature: item.signature,
            })
        })
        .collect()
}

/// The newest configuration block up to this one. Block 0 has no such note: it is its own.
///
/// # Errors
/// [`BlockError`] when the metadata cannot be read or says nothing.
pub fn last_config(block: &common::Block) -> Result<BlockNumber, BlockError> {
    let number = block.header.as_ref().map_or(0, |header| header.number);
    if let Some(bytes) = part(block, BlockMetadataIndex::Signatures) {
        let metadata: Metadata = decode("block signatures", bytes)?;
        let orderer: OrdererBlockMetadata = decode("orderer metadata", &metadata.value)?;
        if let Some(LastConfig { index }) = orderer.last_config {
            return Ok(index);
        }
    }
    // Where blocks of before Fabric 1.4.1 keep it.
    #[allow(deprecated)]
    if let Some(bytes) = part(block, BlockMetadataIndex::LastConfig).filter(|bytes| !bytes.is_empty()) {
        let metadata: Metadata = decode("last configuration", bytes)?;
        return Ok(decode::<LastConfig>("last configuration", &metadata.value)?.index);
    }
    if number == 0 { Ok(0) } else { Err(BlockError::Missing { number, what: "note of the last configuration block" }) }
}

/// The peer's running hash over all its commits; `None` where the peer keeps none.
///
/// # Errors
/// [`BlockError`] when the metadata cannot be read.
pub fn commit_hash(block: &common::Block) -> Result<Option<Bytes>, BlockError> {
    part(block, BlockMetadataIndex::CommitHash)
        .filter(|bytes| !bytes.is_empty())
        .map(|bytes| decode::<Metadata>("commit hash", bytes).map(|metadata| metadata.value))
        .transpose()
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn signatures_do_not_swell() {
        // Two megabytes that once became two hundred gigabytes.
        let metadata = Metadata {
            value: vec![7; 1 << 20].into(),
            signatures: vec![common::MetadataSignature::default(); 200_000],
        };
        let block = common::Block {
            header: Some(common::BlockHeader::default()),
            data: None,
            metadata: Some(common::BlockMetadata { metadata: vec![metadata.encode_to_vec().into()] }),
        };
        assert!(matches!(signatures(&block), Err(BlockError::Malformed { what: "block signatures", .. })));
    }
}
