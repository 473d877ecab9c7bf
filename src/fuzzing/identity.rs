//! Certificates, keys, signatures, and the MSP that is made of them.

use std::sync::OnceLock;

use prost::Message as _;

use crate::fabric::identity::{Certificate, Creator, Curve, Msp, MspVersion, PrivateKey, Role, der, pem as blocks};
use crate::pb::common::MspPrincipal;
use crate::pb::msp::{FabricMspConfig, MspConfig};

/// The configuration of an organization that is in order, with an authority that vouches for members.
const GOOD: &[u8] = include_bytes!("../../testdata/golden/msp-config/nodeous/expected.mspconfig.pb");

fn good() -> &'static Msp {
    static MSP: OnceLock<Msp> = OnceLock::new();
    MSP.get_or_init(|| {
        let config = MspConfig::decode(GOOD).expect("a file of this repository");
        Msp::from_config(&config, MspVersion::V3_0).expect("a file of this repository")
    })
}

/// Sets an MSP up and asks it what can be asked.
fn ask(msp: &Msp, creator: &[u8]) {
    let Ok(identity) = msp.deserialize(creator) else { return };
    assert_eq!(identity.msp_id(), msp.msp_id());
    assert!(!identity.has_role(Role::Member) || identity.validate().is_ok());
    let _ = (identity.roles(), identity.expires_at(), identity.verify(creator, creator));
    // An identity is passed on in one form only, and that form is the same identity.
    let again = msp.deserialize(&identity.creator()).expect("what is passed on can be read");
    assert_eq!(again.certificate(), identity.certificate());
    assert_eq!(again.validate().is_ok(), identity.validate().is_ok());
    if msp.identity(creator).is_ok() {
        assert!(identity.validate().is_ok());
    }
}

/// A serialized identity, or a principal that names one.
pub fn identity(input: &[u8]) {
    if let Ok(creator) = Creator::decode(input) {
        let again = Creator::decode(&creator.encode()).expect("what was encoded can be decoded");
        assert_eq!(again, creator);
    }
    let msp = good();
    ask(msp, input);
    // Whatever the certificate is: as if it were one of this organization's.
    let claimed = Creator { msp_id: msp.msp_id().clone(), certificate_pem: input.to_vec().into() };
    ask(msp, &claimed.encode());
    if let (Ok(principal), Ok(identity)) = (MspPrincipal::decode(input), msp.deserialize(&member())) {
        let _ = identity.satisfies(&principal);
    }
}

/// Someone whom the good organization knows: its own authority.
fn member() -> Vec<u8> {
    let config = MspConfig::decode(GOOD).expect("a file of this repository");
    let config = FabricMspConfig::decode(config.config).expect("a file of this repository");
    let certificate_pem = config.root_certs.first().cloned().unwrap_or_default();
    Creator { msp_id: good().msp_id().clone(), certificate_pem }.encode().to_vec()
}

/// A certificate in DER, or in PEM.
///
/// Its form with a low S is the same certificate otherwise, has no lower one, and its signature is in that form.
pub fn certificate(input: &[u8]) {
    let read = [Certificate::from_der(input), Certificate::from_pem(input)];
    for certificate in read.into_iter().flatten() {
        let again = Certificate::from_pem(certificate.to_pem().as_bytes()).expect("what was written can be read");
        assert_eq!(again, certificate);
        let low = certificate.clone().with_low_s();
        assert_eq!(low.clone().with_low_s(), low);
        assert_eq!(low.subject(), certificate.subject());
        assert_eq!(low.public_key(), certificate.public_key());
        assert_eq!((low.not_before(), low.not_after()), (certificate.not_before(), certificate.not_after()));
        let _ = certificate.public_key().verify(b"message", input);
    }
}

/// A list of what was revoked.
pub fn revocation_list(input: &[u8]) {
    let config = MspConfig::decode(GOOD).expect("a file of this repository");
    let mut fabric = FabricMspConfig::decode(config.config).expect("a file of this repository");
    fabric.revocation_list = vec![input.to_vec().into()];
    let config = MspConfig { r#type: 0, config: fabric.encode_to_vec().into() };
    if let Ok(msp) = Msp::from_config(&config, MspVersion::V1_4_3) {
        ask(&msp, &member());
    }
}

/// A private key, or another key that somebody took for one.
///
/// What it signs, its public half accepts, and the S is low.
pub fn private_key(input: &[u8]) {
    let Ok(key) = PrivateKey::from_pem(input) else { return };
    let signature = key.sign(b"message");
    assert_eq!(key.sign(b"message"), signature, "the same input gives the same bytes");
    assert!(key.public_key().verify(b"message", &signature));
    assert!(!key.public_key().verify(b"other", &signature));
    if let Some((r, s)) = der::ecdsa_signature(&signature) {
        let curve = Curve::of_signature(r, s).expect("the numbers of a curve");
        if let Some(low) = curve.low_s(s) {
            assert!(key.kind() != "P-256" || Some(low) == curve.widen(s));
        }
    }
    assert!(!format!("{key:?}").contains("scalar"));
}

/// PEM.
pub fn pem(input: &[u8]) {
    let mut rest = input;
    while let Some((block, after)) = blocks::first(rest) {
        assert!(after.len() < rest.len());
        if !block.label.contains(['\n', ':']) {
            let written = blocks::encode(&block.label, &block.der);
            let (again, left) = blocks::first(written.as_bytes()).expect("what was written can be read");
            assert!(again.label == block.label.trim_end() && again.der == block.der && left.is_empty());
        }
        rest = after;
    }
}

/// An ECDSA signature in DER.
///
/// What is accepted has one canonical form, which reads back as the same numbers. The lower S is never above the other.
pub fn signature(input: &[u8]) {
    let Some((r, s)) = der::ecdsa_signature(input) else { return };
    let written = der::write_ecdsa_signature(r, s);
    assert_eq!(der::ecdsa_signature(&written), Some((r, s)));
    assert!(input.starts_with(&written) || input.len() != written.len());
    for curve in [Curve::P224, Curve::P256, Curve::P384, Curve::P521] {
        if let (Some(low), Some(wide)) = (curve.low_s(s), curve.widen(s)) {
            assert!(low <= wide, "the lower S is above the other");
            assert_eq!(curve.low_s(&low).as_ref(), Some(&low));
        }
    }
}

/// The configuration of an organization's MSP.
pub fn msp_config(input: &[u8]) {
    let wrapped = MspConfig { r#type: 0, config: input.to_vec().into() };
    for config in [MspConfig::decode(input).ok(), Some(wrapped)].into_iter().flatten() {
        for version in [MspVersion::V1_4_3, MspVersion::V3_0] {
            let Ok(msp) = Msp::from_config(&config, version) else { continue };
            let fabric = FabricMspConfig::decode(config.config.clone()).expect("it was read before");
            for certificate_pem in fabric.admins.iter().chain(&fabric.root_certs).take(4) {
                let creator = Creator { msp_id: msp.msp_id().clone(), certificate_pem: certificate_pem.clone() };
                ask(&msp, &creator.encode());
            }
        }
    }
}
