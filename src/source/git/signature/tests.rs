//! Commits that git, gpg and ssh-keygen signed, and what must not pass for one.

use super::*;

macro_rules! data {
    ($name:literal) => {
        include_bytes!(concat!("../../../../testdata/git-signatures/", $name))
    };
}

/// Kind of key, its file, a commit that it signed, its fingerprint.
const SIGNED: &[(&[u8], &[u8], &str)] = &[
    (data!("pgp-ed25519.asc"), data!("pgp-ed25519.commit"), "4A4AB7D9C6ACEF0ABFB3A8F1E570B6C8B1B1A59A"),
    (data!("pgp-ed25519.asc"), data!("pgp-message.commit"), "4A4AB7D9C6ACEF0ABFB3A8F1E570B6C8B1B1A59A"),
    (data!("pgp-rsa.asc"), data!("pgp-rsa.commit"), "69707511CA151C10AF4A65EB0952214A1EF8EDA2"),
    (data!("pgp-nistp256.asc"), data!("pgp-nistp256.commit"), "7DBB27ACD317CBAEFC05F699F36CBA9D531C0AC7"),
    // A part of the key signs, the key itself must not.
    (data!("pgp-subkey.asc"), data!("pgp-subkey.commit"), "30C110F01909FBB434DD7D9AC6F76AB3C0617ADA"),
    // The key has expired since.
    (data!("pgp-short.asc"), data!("pgp-short.commit"), "D42105E21680669DF2286BACBBDE4CA78B1BD9DB"),
    (data!("ssh-ed25519.pub"), data!("ssh-ed25519.commit"), "SHA256:R6aDhibHvT9cSws21lNHUESYfJEkrJuHZTSNH9Oo2Wo"),
    (data!("ssh-rsa2048.pub"), data!("ssh-rsa2048.commit"), "SHA256:+VbEYdamafZayBJ+twgM80Mb2C/uemNpPHdtitrcf6c"),
    (data!("ssh-ecdsa256.pub"), data!("ssh-ecdsa256.commit"), "SHA256:h1lb9zpOqmCWC5QXeNE2PYnmMZXr1wuvWyO+AAvAv0A"),
    (data!("ssh-ecdsa384.pub"), data!("ssh-ecdsa384.commit"), "SHA256:"),
];

fn keys(text: &[u8]) -> SigningKeys {
    SigningKeys::parse(std::str::from_utf8(text).unwrap()).unwrap()
}

fn all() -> SigningKeys {
    SIGNED.iter().fold(SigningKeys::default(), |all, (key, ..)| all.and(keys(key)))
}

#[test]
fn the_signer_is_the_listed_key() {
    for (key, commit, fingerprint) in SIGNED {
        let signer = keys(key).signer(commit).unwrap_or_else(|error| panic!("{fingerprint}: {error}"));
        assert!(signer.as_str().starts_with(fingerprint), "{signer}");
        assert_eq!(all().signer(commit).unwrap(), signer);
        assert!(matches!(SigningKeys::default().signer(commit), Err(SignatureError::NotListed { .. })));
    }
    let error = all().signer(data!("pgp-other.commit")).unwrap_err().to_string();
    assert!(error.contains("53918B7D3A91E3D6A6B7D448FF437D59DC313955"), "{error}");
    assert_eq!(all().signer(data!("unsigned.commit")), Err(SignatureError::Unsigned));
}

#[test]
fn every_changed_byte_breaks_it() {
    for (_, commit, fingerprint) in SIGNED {
        let keys = all();
        // Every byte of the commit itself; of the signature only some, as armour has room for blanks.
        let text = String::from_utf8_lossy(commit);
        let (begin, end) = (text.find("gpgsig").unwrap(), text.find("\n -----END").unwrap());
        for at in (0..begin).chain(end + 40..commit.len()) {
            let mut changed = commit.to_vec();
            changed[at] ^= 1;
            assert!(keys.signer(&changed).is_err(), "{fingerprint}: byte {at}");
        }
        let mut longer = commit.to_vec();
        longer.push(b'\n');
        assert!(keys.signer(&longer).is_err());
        for cut in 0..commit.len() {
            assert!(keys.signer(&commit[..cut]).is_err(), "{fingerprint}: cut at {cut}");
        }
    }
}

