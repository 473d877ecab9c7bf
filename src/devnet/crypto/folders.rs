//! An organization's folders: where `cryptogen` puts which key and certificate.

use std::path::{Path, PathBuf};

use super::authority::{Authority, CryptoError, KeyAndCertificate, Subject, Usage};
use crate::devnet::files::{self, FileError};

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeKind {
    Peer,
    Orderer,
}

impl NodeKind {
    fn folder(self) -> &'static str {
        match self {
            Self::Peer => "peers",
            Self::Orderer => "orderers",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Orderer => "orderer",
        }
    }
}

/// One node's identities.
#[derive(Debug, Clone)]
pub(crate) struct NodeCrypto {
    pub(crate) certificate_pem: String,
    pub(crate) key: Secret,
    pub(crate) tls_certificate_pem: String,
    pub(crate) tls_key: Secret,
}

impl NodeCrypto {
    /// The identities in a node's folder.
    fn load(folder: &Path, common_name: &str) -> Result<Self, FileError> {
        let (msp, tls) = (folder.join("msp"), folder.join("tls"));
        Ok(Self {
            certificate_pem: files::read(&msp.join("signcerts").join(format!("{common_name}-cert.pem")))?,
            key: Secret(files::read(&msp.join("keystore").join("priv_sk"))?),
            tls_certificate_pem: files::read(&tls.join("server.crt"))?,
            tls_key: Secret(files::read(&tls.join("server.key"))?),
        })
    }
}

/// A private key as PEM text, which is never shown.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn pem(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why the folders of an organization could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoldersError {
    /// A certificate could not be made.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// An organization's authorities, and the folder in which everything of it lies.
pub(crate) struct OrganizationCrypto {
    pub(crate) domain: String,
    pub(crate) folder: PathBuf,
    tls_ca_pem: String,
    /// Absent where the folder was made by an earlier run: then everything is there.
    authorities: Option<Authorities>,
}

struct Authorities {
    enrolment: Authority,
    tls: Authority,
}

impl OrganizationCrypto {
    /// Makes both authorities of `domain` and writes them and the organization's MSP under `crypto`.
    pub(crate) fn generate(crypto: &Path, domain: &str) -> Result<Self, FoldersError> {
        let authorities = Authorities {
            enrolment: Authority::generate(&format!("ca.{domain}"), domain)?,
            tls: Authority::generate(&format!("tlsca.{domain}"), domain)?,
        };
        let folder = crypto.join("peerOrganizations").join(domain);
        for (name, authority) in [("ca", &authorities.enrolment), ("tlsca", &authorities.tls)] {
            let folder = folder.join(name);
            files::write(&folder.join(format!("{name}.{domain}-cert.pem")), &authority.own().certificate_pem)?;
            files::write_secret(&folder.join("priv_sk"), &authority.own().key_pem)?;
        }
        authorities.write_msp(domain, &folder.join("msp"))?;
        let tls_ca_pem = authorities.tls.own().certificate_pem.clone();
        Ok(Self { domain: domain.to_owned(), folder, tls_ca_pem, authorities: Some(authorities) })
    }

    /// The organization that an earlier run has made under `crypto`, with the users and nodes that it had then.
    pub(crate) fn load(crypto: &Path, domain: &str) -> Result<Self, FoldersError> {
        let folder = crypto.join("peerOrganizations").join(domain);
        let tls_ca_pem = files::read(&folder.join("tlsca").join(format!("tlsca.{domain}-cert.pem")))?;
        Ok(Self { domain: domain.to_owned(), folder, tls_ca_pem, authorities: None })
    }

    /// The organization's verifying MSP.
    pub(crate) fn msp_folder(&self) -> PathBuf {
        self.folder.join("msp")
    }

    /// The certificate of the TLS authority.
    pub(crate) fn tls_ca_pem(&self) -> &str {
        &self.tls_ca_pem
    }

    /// Where the certificate of the TLS authority lies.
    pub(crate) fn tls_ca_file(&self) -> PathBuf {
        self.folder.join("tlsca").join(format!("tlsca.{}-cert.pem", self.domain))
    }

