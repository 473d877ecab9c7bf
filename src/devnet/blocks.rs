//! Hashes of blocks, and what their metadata hold.
//!
//! A module of its own because orderers make what peers check.
//!
//! Source: Fabric 3.1.5 `protoutil/blockutils.go`: the header is hashed as ASN.1 DER.

use sha2::{Digest as _, Sha256};

use crate::pb::common::BlockHeader;

/// The hash of a header, which the next block names as its predecessor.
pub(crate) fn header_hash(header: &BlockHeader) -> Vec<u8> {
    Sha256::digest(header_der(header)).to_vec()
}

/// The header as the orderer signs it.
pub(crate) fn header_der(header: &BlockHeader) -> Vec<u8> {
    let mut content = der_integer(header.number);
    for bytes in [&header.previous_hash, &header.data_hash] {
        content.push(0x04);
        der_length(&mut content, bytes.len());
        content.extend_from_slice(bytes);
    }
    let mut der = vec![0x30];
    der_length(&mut der, content.len());
    der.extend(content);
    der
}

/// The hash of a block's transactions.
pub(crate) fn data_hash<'a>(data: impl IntoIterator<Item = &'a bytes::Bytes>) -> Vec<u8> {
    let mut hash = Sha256::new();
    for envelope in data {
        hash.update(envelope);
    }
    hash.finalize().to_vec()
}

fn der_integer(number: u64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
    let mut value = bytes[first..].to_vec();
    if value[0] & 0x80 != 0 {
        value.insert(0, 0);
    }
    let mut der = vec![0x02];
    der_length(&mut der, value.len());
    der.extend(value);
    der
}

fn der_length(der: &mut Vec<u8>, length: usize) {
    if let (true, Ok(short)) = (length < 0x80, u8::try_from(length)) {
        der.push(short);
        return;
    }
    let bytes = length.to_be_bytes();
    let significant = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(0)..];
    der.push(0x80 | u8::try_from(significant.len()).unwrap_or(0));
    der.extend_from_slice(significant);
}
