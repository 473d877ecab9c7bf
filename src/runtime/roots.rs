//! The certificates that the system trusts.
//!
//! Here, below every room that speaks TLS with servers of the world, because a static binary has no library that would
//! know where they are.

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
