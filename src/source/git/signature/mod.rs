//! Whether a commit was signed by somebody whom the operator trusts.
//!
//! A module of its own because nothing here comes from a server's word: the bytes of the commit are taken apart as git
//! does, and the signature over them must be by one of the keys that the operator listed. Keys of OpenPGP and of SSH
//! are known, those that git itself can sign with; certificates of X.509 and of SSH are not.
//!
//! Source: Git's `gitformat-signature(5)`, OpenSSH's `PROTOCOL.sshsig` and `ssh-keygen(1)` (allowed signers), RFC 9580.

mod openpgp;

use std::fmt;
use std::time::SystemTime;

use ssh_key::{Algorithm, HashAlg, PublicKey, SshSig};

use super::repository::shown;
use super::{GitError, text};
use openpgp::OpenPgpKey;

/// What signatures by SSH keys say they are for.
const SSH_NAMESPACE: &str = "git";
/// No signature is longer.
const LONGEST_SIGNATURE: usize = 64 * 1024;
const PGP_BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const PGP_END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// Why a commit does not count as signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// There is no signature.
    #[error("the commit is not signed")]
    Unsigned,
    /// The signature cannot be read, or is of a kind that is not known here.
    #[error("the commit's signature cannot be read: {reason}")]
    Unreadable {
        /// What is wrong.
        reason: String,
    },
    /// It is by a key that is not listed.
    #[error("the commit is signed by a key that is not listed: {key}")]
    NotListed {
        /// The key, as far as the signature tells.
        key: String,
    },
    /// It is not by the key that it names, or that key must not be used.
    #[error("the commit's signature is not valid: {reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
}

/// Who signed: the fingerprint of a listed key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer(String);

impl Signer {
    /// The fingerprint, as `gpg` or `ssh-keygen` write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The keys that an operator trusts.
#[derive(Debug, Clone, Default)]
pub struct SigningKeys {
    openpgp: Vec<OpenPgpKey>,
    ssh: Vec<PublicKey>,
}

impl SigningKeys {
    /// Reads keys out of text: blocks of OpenPGP public keys in armour (`gpg --export --armor`), and lines with SSH keys
    /// as in `authorized_keys` or git's allowed signers. Empty lines and those after `#` are left out.
    ///
    /// # Errors
    /// [`GitError::Settings`] names what cannot be used; a key that was revoked is such.
    pub fn parse(text: &str) -> Result<Self, GitError> {
        let mut keys = Self::default();
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let line = line.trim();
            let refuse =
                |reason: String| GitError::Settings { reason: format!("signing keys, line {}: {reason}", number + 1) };
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line == PGP_BEGIN {
                let mut block = format!("{line}\n");
                let ended = lines.by_ref().any(|(_, line)| {
                    block.push_str(line.trim_end());
                    block.push('\n');
                    line.trim() == PGP_END
                });
                if !ended {
                    return Err(refuse("the block has no end".to_owned()));
                }
                keys.openpgp.extend(OpenPgpKey::read(&block).map_err(refuse)?);
            } else {
                keys.ssh.push(ssh(line).map_err(|reason| refuse(reason.to_owned()))?);
            }
        }
        Ok(keys)
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.openpgp.is_empty() && self.ssh.is_empty()
    }

