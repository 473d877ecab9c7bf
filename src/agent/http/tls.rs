//! The certificate that the HTTP service shows, taken over anew when its files change.
//!
//! A module of its own because certificates are renewed while the agent runs: whoever connects after that is shown the
//! new one. A pair of files that does not fit together, as while one of them is being replaced, changes nothing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::agent::pair::Pair;

/// How often the files are looked at, at most.
const LOOK: Duration = Duration::from_secs(5);

/// A certificate and its key, in files.
pub(super) struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    current: Mutex<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    stamps: [Stamp; 2],
    looked: Instant,
}

/// By which a file that was replaced is told from the one before.
type Stamp = Option<(SystemTime, u64)>;

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

impl Certificate {
    /// Reads both files.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn load(cert: &Path, key: &Path) -> Result<Self, String> {
        let stamps = [stamp(cert), stamp(key)];
        let current = Mutex::new(Current { config: read(cert, key)?, stamps, looked: Instant::now() });
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), current })
    }

    /// What takes the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() >= LOOK {
            current.looked = Instant::now();
            let stamps = [stamp(&self.cert), stamp(&self.key)];
            if stamps != current.stamps {
                current.stamps = stamps;
                match read(&self.cert, &self.key) {
                    Ok(config) => {
                        current.config = config;
                        tracing::info!(file = %self.cert.display(), "certificate of the HTTP service was renewed");
                    }
                    Err(error) => tracing::warn!(error, "new certificate of the HTTP service is not used"),
                }
            }
        }
        TlsAcceptor::from(Arc::clone(&current.config))
    }
}

fn read(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
    let mut config = Pair::read(cert, key)?.config;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, pair: &rcgen::CertifiedKey<rcgen::KeyPair>) -> (PathBuf, PathBuf) {
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        std::fs::write(&cert, pair.cert.pem()).unwrap();
        std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        (cert, key)
    }

    fn made() -> rcgen::CertifiedKey<rcgen::KeyPair> {
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewed_certificate_is_shown_and_half_of_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = write(folder.path(), &made());
        let certificate = Certificate::load(&cert, &key).unwrap();
        let config = || Arc::clone(&certificate.current.lock().unwrap().config);
        let first = config();
        // A key of another length of file, so that the stamp differs on any file system.
        std::fs::write(&key, "not a key").unwrap();
        tokio::time::advance(LOOK).await;
        certificate.acceptor();
        assert!(Arc::ptr_eq(&first, &config()), "half a pair is not used");
        write(folder.path(), &made());
        certificate.acceptor();
        assert!(Arc::ptr_eq(&first, &config()), "the files are looked at now and then only");
        tokio::time::advance(LOOK).await;
        certificate.acceptor();
        assert!(!Arc::ptr_eq(&first, &config()), "a new pair is");
    }

    #[test]
    fn what_cannot_be_shown_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = write(folder.path(), &made());
        assert!(Certificate::load(&key, &cert).is_err_and(|error| error.contains("holds no certificate")));
        assert!(Certificate::load(&folder.path().join("none"), &key).is_err());
        std::fs::write(&key, made().signing_key.serialize_pem()).unwrap();
        assert!(Certificate::load(&cert, &key).is_err(), "the key of another certificate");
    }
}
