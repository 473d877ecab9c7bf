//! From configuration to an MSP, with the checks that the nodes make.

use bytes::Bytes;

use super::chain::{Chains, Revocations};
use super::principal::NodeUnits;
use super::{Inner, MspError, MspVersion};
use crate::fabric::identity::{Certificate, IdentityError};
use crate::fabric::names::MspId;
use crate::pb::msp::{FabricCryptoConfig, FabricMspConfig};

pub(super) fn set_up(config: &FabricMspConfig, version: MspVersion) -> Result<Inner, MspError> {
    let id = MspId::parse(config.name.clone())?;
    check_crypto(&id, config.crypto_config.as_ref())?;
    let failed = |reason: String| MspError::Setup { msp_id: id.to_string(), reason };
    if config.root_certs.is_empty() {
        return Err(failed("it has no root certificate".to_owned()));
    }
    let mut chains = chains(config)?;
    let revocations = Revocations::read(&config.revocation_list)?;
    check_authorities(&chains, &revocations).map_err(failed)?;
    chains.find_inner().map_err(failed)?;

    let tls = Chains::new(read(&config.tls_root_certs)?, read(&config.tls_intermediate_certs)?);
    check_authorities(&tls, &revocations).map_err(|reason| failed(format!("TLS: {reason}")))?;

    let mut units = Vec::new();
    for unit in &config.organizational_unit_identifiers {
        let certifiers = certifiers(&chains, &unit.certificate)?.map_err(failed)?;
        units.push((unit.organizational_unit_identifier.clone(), certifiers));
    }
    let node_units = match &config.fabric_node_ous {
        Some(node_units) => {
            NodeUnits::new(node_units, |certificate| certifiers(&chains, certificate)?.map_err(failed))?
        }
        None => None,
    };
    let admins: Vec<Certificate> = read(&config.admins)?
        .into_iter()
        .map(|admin| chains.sanitize(admin.clone()).map_err(|reason| failed(of(&admin, &reason))))
        .collect::<Result<_, _>>()?;

    let inner = Inner {
        id: id.clone(),
        version,
        chains,
        revocations,
        admins,
        units,
        node_units,
        tls_roots: config.tls_root_certs.clone(),
        tls_intermediates: config.tls_intermediate_certs.clone(),
    };
    check_admins(&inner).map_err(failed)?;
    Ok(inner)
}

/// The authorities, in the form in which certificates are compared.
pub(super) fn chains(config: &FabricMspConfig) -> Result<Chains, MspError> {
    // Once as received, to judge the signatures.
    let received = Chains::new(read(&config.root_certs)?, read(&config.intermediate_certs)?);
    let sanitized = |certificates: &[Certificate]| -> Result<Vec<_>, MspError> {
        let sanitize = |certificate: &Certificate| {
            received
                .sanitize(certificate.clone())
                .map_err(|reason| MspError::Setup { msp_id: config.name.clone(), reason: of(certificate, &reason) })
        };
        certificates.iter().map(sanitize).collect()
    };
    Ok(Chains::new(sanitized(&received.roots)?, sanitized(&received.intermediates)?))
}

fn of(certificate: &Certificate, reason: &str) -> String {
    format!("{}: {reason}", certificate.subject())
}

fn read(certificates: &[Bytes]) -> Result<Vec<Certificate>, IdentityError> {
    certificates.iter().map(|certificate| Certificate::from_pem(certificate)).collect()
}

/// What the authority whose certificate stands beside a unit is called.
fn certifiers(chains: &Chains, certificate: &[u8]) -> Result<Result<[u8; 32], String>, MspError> {
    let certificate = Certificate::from_pem(certificate)?;
    Ok(chains.sanitize(certificate).and_then(|authority| chains.certifiers_of_authority(&authority)))
}

fn check_crypto(id: &MspId, crypto: Option<&FabricCryptoConfig>) -> Result<(), MspError> {
    let Some(crypto) = crypto else { return Ok(()) };
    let unsupported = |what: &str| MspError::Unsupported { msp_id: id.to_string(), what: format!("the hash {what}") };
    match crypto.signature_hash_family.as_str() {
        "" | "SHA2" => {}
        other => return Err(unsupported(other)),
    }
    match crypto.identity_identifier_hash_function.as_str() {
        "" | "SHA256" => Ok(()),
        other => Err(unsupported(other)),
    }
}

/// That all authorities are such, and vouched for up to a root.
fn check_authorities(chains: &Chains, revocations: &Revocations) -> Result<(), String> {
    for authority in chains.roots.iter().chain(&chains.intermediates) {
        if !authority.authority.is_ca {
            return Err(of(authority, "it is no authority's certificate"));
        }
        if authority.subject_key_id.is_none() {
            return Err(of(authority, "it has no subject key identifier"));
        }
        let chain = chains.unique(authority).map_err(|reason| of(authority, &reason))?;
        revocations.check(authority, &chain).map_err(|reason| of(authority, &reason))?;
    }
    Ok(())
}

fn check_admins(inner: &Inner) -> Result<(), String> {
    let Some(node_units) = &inner.node_units else {
        if inner.admins.is_empty() {
            return Err("it has neither administrators nor a unit for them".to_owned());
        }
        let valid = |admin| inner.validate(admin, &inner.chains.of_member(admin)).map_err(|reason| of(admin, &reason));
        return inner.admins.iter().try_for_each(valid);
    };
    if inner.admins.is_empty() && !node_units.has_admins() {
        return Err("it has neither administrators nor a unit for them".to_owned());
    }
    for admin in &inner.admins {
        // Units count only with a chain above them.
        if inner.chains.certifiers(admin).is_none() || !node_units.may_administrate(admin.organizational_units()) {
            return Err(of(admin, "an administrator must be a client or an administrator by its units"));
        }
    }
    Ok(())
}