    /// All keys together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.openpgp.extend(other.openpgp);
        self.ssh.extend(other.ssh);
        self
    }

    /// Who signed `commit`, the bytes of a commit object.
    ///
    /// # Errors
    /// [`SignatureError`] when it was nobody of these.
    pub fn signer(&self, commit: &[u8]) -> Result<Signer, SignatureError> {
        let unreadable = |reason: &str| SignatureError::Unreadable { reason: reason.to_owned() };
        let Parts { signed, signature } = split(commit)?.ok_or(SignatureError::Unsigned)?;
        let signature = std::str::from_utf8(&signature).map_err(|_| unreadable("it is no text"))?;
        if signature.starts_with("-----BEGIN SSH SIGNATURE-----") {
            self.ssh_signer(&signed, signature)
        } else if signature.starts_with("-----BEGIN PGP SIGNATURE-----") {
            openpgp::signer(&self.openpgp, &signed, signature, SystemTime::now())
        } else {
            Err(unreadable("only OpenPGP and SSH are known"))
        }
    }

    fn ssh_signer(&self, signed: &[u8], signature: &str) -> Result<Signer, SignatureError> {
        let signature =
            SshSig::from_pem(signature).map_err(|error| SignatureError::Unreadable { reason: text::chain(&error) })?;
        let fingerprint = signature.public_key().fingerprint(HashAlg::Sha256).to_string();
        let key = self.ssh.iter().find(|key| key.key_data() == signature.public_key());
        let key = key.ok_or_else(|| SignatureError::NotListed { key: fingerprint.clone() })?;
        key.verify(SSH_NAMESPACE, signed, &signature)
            .map_err(|error| SignatureError::Invalid { reason: text::chain(&error) })?;
        Ok(Signer(fingerprint))
    }
}

/// The key in a line of `authorized_keys` or of allowed signers.
fn ssh(line: &str) -> Result<PublicKey, &'static str> {
    let known = |word: &str| ["ssh-", "ecdsa-", "sk-"].iter().any(|start| word.starts_with(start));
    // Names and options stand before the kind of key, and options may hold blanks in quotes.
    let at = if known(line) {
        Some(0)
    } else {
        line.match_indices(' ').map(|(at, _)| at + 1).find(|at| known(&line[*at..]))
    };
    let at = at.ok_or("there is no key of OpenPGP or SSH")?;
    for option in line[..at].split_whitespace().skip(1) {
        // Whoever wrote an option relies on it.
        if option != "namespaces=\"git\"" {
            return Err("options of allowed signers other than namespaces=\"git\" are not supported");
        }
    }
    if line[..at].contains("cert-authority") {
        return Err("certificates of SSH are not supported");
    }
    let key = PublicKey::from_openssh(&line[at..]).map_err(|_| "the SSH key cannot be read")?;
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. } => Ok(key),
        _ => Err("only SSH keys of Ed25519, ECDSA and RSA are supported"),
    }
}

/// A commit taken apart.
struct Parts {
    /// What was signed.
    signed: Vec<u8>,
    signature: Vec<u8>,
}

/// Takes the bytes of a commit apart, as git does; nothing where it is not signed.
fn split(commit: &[u8]) -> Result<Option<Parts>, SignatureError> {
    let unreadable = |reason: &str| SignatureError::Unreadable { reason: reason.to_owned() };
    let mut signed = Vec::with_capacity(commit.len());
    let mut signature: Option<Vec<u8>> = None;
    let (mut rest, mut within, mut within_other) = (commit, false, false);
    while !rest.is_empty() && !rest.starts_with(b"\n") {
        let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        let (line, tail) = rest.split_at(end);
        rest = tail;
        if let Some(continued) = line.strip_prefix(b" ") {
            match &mut signature {
                Some(signature) if within => signature.extend_from_slice(continued),
                _ if within_other => {}
                _ => signed.extend_from_slice(line),
            }
            continue;
        }
        (within, within_other) = (false, false);
        if let Some(first) = line.strip_prefix(b"gpgsig ") {
            if signature.is_some() {
                return Err(unreadable("there are several"));
            }
            signature = Some(first.to_vec());
            within = true;
        } else if line.starts_with(b"gpgsig") {
            // The one for another kind of hashes.
            within_other = true;
        } else {
            signed.extend_from_slice(line);
        }
    }
    signed.extend_from_slice(rest);
    match signature {
        Some(signature) if signature.len() > LONGEST_SIGNATURE => Err(unreadable("it is too long")),
        signature => Ok(signature.map(|signature| Parts { signed, signature })),
    }
}

/// What a library says about a signature, short enough.
fn reason(error: &pgp::errors::Error) -> String {
    shown(&error.to_string())
}

#[cfg(test)]
mod tests;
