//! Properties that hold for every key, message and broken certificate.

use proptest::prelude::*;

use super::*;
use crate::fabric::names::MspId;

/// A SEC1 key on `curve`.
fn key(oid: &[u8], scalar: &[u8]) -> Result<PrivateKey, KeyError> {
    let parameters = der::write(0xa0, &der::write(der::OID, oid));
    let fields = [der::write(der::INTEGER, &[1]), der::write(der::OCTET_STRING, scalar), parameters].concat();
    PrivateKey::from_pem(pem::encode("EC PRIVATE KEY", &der::write(der::SEQUENCE, &fields)).as_bytes())
}

const CURVES: [(&str, &[u8], usize); 4] = [
    ("P-224", &[0x2b, 0x81, 0x04, 0x00, 0x21], 28),
    ("P-256", &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07], 32),
    ("P-384", &[0x2b, 0x81, 0x04, 0x00, 0x22], 48),
    ("P-521", &[0x2b, 0x81, 0x04, 0x00, 0x23], 66),
];

fn golden(file: &str) -> Vec<u8> {
    std::fs::read(format!("{}/testdata/golden/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn every_curve_signs_and_verifies() {
    for (name, oid, width) in CURVES {
        let mut scalar = vec![7; width];
        scalar[0] = 0;
        let key = key(oid, &scalar).unwrap();
        assert_eq!(key.kind(), name);
        let signature = key.sign(b"message");
        assert_eq!(signature, key.sign(b"message"), "{name}: the same twice");
        assert!(key.public_key().verify(b"message", &signature), "{name}");
        assert!(!key.public_key().verify(b"massage", &signature), "{name}");
    }
}

#[test]
fn impossible_scalars_are_refused() {
    for (name, oid, width) in CURVES {
        for (scalar, why) in
            [(vec![0; width], "zero"), (vec![0xff; width], "above the order"), (vec![1; width + 1], "long")]
        {
            assert!(key(oid, &scalar).is_err(), "{name}: {why}");
        }
    }
}

#[test]
fn secrets_are_not_shown() {
    let key = key(CURVES[1].1, &[0x5a; 32]).unwrap();
    assert_eq!(format!("{key:?}"), "PrivateKey(P-256, redacted)");
}

#[test]
fn keys_of_others_are_refused() {
    let (certificate, key) = (golden("ski/p384/cert.pem"), golden("private-keys/p256-pkcs8/key.pem"));
    let error = SigningIdentity::from_pem(MspId::parse("Org1MSP").unwrap(), &certificate, &key).unwrap_err();
    assert!(matches!(error, IdentityError::KeyOfAnother { .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn signatures_have_a_low_s(message in prop::collection::vec(any::<u8>(), 0..40), scalar in 1_u64..) {
        for (_, oid, _) in CURVES {
            let key = key(oid, &scalar.to_be_bytes()).unwrap();
            let signature = key.sign(&message);
            // Verification refuses a high one.
            prop_assert!(key.public_key().verify(&message, &signature));
        }
    }

}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(noise in prop::collection::vec(any::<u8>(), 0..120)) {
        let _ = Creator::decode(&noise);
        let _ = Certificate::from_der(&noise);
        let _ = pem::first(&noise);
        let _ = PrivateKey::from_pem(&noise);
        let _ = PrivateKey::from_pem(pem::encode("KEY", &noise).as_bytes());
        let _ = der::ecdsa_signature(&noise);
    }

    #[test]
    fn broken_certificates_do_not_make_it_panic(places in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4)) {
        let mut bytes = Certificate::from_pem(&golden("ski/p256/cert.pem")).unwrap().der().to_vec();
        for (at, byte) in places {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(certificate) = Certificate::from_der(&bytes) {
            let _ = certificate.has_canonical_signature();
            let _ = certificate.with_low_s();
        }
    }
}

/// So many authorities of one name and one key: each may stand above every other.
fn authorities(name: &str, count: u64) -> Vec<bytes::Bytes> {
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = |number: u64| {
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.serial_number = Some((number + 1).into());
        params.self_signed(&key).unwrap().pem().into()
    };
    (0..count).map(authority).collect()
}

#[test]
fn authorities_that_certify_each_other_are_not_followed_everywhere() {
    use prost::Message as _;

    // An organization describes itself in a channel. With twenty such there are 10^15 ways; all were once tried.
    for count in [1, 20] {
        let config = crate::pb::msp::FabricMspConfig {
            name: "Org1MSP".to_owned(),
            root_certs: authorities("root", 1),
            intermediate_certs: authorities("in a circle", count),
            ..Default::default()
        };
        let config = crate::pb::msp::MspConfig { r#type: 0, config: config.encode_to_vec().into() };
        let error = Msp::from_config(&config, MspVersion::V1_4_3).unwrap_err();
        assert!(error.to_string().contains("signed by no authority"), "{error}");
    }
}

/// A signature of a signer that need not wait.
fn sign(signer: &dyn Signer, message: &[u8]) -> Result<bytes::Bytes, SignError> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match signer.sign(message).as_mut().poll(&mut context) {
        std::task::Poll::Ready(done) => done,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

/// An identity of the recordings with its certificate and key.
fn member(name: &str) -> (Certificate, PrivateKey) {
    let tree: serde_json::Value =
        serde_json::from_slice(&golden(&format!("identity-serialized/{name}/tree.json"))).unwrap();
    let text = |folder: &str| {
        let mut entries = tree["entries"].as_array().unwrap().iter();
        let entry = entries.rfind(|entry| entry["path"].as_str().unwrap().starts_with(folder)).unwrap();
        entry["text"].as_str().unwrap().as_bytes().to_vec()
    };
    (Certificate::from_pem(&text("signcerts/")).unwrap(), PrivateKey::from_pem(&text("keystore/")).unwrap())
}

/// `r` and `s` one after the other, with a high `s`.
fn raw_high_s(signature: &[u8]) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (r, s) = der::ecdsa_signature(signature).unwrap();
    let (r, s) = (Curve::P256.widen(r).unwrap(), Curve::P256.widen(s).unwrap());
    let mut high = ORDER;
    let mut borrow = 0;
    for (digit, minus) in high.iter_mut().zip(&s).rev() {
        let difference = i16::from(*digit) - i16::from(*minus) - borrow;
        borrow = i16::from(difference < 0);
        *digit = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    [r, high.to_vec()].concat()
}

#[test]
fn signatures_from_elsewhere_are_made_fit() {
    let msp_id = MspId::parse("Org1MSP").unwrap();
    let (certificate, key) = member("plain");
    let whole = key.sign(b"message");
    for form in ["der", "raw"] {
        let made = whole.clone();
        let signer = ExternalSigner::new(msp_id.clone(), certificate.clone(), move |request: SignRequest| {
            let SignRequest::Digest(digest) = request else { panic!("{request:?}") };
            assert_eq!(digest, SignatureHash::Sha256.digest(b"message"));
            let made = if form == "raw" { raw_high_s(&made) } else { made.to_vec() };
            async move { Ok(made) }
        });
        assert_eq!(sign(&signer, b"message").unwrap(), whole, "{form}");
        let identity = SigningIdentity::new(msp_id.clone(), certificate.clone(), key.clone()).unwrap();
        assert_eq!(signer.creator(), identity.creator());
    }
    let (certificate, key) = member("ed25519");
    let whole = key.sign(b"message");
    let signer = ExternalSigner::new(msp_id, certificate, move |request: SignRequest| {
        let SignRequest::Message(message) = request else { panic!("{request:?}") };
        let made = key.sign(&message).to_vec();
        async move { Ok(made) }
    });
    assert_eq!(sign(&signer, b"message").unwrap(), whole);
}

#[test]
fn signatures_from_elsewhere_are_checked() {
    let msp_id = MspId::parse("Org1MSP").unwrap();
    let (certificate, key) = member("plain");
    let other = key.sign(b"another message").to_vec();
    let of_384 = key.sign_hashed(b"message", SignatureHash::Sha384).to_vec();
    let saying = |made: Vec<u8>| {
        ExternalSigner::new(msp_id.clone(), certificate.clone(), move |_| {
            let made = made.clone();
            async move { Ok(made) }
        })
    };
    for made in [Vec::new(), vec![0; 64], vec![0xff; 64], vec![7; 70], other, of_384.clone()] {
        let error = sign(&saying(made), b"message").unwrap_err();
        assert!(matches!(error, SignError::Wrong), "{error}");
    }
    sign(&saying(of_384).with_hash(SignatureHash::Sha384), b"message").unwrap();
    let signer = ExternalSigner::new(msp_id.clone(), certificate.clone(), |_| async { Err("no token".into()) });
    assert!(matches!(sign(&signer, b"message"), Err(SignError::Refused(_))));
    let offline = OfflineIdentity::new(msp_id, certificate);
    assert!(matches!(sign(&offline, b"message"), Err(SignError::Offline)));
}
