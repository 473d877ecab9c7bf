//! What may be approved and committed: sequences, repetitions, agreement.
//!
//! A module of its own because these are rules over state and nothing else: who may ask, and what is asked in which
//! message, is settled in [`scc`](super::scc).
//!
//! Source: Fabric 3.1.5 `core/chaincode/lifecycle/lifecycle.go`.

use std::collections::BTreeMap;

use super::state::{self, Definition, Hashes, LocalPackage, NAMESPACES, Parameters, Read, SOURCES, Write};

/// Says yes or no to an approval and writes it into the organization's collection.
///
/// The text of an error is for the client.
pub(crate) fn approve(
    chaincode: &str,
    definition: &Definition,
    package: &str,
    public: &mut impl Read,
    own: &mut impl Write,
) -> Result<(), String> {
    let current = state::committed_sequence(public, chaincode);
    let requested = definition.sequence;
    if current == requested && requested == 0 {
        return Err("requested sequence is 0, but first definable sequence number is 1".to_owned());
    }
    if requested < current {
        return Err(format!("currently defined sequence {current} is larger than requested sequence {requested}"));
    }
    let next = current.saturating_add(1);
    if requested > next {
        return Err(format!("requested sequence {requested} is larger than the next available sequence number {next}"));
    }
    let name = state::private_name(chaincode, requested);
    let parameters = &definition.parameters;
    if requested == current {
        let committed = state::definition(public, chaincode)
            .ok_or_else(|| format!("missing metadata for currently committed sequence number ({current})"))?;
        differences(&committed.parameters, parameters).map_err(|difference| {
            format!(
                "attempted to redefine the current committed sequence ({current}) for namespace {chaincode} with \
                 different parameters: {difference}"
            )
        })?;
        if is_approved(own, &name, parameters, package) {
            return Err(format!(
                "attempted to redefine the current committed sequence ({current}) for namespace {chaincode}"
            ));
        }
    } else if is_approved(own, &name, parameters, package) {
        return Err(format!(
            "attempted to redefine uncommitted sequence ({requested}) for namespace {chaincode} with unchanged content"
        ));
    }
    state::write(own, NAMESPACES, &name, parameters)?;
    state::write(own, SOURCES, &name, &LocalPackage(package.to_owned()))
}

fn is_approved(own: &mut impl Read, name: &str, parameters: &Parameters, package: &str) -> bool {
    state::parameters(own, name).is_some_and(|approved| {
        differences(&approved, parameters).is_ok()
            && state::local_package(own, name).is_some_and(|known| known.0 == package)
    })
}

fn differences(expected: &Parameters, passed: &Parameters) -> Result<(), String> {
    let (was, is) = (&expected.endorsement, &passed.endorsement);
    let texts = [
        ("Version", was.version.clone(), is.version.clone()),
        ("EndorsementPlugin", was.endorsement_plugin.clone(), is.endorsement_plugin.clone()),
        ("InitRequired", was.init_required.to_string(), is.init_required.to_string()),
        (
            "ValidationPlugin",
            expected.validation.validation_plugin.clone(),
            passed.validation.validation_plugin.clone(),
        ),
        (
            "ValidationParameter",
            crate::fabric::names::hex(&expected.validation.validation_parameter),
            crate::fabric::names::hex(&passed.validation.validation_parameter),
        ),
    ];
    for (what, was, is) in texts {
        if was != is {
            return Err(format!("expected {what} '{was}' does not match passed {what} '{is}'"));
        }
    }
    if expected.collections != passed.collections {
        return Err("Collections do not match".to_owned());
    }
    Ok(())
}

/// Which organizations have approved just this definition, and where the others differ.
pub(crate) fn approvals<H: Hashes>(
    chaincode: &str,
    definition: &Definition,
    organizations: impl IntoIterator<Item = (String, H)>,
) -> (BTreeMap<String, bool>, BTreeMap<String, Vec<String>>) {
    let name = state::private_name(chaincode, definition.sequence);
    let mut approvals = BTreeMap::new();
    let mut mismatches = BTreeMap::new();
    for (organization, mut hashes) in organizations {
        let differing = state::mismatches(&mut hashes, NAMESPACES, &name, &definition.parameters);
        approvals.insert(organization.clone(), differing.is_empty());
        if !differing.is_empty() {
            mismatches.insert(organization, differing);
        }
    }
    (approvals, mismatches)
}

