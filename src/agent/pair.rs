//! A certificate with its private key, out of two files, as servers of this agent show them.
//!
//! A module of its own because several servers show one, and files are renewed one after the other: what does not fit
//! together must be told from what does before a server begins anew with it.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Both, which fit together.
pub(super) struct Pair {
    /// The certificate, and after it those of authorities, in PEM.
    pub(super) certificate: Vec<u8>,
    /// The private key, in PEM.
    pub(super) key: Zeroizing<Vec<u8>>,
    /// What is in `certificate`.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// For a server without clients' certificates.
    pub(super) config: ServerConfig,
}

impl Pair {
    /// Reads and checks both.
    ///
    /// # Errors
    /// What is wrong with them, such as that the key is another certificate's.
    pub(super) fn read(certificate: &Path, key: &Path) -> Result<Self, String> {
        let open = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
        let (cert_pem, key_pem) = (open(certificate)?, Zeroizing::new(open(key)?));
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&cert_pem)
            .collect::<Result<_, _>>()
            .map_err(|_| format!("{} is not PEM", certificate.display()))?;
        if chain.is_empty() {
            return Err(format!("{} holds no certificate", certificate.display()));
        }
        let private =
            PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| format!("{} holds no private key", key.display()))?;
        let unfit = |error: rustls::Error| format!("{} and {}: {error}", certificate.display(), key.display());
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unfit)?
            .with_no_client_auth()
            .with_single_cert(chain.clone(), private)
            .map_err(unfit)?;
        Ok(Self { certificate: cert_pem, key: key_pem, chain, config })
    }

    /// By which it is told from another one.
    pub(super) fn digest(&self) -> [u8; 32] {
        Sha256::new().chain_update(&self.certificate).chain_update(&*self.key).finalize().into()
    }
}