    /// Makes a user of the given role (`admin` or `client`) and returns its folder.
    pub(crate) fn add_user(&self, name: &str, unit: &str) -> Result<PathBuf, FoldersError> {
        let common_name = format!("{name}@{}", self.domain);
        let folder = self.folder.join("users").join(&common_name);
        if let Some(authorities) = &self.authorities {
            authorities.issue_signing(&self.domain, &common_name, unit, &folder)?;
            let subject = Subject { common_name: &common_name, unit: None, hosts: &[] };
            let tls = authorities.tls.issue(&subject, Usage::Tls)?;
            self.write_tls(&folder, &tls, "client")?;
        }
        Ok(folder)
    }

    /// Makes a node called `host` (such as `peer0`): its enrolment and TLS identities, in its folder.
    pub(crate) fn add_node(&self, kind: NodeKind, host: &str) -> Result<NodeCrypto, FoldersError> {
        let common_name = format!("{host}.{}", self.domain);
        let folder = self.folder.join(kind.folder()).join(&common_name);
        let Some(authorities) = &self.authorities else { return Ok(NodeCrypto::load(&folder, &common_name)?) };
        let signing = authorities.issue_signing(&self.domain, &common_name, kind.unit(), &folder)?;
        let hosts = [host, "localhost", "127.0.0.1"];
        let subject = Subject { common_name: &common_name, unit: None, hosts: &hosts };
        let tls = authorities.tls.issue(&subject, Usage::Tls)?;
        self.write_tls(&folder, &tls, "server")?;
        Ok(NodeCrypto {
            certificate_pem: signing.certificate_pem,
            key: Secret(signing.key_pem),
            tls_certificate_pem: tls.certificate_pem,
            tls_key: Secret(tls.key_pem),
        })
    }

    fn write_tls(&self, folder: &Path, tls: &KeyAndCertificate, name: &str) -> Result<(), FoldersError> {
        let folder = folder.join("tls");
        files::write(&folder.join("ca.crt"), self.tls_ca_pem())?;
        files::write(&folder.join(format!("{name}.crt")), &tls.certificate_pem)?;
        files::write_secret(&folder.join(format!("{name}.key")), &tls.key_pem)?;
        Ok(())
    }
}

impl Authorities {
    fn issue_signing(
        &self,
        domain: &str,
        common_name: &str,
        unit: &str,
        folder: &Path,
    ) -> Result<KeyAndCertificate, FoldersError> {
        let subject = Subject { common_name, unit: Some(unit), hosts: &[] };
        let issued = self.enrolment.issue(&subject, Usage::Signing)?;
        let msp = folder.join("msp");
        self.write_msp(domain, &msp)?;
        files::write(&msp.join("signcerts").join(format!("{common_name}-cert.pem")), &issued.certificate_pem)?;
        files::write_secret(&msp.join("keystore").join("priv_sk"), &issued.key_pem)?;
        Ok(issued)
    }

    fn write_msp(&self, domain: &str, msp: &Path) -> Result<(), FoldersError> {
        files::create_folder(&msp.join("admincerts"))?;
        files::write(
            &msp.join("cacerts").join(format!("ca.{domain}-cert.pem")),
            &self.enrolment.own().certificate_pem,
        )?;
        files::write(
            &msp.join("tlscacerts").join(format!("tlsca.{domain}-cert.pem")),
            &self.tls.own().certificate_pem,
        )?;
        let units: String = [("Client", "client"), ("Peer", "peer"), ("Admin", "admin"), ("Orderer", "orderer")]
            .map(|(key, unit)| {
                format!(
                    "  {key}OUIdentifier:\n    Certificate: cacerts/ca.{domain}-cert.pem\n    \
                     OrganizationalUnitIdentifier: {unit}\n"
                )
            })
            .concat();
        let config = format!("NodeOUs:\n  Enable: true\n{units}");
        files::write(&msp.join("config.yaml"), &config)?;
        Ok(())
    }
}