/// Whether a definition is the next one: what both the readiness check and the commit ask first.
pub(crate) fn check_next(chaincode: &str, definition: &Definition, public: &mut impl Read) -> Result<(), String> {
    let next = state::committed_sequence(public, chaincode).saturating_add(1);
    if definition.sequence == next {
        Ok(())
    } else {
        Err(format!("requested sequence is {}, but new definition must be sequence {next}", definition.sequence))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[derive(Default)]
    struct Keys(BTreeMap<String, Bytes>);

    impl Read for Keys {
        fn get(&mut self, key: &str) -> Option<Bytes> {
            self.0.get(key).cloned()
        }
    }

    impl Write for Keys {
        fn put(&mut self, key: &str, value: Option<Bytes>) -> Result<(), String> {
            match value {
                Some(value) => self.0.insert(key.to_owned(), value),
                None => self.0.remove(key),
            };
            Ok(())
        }
    }

    impl Hashes for &mut Keys {
        fn hash(&mut self, key: &str) -> Option<Bytes> {
            self.0.get(key).map(|value| Sha256::digest(value).to_vec().into())
        }
    }

    fn definition(sequence: i64, version: &str) -> Definition {
        let mut definition = Definition { sequence, ..Definition::default() };
        definition.parameters.endorsement.version = version.to_owned();
        definition
    }

    /// A chaincode whose committed sequence is `committed` (version 1.0), approved there with package `p`.
    fn ledger(committed: i64) -> (Keys, Keys) {
        let (mut public, mut own) = (Keys::default(), Keys::default());
        for sequence in 1..=committed {
            approve("cc", &definition(sequence, "1.0"), "p", &mut public, &mut own).unwrap();
            state::write(&mut public, NAMESPACES, "cc", &definition(sequence, "1.0")).unwrap();
        }
        (public, own)
    }

    #[test]
    fn sequences_and_repetitions() {
        for (committed, sequence, version, package, expected) in [
            (0, 0, "1.0", "p", "requested sequence is 0, but first definable sequence number is 1"),
            (0, 1, "1.0", "p", ""),
            (0, 2, "1.0", "p", "requested sequence 2 is larger than the next available sequence number 1"),
            (0, -1, "1.0", "p", "currently defined sequence 0 is larger than requested sequence -1"),
            (2, 1, "1.0", "p", "currently defined sequence 2 is larger than requested sequence 1"),
            (2, 2, "1.0", "p", "attempted to redefine the current committed sequence (2) for namespace cc"),
            (2, 2, "1.0", "q", ""),
            (2, 2, "9.9", "p", "with different parameters: expected Version '1.0' does not match passed Version '9.9'"),
            (2, 3, "1.0", "p", ""),
            (2, i64::MAX, "1.0", "p", "is larger than the next available sequence number 3"),
        ] {
            let (mut public, mut own) = ledger(committed);
            let result = approve("cc", &definition(sequence, version), package, &mut public, &mut own);
            let text = result.err().unwrap_or_default();
            assert!(
                text.ends_with(expected) && text.is_empty() == expected.is_empty(),
                "{sequence} of {committed}: {text}"
            );
        }
    }

    #[test]
    fn an_unchanged_approval_is_refused_and_a_changed_one_is_not() {
        let (mut public, mut own) = ledger(0);
        approve("cc", &definition(1, "1.0"), "p", &mut public, &mut own).unwrap();
        let again = approve("cc", &definition(1, "1.0"), "p", &mut public, &mut own).unwrap_err();
        assert_eq!(again, "attempted to redefine uncommitted sequence (1) for namespace cc with unchanged content");
        approve("cc", &definition(1, "2.0"), "p", &mut public, &mut own).unwrap();
        approve("cc", &definition(1, "2.0"), "", &mut public, &mut own).unwrap();
        assert_eq!(state::local_package(&mut own, "cc#1"), Some(LocalPackage(String::new())));
    }

    #[test]
    fn agreement_is_seen_in_hashes() {
        let (mut public, mut one) = ledger(0);
        let mut two = Keys::default();
        let mut none = Keys::default();
        approve("cc", &definition(1, "1.0"), "p", &mut public, &mut one).unwrap();
        approve("cc", &definition(1, "2.0"), "other", &mut public, &mut two).unwrap();
        let states =
            [("Org1MSP".to_owned(), &mut one), ("Org2MSP".to_owned(), &mut two), ("Org3MSP".to_owned(), &mut none)];
        let (approvals, mismatches) = approvals("cc", &definition(1, "1.0"), states);
        assert_eq!(approvals.into_values().collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(mismatches["Org2MSP"], ["EndorsementInfo"]);
        assert_eq!(mismatches["Org3MSP"], ["ChaincodeParameters"]);
        assert!(check_next("cc", &definition(1, "1.0"), &mut public).is_ok());
        let text = check_next("cc", &definition(2, "1.0"), &mut public).unwrap_err();
        assert_eq!(text, "requested sequence is 2, but new definition must be sequence 1");
    }
}