#[test]
fn a_signature_of_one_commit_is_none_of_another() {
    for (_, signed, fingerprint) in SIGNED {
        let text = std::str::from_utf8(signed).unwrap();
        let from = text.find("gpgsig").unwrap();
        let to = from + text[from..].find("-----END").unwrap();
        let to = to + text[to..].find('\n').unwrap() + 1;
        let signature = &text[from..to];
        let other = std::str::from_utf8(data!("unsigned.commit")).unwrap();
        let at = other.find("\n\n").unwrap() + 1;
        let forged = format!("{}{signature}{}", &other[..at], &other[at..]);
        let error = all().signer(forged.as_bytes()).unwrap_err();
        assert!(matches!(error, SignatureError::Invalid { .. }), "{fingerprint}: {error}");
        // Twice, or after the headers, where it is part of the message.
        let twice = format!("{}{signature}{}", &text[..from], &text[from..]);
        assert!(matches!(all().signer(twice.as_bytes()), Err(SignatureError::Unreadable { .. })));
        let after = format!("{other}{signature}");
        assert_eq!(all().signer(after.as_bytes()), Err(SignatureError::Unsigned));
        // One for the other kind of hashes is not looked at, and not part of what is signed.
        let both = format!("{}gpgsig-sha256 other\n more\n{}", &text[..from], &text[from..]);
        all().signer(both.as_bytes()).unwrap();
    }
    let namespace = all().signer(data!("ssh-namespace.commit")).unwrap_err();
    assert!(matches!(namespace, SignatureError::Invalid { .. }), "{namespace}");
}

#[test]
fn keys_that_must_not_be_used_are_refused() {
    let refused = |text: &str, expected: &str| {
        let error = SigningKeys::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    };
    refused(
        std::str::from_utf8(data!("pgp-revoked.asc")).unwrap(),
        "4ee7b7f9c3a6afb23d55ea0026c30c5e98d103f5 was revoked",
    );
    refused("\n\nnonsense", "line 3: there is no key");
    refused(PGP_BEGIN, "no end");
    refused(&format!("{PGP_BEGIN}\n\nAAAA\n{PGP_END}"), "line 1");
    refused("ssh-ed25519 AAAA", "cannot be read");
    let key = std::str::from_utf8(data!("ssh-ed25519.pub")).unwrap();
    refused(&format!("me@example.com cert-authority {key}"), "not supported");
    refused(&format!("cert-authority {key}"), "not supported");
    refused(&format!("me@example.com valid-before=\"20200101\" {key}"), "not supported");
    refused(&format!("me@example.com namespaces=\"file\" {key}"), "not supported");
    for line in [format!("# mine\n{key}"), format!("me@example.com {key}"), format!("* namespaces=\"git\" {key}")] {
        SigningKeys::parse(&line).unwrap().signer(data!("ssh-ed25519.commit")).unwrap();
    }
    assert!(SigningKeys::parse("# nobody\n").unwrap().is_empty());
}

#[test]
fn parts_that_were_not_bound_to_their_key_sign_nothing() {
    // The key without the part that signs: the part's packets cut off.
    let keys = keys(data!("pgp-subkey.asc"));
    assert_eq!(keys.openpgp.len(), 1, "the key itself may only certify");
}

proptest::proptest! {
    #[test]
    fn no_bytes_are_too_odd(commit in proptest::collection::vec(proptest::num::u8::ANY, 0..400), text in ".{0,200}") {
        let _ = all().signer(&commit);
        let _ = SigningKeys::parse(&text);
        let signed = format!("tree 0\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n {text}\n -----END PGP SIGNATURE-----\n\nx");
        proptest::prop_assert!(all().signer(signed.as_bytes()).is_err());
    }
}
