//! The certificates that the system trusts, and those of files.
//!
//! Here, below every room that speaks TLS with servers of the world, because a static binary has no library that would
//! know where they are.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Where systems keep the certificates that everybody trusts, as one file.
const FILES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The certificates that the system trusts; none where it keeps none.
pub(crate) fn system_roots() -> RootCertStore {
    let mut store = RootCertStore::empty();
    for path in FILES {
        let Ok(pem) = std::fs::read(path) else { continue };
        // A system may trust certificates that are none to us: the others still count.
        store.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
        if !store.is_empty() {
            break;
        }
    }
    store
}

/// The certificates of a file, in PEM.
///
/// # Errors
/// That the file cannot be read, or holds none.
pub(crate) fn roots_of(path: &Path) -> Result<RootCertStore, String> {
    let shown = path.display();
    let pem = std::fs::read(path).map_err(|error| format!("{shown}: {error}"))?;
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
    if store.is_empty() { Err(format!("{shown} holds no usable certificate")) } else { Ok(store) }
}
