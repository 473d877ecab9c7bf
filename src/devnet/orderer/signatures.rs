//! The orderers' signatures over a block: one orderer's, or those of a quorum where orderers agree by BFT.
//!
//! A module of its own because the two look different: one names its signer by the whole identity, the others by the
//! numbers that the consenters have in the configuration. Also here: by what BFT's orderers know a message that another of
//! them has handed on already, as every client tells all of them.
//!
//! Source: Fabric 3.1.5 `orderer/consensus/smartbft/{assembler,signer,verifier}.go`, `common/policies/bft.go`; `SmartBFT`
//! `internal/bft/requestpool.go`.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::chain::BlockSigner;
use crate::devnet::access::Access;
use crate::fabric::block::header_der;
use crate::fabric::config::edit::bft_quorum;
use crate::fabric::identity::SignError;
use crate::pb::common::{BlockHeader, Envelope, IdentifierHeader, Metadata, MetadataSignature, SignatureHeader};

/// An orderer that signs a block, and its number where it has one.
pub(super) type Numbered = (Option<u32>, BlockSigner);

/// Whether the orderers agree by BFT.
pub(super) fn is_bft(access: &Access) -> bool {
    access.consensus().kind == "BFT"
}

/// Those of `signers` that sign the block with `number`: a quorum of the consenters, of those that are up in turn. `None`
/// when there are not enough.
pub(super) fn quorum(access: &Access, signers: &[BlockSigner], number: u64) -> Option<Vec<Numbered>> {
    let consenters = access.channel_config().consenters();
    let mut up: Vec<Numbered> = consenters
        .iter()
        .filter_map(|(id, consenter)| {
            let is_its = |signer: &&BlockSigner| signer.signer.creator() == consenter.creator();
            let signer = signers.iter().find(is_its).filter(|signer| signer.up.load(Ordering::Relaxed))?;
            Some((Some(*id), signer.clone()))
        })
        .collect();
    let needed = bft_quorum(consenters.len());
    if up.is_empty() || up.len() < needed {
        return None;
    }
    let first = usize::try_from(number).unwrap_or_default() % up.len();
    up.rotate_left(first);
    up.truncate(needed);
    Some(up)
}

/// The signatures of all `signers` over a block and the note beside it.
pub(super) async fn sign(signers: &[Numbered], value: Vec<u8>, header: &BlockHeader) -> Result<Metadata, SignError> {
    let header = header_der(header);
    let mut signatures = Vec::new();
    for (number, signer) in signers {
        let named = match number {
            Some(identifier) => IdentifierHeader { identifier: *identifier, nonce: nonce() }.encode_to_vec(),
            None => signature_header(signer).encode_to_vec(),
        };
        let signature = signer.signer.sign(&[&value[..], &named[..], &header[..]].concat()).await?;
        let mut signed = MetadataSignature { signature, ..MetadataSignature::default() };
        match number {
            Some(_) => signed.identifier_header = named.into(),
            None => signed.signature_header = named.into(),
        }
        signatures.push(signed);
    }
    Ok(Metadata { value: value.into(), signatures })
}

pub(super) fn signature_header(signer: &BlockSigner) -> SignatureHeader {
    SignatureHeader { creator: signer.signer.creator().clone(), nonce: nonce() }
}

/// A block's signature needs a nonce for its form only; the time makes it differ from others.
fn nonce() -> bytes::Bytes {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    [now.as_nanos().to_be_bytes().as_slice(), &[0; 8]].concat().into()
}

/// How many messages are remembered.
const REMEMBERED: usize = 10_000;

/// The messages that came of late.
#[derive(Debug, Default)]
pub(super) struct Recent {
    known: HashSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

impl Recent {
    /// Whether the message came before.
    pub(super) fn contains(&self, envelope: &Envelope) -> bool {
        self.known.contains(&digest(envelope))
    }

    /// Remembers a message; whether it is a new one.
    pub(super) fn insert(&mut self, envelope: &Envelope) -> bool {
        let digest = digest(envelope);
        if !self.known.insert(digest) {
            return false;
        }
        self.order.push_back(digest);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

fn digest(envelope: &Envelope) -> [u8; 32] {
    Sha256::digest(envelope.encode_to_vec()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_known_for_a_while() {
        let envelope = |number: u32| Envelope { payload: number.to_be_bytes().to_vec().into(), ..Envelope::default() };
        let mut recent = Recent::default();
        for number in 0..=u32::try_from(REMEMBERED).unwrap() {
            assert!(!recent.contains(&envelope(number)));
            assert!(recent.insert(&envelope(number)));
            assert!(!recent.insert(&envelope(number)), "it came before");
        }
        assert!(!recent.contains(&envelope(0)), "the oldest one is forgotten");
        assert!(recent.contains(&envelope(1)));
        assert_eq!(recent.known.len(), REMEMBERED);
    }
}
