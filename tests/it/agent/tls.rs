//! A certificate for this machine, in files.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// Where the files are.
pub(super) struct Files {
    pub(super) authority: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) issuer: Issuer<'static, KeyPair>,
}

/// Makes an authority, and a certificate of it for 127.0.0.1 and localhost.
pub(super) fn files(folder: &Path) -> Files {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let (certificate, key) = issue(&issuer, |_| {});
    let file = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    Files {
        authority: file("authority.pem", root.pem()),
        certificate: file("certificate.pem", certificate),
        key: file("key.pem", key),
        issuer,
    }
}

/// Another certificate for 127.0.0.1 and localhost, with changes, and its key. In PEM.
pub(super) fn issue(
    issuer: &Issuer<'static, KeyPair>,
    change: impl FnOnce(&mut CertificateParams),
) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    change(&mut params);
    (params.signed_by(&key, issuer).unwrap().pem(), key.serialize_pem())
}
