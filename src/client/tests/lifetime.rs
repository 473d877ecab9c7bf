//! Certificates that have expired are not used.

use std::sync::Arc;

use serde_json::json;

use super::AnySigner;
use crate::client::profile::ConnectionProfile;
use crate::client::{Client, ClientError};
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
    Client::builder(Arc::new(AnySigner { msp_id, creator }), profile).build()
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
