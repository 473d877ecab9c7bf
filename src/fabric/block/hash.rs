//! The two hashes that chain blocks together.

use sha2::{Digest as _, Sha256};

use crate::pb::common::{BlockData, BlockHeader};

/// The header in the form that is hashed and signed: an ASN.1 sequence of number, previous hash and data hash.
pub fn header_der(header: &BlockHeader) -> Vec<u8> {
    use crate::fabric::identity::der;
    let contents = [
        der::write_integer(&header.number.to_be_bytes()),
        der::write(der::OCTET_STRING, &header.previous_hash),
        der::write(der::OCTET_STRING, &header.data_hash),
    ]
    .concat();
    der::write(der::SEQUENCE, &contents)
}

/// The hash of a header: the identity of the block.
pub fn header_hash(header: &BlockHeader) -> [u8; 32] {
    Sha256::digest(header_der(header)).into()
}

/// The hash of the transactions: over their bytes one after the other, without lengths between them.
pub fn data_hash(data: &BlockData) -> [u8; 32] {
    data.data.iter().fold(Sha256::new(), Sha256::chain_update).finalize().into()
}
