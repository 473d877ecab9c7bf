//! Why an identity cannot be had from what was given.

use std::path::PathBuf;
use std::sync::Arc;

use super::KeyError;

/// Why bytes or files are no identity.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// There is no PEM block where a certificate should be.
    #[error("certificate is not PEM")]
    NotPem,
    /// The certificate cannot be read.
    #[error("certificate cannot be used: {reason}")]
    Certificate {
        /// What is wrong with it.
        reason: String,
    },
    /// The private key cannot be used.
    #[error("private key cannot be used")]
    Key(#[from] KeyError),
    /// The private key belongs to another certificate.
    #[error("private key is not that of the certificate of {subject}")]
    KeyOfAnother {
        /// Whose certificate it is.
        subject: String,
    },
    /// No file of the keystore is the certificate's key.
    #[error("no key in {} belongs to the certificate of {subject}", path.display())]
    NoKey {
        /// Whose certificate it is.
        subject: String,
        /// The keystore.
        path: PathBuf,
    },
    /// A `msp.SerializedIdentity` cannot be read.
    #[error("creator is malformed: {reason}")]
    Creator {
        /// What is wrong with it.
        reason: String,
    },
    /// A folder is no MSP folder, or its authorities did not sign its certificate.
    #[error("MSP folder {} cannot be used: {reason}", path.display())]
    Folder {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// A folder holds nothing of use.
    #[error("no usable file in {}", path.display())]
    Nothing {
        /// Which one.
        path: PathBuf,
    },
    /// A folder should hold one file and holds several.
    #[error("{count} files in {}, expected one", path.display())]
    Ambiguous {
        /// Which one.
        path: PathBuf,
        /// How many.
        count: usize,
    },
}
