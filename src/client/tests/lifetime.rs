//! Certificates that have expired are not used.

use std::sync::Arc;

use serde_json::json;

use super::AnySigner;
use crate::client::profile::ConnectionProfile;
use crate::client::{Client, ClientError, Renewed};
use crate::fabric::identity::Creator;
use crate::fabric::names::MspId;

/// A certificate whose validity ended with a year, and its key.
fn certificate(last_year: i32) -> (String, String) {
    let mut params = rcgen::CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "User1");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(last_year + 1, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn build(identity_until: i32, tls_until: i32) -> Result<Client, ClientError> {
    let (signer, profile) = credentials(identity_until, tls_until);
    Client::builder(signer, profile).build()
}

fn credentials(identity_until: i32, tls_until: i32) -> (Arc<AnySigner>, ConnectionProfile) {
    let msp_id = MspId::parse("Org1MSP").unwrap();
    let (identity, _) = certificate(identity_until);
    let creator = Creator { msp_id: msp_id.clone(), certificate_pem: identity.into() }.encode();
    let (tls, key) = certificate(tls_until);
    let profile = json!({
        "client": {"organization": "Org1", "tlsCerts": {"client": {"cert": {"pem": tls}, "key": {"pem": key}}}},
        "organizations": {"Org1": {"mspid": "Org1MSP", "peers": ["peer0"]}},
        "peers": {"peer0": {"url": "grpc://localhost:7051"}},
    });
    let profile = ConnectionProfile::parse(&profile.to_string()).unwrap();
    (Arc::new(AnySigner { msp_id, creator }), profile)
}

#[test]
fn an_expired_certificate_is_told_with_its_end() {
    build(2090, 2090).unwrap();
    let error = build(2021, 2090).unwrap_err().to_string();
    assert!(error.starts_with("certificate of ") && error.contains("CN=User1"), "{error}");
    assert!(error.contains("expired on") && error.contains("2022"), "{error}");
    let error = build(2090, 2021).unwrap_err().to_string();
    assert!(error.starts_with("TLS client certificate of ") && error.contains("2022"), "{error}");
}

#[test]
fn what_is_renewed_is_taken_over_by_all_clones_unless_it_has_expired() {
    let client = build(2090, 2090).unwrap();
    let clone = client.clone();
    let first = client.signer().creator().clone();
    for (identity, tls) in [(2021, 2090), (2090, 2021)] {
        let (signer, profile) = credentials(identity, tls);
        assert!(matches!(client.renew(signer, profile), Err(ClientError::Expired { .. })));
        assert_eq!(*clone.signer().creator(), first);
    }
    let (signer, profile) = credentials(2090, 2090);
    let renewed = client.renew(signer.clone(), profile.clone()).unwrap();
    assert!(renewed.credentials && !renewed.needs_new_client, "{renewed:?}");
    assert_eq!(clone.signer().creator(), &signer.creator);
    assert_eq!(client.renew(signer, profile).unwrap(), Renewed::default());
}
