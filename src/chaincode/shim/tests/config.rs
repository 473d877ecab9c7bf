//! The settings of a chaincode server.

use super::super::Config;

fn load(settings: &[(&str, &str)]) -> String {
    let lookup = |name: &str| settings.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    match Config::load(lookup) {
        Ok(config) => format!("{} {} tls {}", config.address, config.chaincode_id, config.tls.is_some()),
        Err(error) => error.to_string(),
    }
}

const ADDRESS: (&str, &str) = ("CHAINCODE_SERVER_ADDRESS", "0.0.0.0:9999");
const ID: (&str, &str) = ("CHAINCODE_ID", "basic_1:abc");

#[test]
fn settings_are_the_samples() {
    assert_eq!(load(&[ADDRESS, ID]), "0.0.0.0:9999 basic_1:abc tls false");
    assert_eq!(load(&[ADDRESS, ("CORE_CHAINCODE_ID_NAME", "old:1")]), "0.0.0.0:9999 old:1 tls false");
    assert_eq!(load(&[ADDRESS, ID, ("CORE_CHAINCODE_ID_NAME", "old:1")]), "0.0.0.0:9999 basic_1:abc tls false");
    for (address, expected) in [
        (":7052", "0.0.0.0:7052 basic_1:abc tls false"),
        ("localhost:0", "127.0.0.1:0 basic_1:abc tls false"),
        ("[::1]:7052", "[::1]:7052 basic_1:abc tls false"),
        ("chaincode:7052", r#"CHAINCODE_SERVER_ADDRESS "chaincode:7052" is no IP address with a port (0.0.0.0:9999)"#),
        ("1.2.3.4", r#"CHAINCODE_SERVER_ADDRESS "1.2.3.4" is no IP address with a port (0.0.0.0:9999)"#),
        ("1.2.3.4:x", r#"CHAINCODE_SERVER_ADDRESS "1.2.3.4:x" is no IP address with a port (0.0.0.0:9999)"#),
    ] {
        assert_eq!(load(&[("CHAINCODE_SERVER_ADDRESS", address), ID]), expected);
    }
}

#[test]
fn all_problems_are_told_at_once() {
    assert_eq!(
        load(&[("CHAINCODE_TLS_DISABLED", "perhaps")]),
        "CHAINCODE_SERVER_ADDRESS is not set; CHAINCODE_ID is not set (nor CORE_CHAINCODE_ID_NAME); \
         CHAINCODE_TLS_DISABLED \"perhaps\" is not true or false"
    );
    let absent = [ADDRESS, ID, ("CHAINCODE_TLS_DISABLED", "false"), ("CHAINCODE_CLIENT_CA_CERT", "/no/such/file")];
    let told = load(&absent);
    assert!(told.starts_with("CHAINCODE_TLS_CERT is not set, but TLS is on; CHAINCODE_TLS_KEY is not set"), "{told}");
    assert!(told.contains("CHAINCODE_CLIENT_CA_CERT /no/such/file: "), "{told}");
}

#[test]
fn certificates_are_read_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, name).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (certificate, key, roots) = (file("certificate"), file("key"), file("roots"));
    let settings = [
        ADDRESS,
        ID,
        ("CHAINCODE_TLS_DISABLED", "False"),
        ("CHAINCODE_TLS_CERT", &certificate),
        ("CHAINCODE_TLS_KEY", &key),
    ];
    assert_eq!(load(&settings), "0.0.0.0:9999 basic_1:abc tls true");
    let with_roots: Vec<_> = settings.into_iter().chain([("CHAINCODE_CLIENT_CA_CERT", roots.as_str())]).collect();
    assert_eq!(load(&with_roots), "0.0.0.0:9999 basic_1:abc tls true");
}
