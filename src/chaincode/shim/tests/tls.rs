//! TLS: the server's certificate, and peers that must show theirs.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::super::{Config, Server, Tls};
use super::peer::Peer;
use super::{Probe, plain, serve};
use crate::pb::protos::chaincode_message::Type;

/// An authority with the certificate and key of one server or client.
struct Crypto {
    roots: String,
    certificate: String,
    key: String,
}

fn crypto() -> Crypto {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    Crypto { roots: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() }
}

fn with_tls(tls: Tls) -> Config {
    plain().with_tls(tls)
}

/// Dials and registers, or says that it did not work.
async fn dial(address: &str, server: &Crypto, client: Option<&Crypto>) -> Option<Peer> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&server.roots)).domain_name("localhost");
    if let Some(client) = client {
        tls = tls.identity(Identity::from_pem(&client.certificate, &client.key));
    }
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap();
    let connection = endpoint.connect().await.ok()?;
    Some(Peer::connect(connection).await.ok()?.register().await)
}

#[tokio::test]
async fn peers_trust_the_servers_certificate() {
    let server = crypto();
    let (address, _workers) = serve(with_tls(Tls::new(server.certificate.clone(), server.key.clone()))).await;
    let mut peer = dial(&address, &server, None).await.expect("the certificate is good");
    assert_eq!(peer.transact(Type::Transaction, &["get", "a"]).await.shown(), "200 nothing");
    assert!(dial(&address, &crypto(), None).await.is_none(), "another authority");
}

#[tokio::test]
async fn peers_without_a_certificate_stay_outside() {
    let (server, client) = (crypto(), crypto());
    let tls = Tls::new(server.certificate.clone(), server.key.clone()).with_client_roots(client.roots.clone());
    let (address, _workers) = serve(with_tls(tls)).await;
    let mut peer = dial(&address, &server, Some(&client)).await.expect("the peer is known");
    assert_eq!(peer.transact(Type::Transaction, &["get", "a"]).await.shown(), "200 nothing");
    assert!(dial(&address, &server, None).await.is_none(), "no certificate");
    assert!(dial(&address, &server, Some(&crypto())).await.is_none(), "a certificate of another authority");
}

#[tokio::test]
async fn unusable_keys_are_told_and_not_shown() {
    let server = crypto();
    let tls = Tls::new(server.certificate.clone(), "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n");
    assert!(!format!("{tls:?}").contains("secret"));
    let error = Server::bind(with_tls(tls), std::sync::Arc::new(Probe)).await.err().expect("the key is none");
    assert_eq!(error.to_string(), "certificate, key or client CA certificates are not usable");
}
