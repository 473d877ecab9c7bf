//! Signatures of commits by OpenPGP keys.
//!
//! A module of its own because an OpenPGP key is a small file of statements about itself, and which of its parts may
//! sign follows from them: the newest statement of the key about itself counts, a part that signs must have agreed to
//! belong to the key, and a key that was revoked is refused altogether.
//!
//! Does not judge who a key belongs to: the operator listed it.
//!
//! Source: RFC 9580, sections 5.2, 10.1.

use std::time::{Duration, SystemTime};

use pgp::composed::{Deserializable as _, DetachedSignature, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{PublicKey, PublicSubkey, Signature, SignatureType};
use pgp::types::{KeyDetails as _, Tag, Timestamp};

use super::{SignatureError, Signer, reason};

/// A key, or a part of one, that may sign.
#[derive(Debug, Clone)]
pub(super) struct OpenPgpKey {
    key: Part,
    fingerprint: String,
    from: u64,
    /// The first second in which it may not.
    until: Option<u64>,
}

#[derive(Debug, Clone)]
enum Part {
    Primary(Box<PublicKey>),
    Sub(Box<PublicSubkey>),
}

impl OpenPgpKey {
    /// The parts that may sign, of all keys in a block of armour.
    pub(super) fn read(block: &str) -> Result<Vec<Self>, String> {
        let (keys, _) = SignedPublicKey::from_string_many(block).map_err(|error| reason(&error))?;
        let mut found = Vec::new();
        for key in keys {
            let key = key.map_err(|error| reason(&error))?;
            let fingerprint = key.primary_key.fingerprint();
            if !key.details.revocation_signatures.is_empty() {
                return Err(format!("key {fingerprint} was revoked"));
            }
            let parts = Self::parts(&key);
            if parts.is_empty() {
                return Err(format!("key {fingerprint} has no valid part that may sign"));
            }
            found.extend(parts);
        }
        if found.is_empty() { Err("there is no key in the block".to_owned()) } else { Ok(found) }
    }

    fn parts(key: &SignedPublicKey) -> Vec<Self> {
        let primary = &key.primary_key;
        let direct = key.details.direct_signatures.iter().filter(|found| found.verify_key(primary).is_ok());
        let certified = key.details.users.iter().flat_map(|user| {
            user.signatures.iter().filter(|found| {
                found.is_certification() && found.verify_certification(primary, Tag::UserId, &user.id).is_ok()
            })
        });
        // Without a valid statement about itself nothing is known of the key.
        let Some(newest) = newest(direct.chain(certified)) else { return Vec::new() };
        let flags = newest.key_flags();
        let from = seconds(primary.created_at());
        let until = until(from, newest);
        let mut parts = Vec::new();
        // Old keys say nothing of what they are for.
        let silent = !(flags.sign() || flags.certify() || flags.encrypt_comms() || flags.encrypt_storage());
        if (flags.sign() || silent) && primary.algorithm().can_sign() {
            let key = Part::Primary(Box::new(primary.clone()));
            parts.push(Self { key, fingerprint: shown(primary), from, until });
        }
        for sub in &key.public_subkeys {
            if let Some(binding) = binding(primary, sub) {
                let from = seconds(sub.key.created_at());
                // It does not outlive the key.
                let own = self::until(from, binding);
                let until = match (own, until) {
                    (Some(own), Some(until)) => Some(own.min(until)),
                    (own, until) => own.or(until),
                };
                let key = Part::Sub(Box::new(sub.key.clone()));
                parts.push(Self { key, fingerprint: shown(&sub.key), from, until });
            }
        }
        parts
    }

    fn verify(&self, signature: &Signature, signed: &[u8]) -> pgp::errors::Result<()> {
        match &self.key {
            Part::Primary(key) => signature.verify(key.as_ref(), signed),
            Part::Sub(key) => signature.verify(key.as_ref(), signed),
        }
    }

    /// Whether `signature` says to be by this key.
    fn is_named_by(&self, signature: &Signature) -> bool {
        let (fingerprint, id) = match &self.key {
            Part::Primary(key) => (key.fingerprint(), key.legacy_key_id()),
            Part::Sub(key) => (key.fingerprint(), key.legacy_key_id()),
        };
        signature.issuer_fingerprint().into_iter().any(|named| *named == fingerprint)
            || signature.issuer_key_id().into_iter().any(|named| *named == id)
    }
}

/// The newest statement that binds `sub` to its key, if it lets it sign and the part agreed.
fn binding<'a>(primary: &PublicKey, sub: &'a SignedPublicSubKey) -> Option<&'a Signature> {
    if sub.signatures.iter().any(|found| found.typ() == Some(SignatureType::SubkeyRevocation)) {
        return None;
    }
    let valid = sub.signatures.iter().filter(|found| found.verify_subkey_binding(primary, &sub.key).is_ok());
    let newest = newest(valid)?;
    let agreed = newest.embedded_signature()?;
    (newest.key_flags().sign() && agreed.verify_primary_key_binding(&sub.key, primary).is_ok()).then_some(newest)
}

fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    signatures.max_by_key(|found| found.created().map_or(0, Timestamp::as_secs))
}

fn seconds(time: Timestamp) -> u64 {
    u64::from(time.as_secs())
}

/// When a key that was made at `from` ends, by what `statement` says.
fn until(from: u64, statement: &Signature) -> Option<u64> {
    let lasts = u64::from(statement.key_expiration_time()?.as_secs());
    (lasts > 0).then_some(from + lasts)
}

fn shown(key: &impl pgp::types::KeyDetails) -> String {
    key.fingerprint().to_string().to_ascii_uppercase()
}

/// Whose of `keys` the armoured `signature` over `signed` is.
pub(super) fn signer(
    keys: &[OpenPgpKey],
    signed: &[u8],
    signature: &str,
    now: SystemTime,
) -> Result<Signer, SignatureError> {
    let unreadable = |reason: String| SignatureError::Unreadable { reason };
    let invalid = |reason: &str| SignatureError::Invalid { reason: reason.to_owned() };
    let (found, _) = DetachedSignature::from_string_many(signature).map_err(|error| unreadable(reason(&error)))?;
    let found: Result<Vec<_>, _> = found.collect();
    let found = found.map_err(|error| unreadable(reason(&error)))?;
    let [signature] = found.as_slice() else {
        return Err(unreadable("there are several, or none".to_owned()));
    };
    let signature = &signature.signature;
    if signature.typ() != Some(SignatureType::Binary) {
        return Err(invalid("it is not one over data"));
    }
    let strong = matches!(
        signature.hash_alg(),
        Some(
            HashAlgorithm::Sha256
                | HashAlgorithm::Sha384
                | HashAlgorithm::Sha512
                | HashAlgorithm::Sha224
                | HashAlgorithm::Sha3_256
                | HashAlgorithm::Sha3_512
        )
    );
    if !strong {
        return Err(invalid("it is over a hash that can be forged"));
    }
    let named: Vec<_> = keys.iter().filter(|key| key.is_named_by(signature)).collect();
    if named.is_empty() {
        let fingerprints = signature.issuer_fingerprint().into_iter().map(ToString::to_string);
        let ids = signature.issuer_key_id().into_iter().map(ToString::to_string);
        let key = fingerprints.chain(ids).next().unwrap_or_else(|| "it does not say which".to_owned());
        return Err(SignatureError::NotListed { key: key.to_ascii_uppercase() });
    }
    let Some(key) = named.into_iter().find(|key| key.verify(signature, signed).is_ok()) else {
        return Err(invalid("it does not belong to this commit"));
    };
    let made = signature.created().map(seconds).ok_or_else(|| invalid("it does not say when it was made"))?;
    let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if made < key.from || key.until.is_some_and(|until| made >= until) {
        return Err(invalid("it was made when the key was not valid"));
    }
    let lasts = signature.signature_expiration_time().map_or(0, |lasts| u64::from(lasts.as_secs()));
    if lasts > 0 && now >= made + lasts {
        return Err(invalid("it has expired"));
    }
    // Clocks differ a little.
    if made > now + Duration::from_hours(24).as_secs() {
        return Err(invalid("it was made in the future"));
    }
    Ok(Signer(key.fingerprint.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = include_str!("../../../../testdata/git-signatures/pgp-ed25519.asc");
    const COMMIT: &[u8] = include_bytes!("../../../../testdata/git-signatures/pgp-ed25519.commit");
    /// When that commit was signed.
    const MADE: u64 = 1_709_251_200;

    #[track_caller]
    fn check(change: impl FnOnce(&mut OpenPgpKey), now: u64, expected: &str) {
        let mut keys = OpenPgpKey::read(KEY).unwrap();
        change(&mut keys[0]);
        let parts = super::super::split(COMMIT).unwrap().unwrap();
        let signature = std::str::from_utf8(&parts.signature).unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
        let signer = signer(&keys, &parts.signed, signature, now);
        let shown = signer.map_or_else(|error| error.to_string(), |signer| signer.to_string());
        assert!(shown.contains(expected), "{shown}");
    }

    #[test]
    fn a_key_signs_while_it_is_valid() {
        check(|_| {}, MADE, "4A4AB7D9C6ACEF0ABFB3A8F1E570B6C8B1B1A59A");
        check(|key| key.until = Some(MADE + 1), MADE + 10, "4A4AB7D9C6ACEF0ABFB3A8F1E570B6C8B1B1A59A");
        check(|key| key.until = Some(MADE), MADE, "when the key was not valid");
        check(|key| key.from = MADE + 1, MADE, "when the key was not valid");
        check(|_| {}, MADE - 100_000, "in the future");
    }
}
