//! Certificates of an orderer's administration out of files, read again when they have changed.
//!
//! A module of its own because certificates are renewed while an agent runs, and a file may be half written when it is
//! looked at: what cannot be used does not take the place of what could.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::super::net::http::Http;
use super::super::net::{ClientTls, Endpoint, NetError, Tls};

/// Files with certificates, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities of the orderer's certificate.
    pub ca: PathBuf,
    /// The client's own certificate and its key, where the orderer asks for one.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// What was in the files.
struct Contents {
    ca: Bytes,
    client: Option<(Bytes, Zeroizing<Vec<u8>>)>,
}

impl TlsFiles {
    fn read(&self) -> std::io::Result<Contents> {
        let client = match &self.client {
            Some((certificate, key)) => Some((std::fs::read(certificate)?.into(), Zeroizing::new(std::fs::read(key)?))),
            None => None,
        };
        Ok(Contents { ca: std::fs::read(&self.ca)?.into(), client })
    }
}

impl Contents {
    /// Tells other contents.
    fn mark(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut take = |bytes: &[u8]| {
            hash.update(bytes.len().to_be_bytes());
            hash.update(bytes);
        };
        take(&self.ca);
        if let Some((certificate, key)) = &self.client {
            take(certificate);
            take(key);
        }
        hash.finalize().into()
    }

    fn tls(self) -> Result<Tls, NetError> {
        let client = self.client.map(|(certificate, key)| ClientTls::new(certificate, key.to_vec())).transpose()?;
        Ok(Tls { roots: self.ca, client: client.map(Arc::new) })
    }
}

/// How an orderer is reached.
#[derive(Clone)]
pub(super) struct Reach {
    endpoint: Endpoint,
    files: Option<TlsFiles>,
    known: Arc<Mutex<Known>>,
}

struct Known {
    mark: Option<[u8; 32]>,
    http: Http,
    client: Option<Arc<ClientTls>>,
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reach").field("endpoint", &self.endpoint).field("files", &self.files).finish_non_exhaustive()
    }
}

impl Reach {
    /// Checks the endpoint and dials nothing. With `files`, what they hold goes before the endpoint's own.
    pub(super) fn new(endpoint: &Endpoint, files: Option<TlsFiles>) -> Result<Self, NetError> {
        let client = endpoint.tls.as_ref().and_then(|tls| tls.client.clone());
        let known = Known { mark: None, http: Http::new(endpoint)?, client };
        Ok(Self { endpoint: endpoint.clone(), files, known: Arc::new(Mutex::new(known)) })
    }

    /// The way to the orderer by the certificates as they are now, and the client's own one.
    pub(super) fn now(&self) -> (Http, Option<Arc<ClientTls>>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = &self.files {
            match files.read() {
                Ok(contents) => {
                    let mark = contents.mark();
                    if known.mark != Some(mark) {
                        match self.renewed(contents) {
                            Ok((http, client)) => *known = Known { mark: Some(mark), http, client },
                            Err(error) => {
                                tracing::warn!(%error, "changed certificates are of no use; the old ones are kept");
                            }
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "certificates cannot be read; those known are kept"),
            }
        }
        (known.http.clone(), known.client.clone())
    }

    fn renewed(&self, contents: Contents) -> Result<(Http, Option<Arc<ClientTls>>), NetError> {
        let tls = contents.tls()?;
        let client = tls.client.clone();
        Ok((Http::new(&Endpoint { tls: Some(tls), ..self.endpoint.clone() })?, client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn renewed_files_are_taken_and_broken_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let write = |(certificate, key): &(String, String)| {
            std::fs::write(path("cert.pem"), certificate).unwrap();
            std::fs::write(path("key.pem"), key).unwrap();
        };
        let (ca, _) = pair("ca");
        std::fs::write(path("ca.pem"), ca).unwrap();
        let (first, second) = (pair("first"), pair("second"));
        write(&first);
        let files = TlsFiles { ca: path("ca.pem"), client: Some((path("cert.pem"), path("key.pem"))) };
        let endpoint = Endpoint { address: "localhost:1".to_owned(), tls: None, server_name: None };
        let reach = Reach::new(&endpoint, Some(files)).unwrap();
        let seen = || *reach.now().1.unwrap().certificate_hash();
        let before = seen();
        assert_eq!(seen(), before);
        // Half written.
        std::fs::write(path("cert.pem"), "-----BEGIN").unwrap();
        assert_eq!(seen(), before);
        std::fs::remove_file(path("ca.pem")).unwrap();
        assert_eq!(seen(), before);
        std::fs::write(path("ca.pem"), pair("ca").0).unwrap();
        write(&second);
        assert_ne!(seen(), before);
        assert!(!format!("{reach:?}").contains("PRIVATE KEY"));
    }
}
