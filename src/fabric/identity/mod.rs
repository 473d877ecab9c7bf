//! Identities: who signs, and whose signatures count.

mod certificate;
mod curve;
pub(crate) mod der;
mod error;
mod external;
mod key;
mod msp;
mod offline;
pub(crate) mod pem;
mod signer;
mod signing;
#[cfg(test)]
mod tests;

pub use certificate::Certificate;
pub use curve::Curve;
pub use error::IdentityError;
pub use external::{ExternalSigner, SignRequest};
pub use key::{KeyError, PrivateKey, PublicKey, SignatureHash, ski};
pub use msp::{Identity, Msp, MspError, MspFolder, MspVersion, Role};
pub use offline::OfflineIdentity;
pub use signer::{SignError, SignFuture, Signer};
pub use signing::{Creator, SigningIdentity};
