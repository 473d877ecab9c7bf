//! Organizations and their nodes before they run: ports, certificates, files.
//!
//! A module of its own because all of it is either made anew or found as an earlier run has left it.

use std::path::Path;

use super::node::Listeners;
use super::start::Plan;
use super::{NodeAddress, Organization};
use crate::devnet::crypto::{NodeCrypto, NodeKind, OrganizationCrypto};
use crate::devnet::error::DevnetError;
use crate::devnet::genesis::{self, Member};
use crate::devnet::listener;
use crate::fabric::identity::MspFolder;
use crate::fabric::names::MspId;

/// A node with its port and its identities.
pub(super) struct Made {
    pub(super) address: NodeAddress,
    pub(super) port: u16,
    /// Of an orderer.
    pub(super) admin_port: Option<u16>,
    pub(super) listeners: Listeners,
    pub(super) crypto: NodeCrypto,
}

/// An organization with everything that was made for it.
pub(super) struct MadeOrganization {
    pub(super) organization: Organization,
    pub(super) member: Member,
    pub(super) peers: Vec<Made>,
    pub(super) orderers: Vec<Made>,
    pub(super) tls_ca_pem: String,
}

/// Makes the organization with the number `index` (from 0), or takes it up as an earlier run has left it.
pub(super) async fn organization(plan: &Plan, folder: &Path, index: u16) -> Result<MadeOrganization, DevnetError> {
    let number = index + 1;
    let name = format!("Org{number}");
    let domain = format!("org{number}.example.com");
    let msp_id = MspId::parse(format!("{name}MSP")).expect("the name follows the rule");
    let kept = plan.kept.as_ref();
    let crypto = match kept {
        None => OrganizationCrypto::generate(&folder.join("crypto"), &domain)?,
        Some(_) => OrganizationCrypto::load(&folder.join("crypto"), &domain)?,
    };
    let admin = crypto.add_user("Admin", "admin")?;
    let user = crypto.add_user("User1", "client")?;

    let mut peers = Vec::new();
    for peer in 0..plan.peers {
        let host = format!("peer{peer}");
        let port = kept.map_or(plan.builder.peer_port(index, peer), |kept| kept.peer_port(index, peer));
        peers.push(make_node(&crypto, NodeKind::Peer, &host, number, port, None).await?);
    }
    let mut orderers = Vec::new();
    for orderer in 0..plan.orderers {
        let host = format!("orderer{orderer}");
        let (port, admin_port) =
            kept.map_or(plan.builder.orderer_ports(index, orderer), |kept| kept.orderer_ports(index, orderer));
        orderers.push(make_node(&crypto, NodeKind::Orderer, &host, number, port, Some(admin_port)).await?);
    }

    let msp = MspFolder::load(&msp_id, &crypto.msp_folder())
        .map_err(|source| DevnetError::Msp { organization: name.clone(), source })?;
    let member = Member {
        msp_id: msp_id.clone(),
        msp,
        anchor: ("127.0.0.1".to_owned(), peers[0].port),
        orderers: orderers
            .iter()
            .map(|made| genesis::Orderer {
                host: "127.0.0.1".to_owned(),
                port: made.port,
                certificate_pem: made.crypto.certificate_pem.clone(),
                tls_certificate_pem: made.crypto.tls_certificate_pem.clone(),
            })
            .collect(),
    };
    let lower = name.to_lowercase();
    let profile = |extension: &str| folder.join("profiles").join(format!("connection-{lower}.{extension}"));
    let organization = Organization {
        msp: crypto.msp_folder(),
        admin_certificate: admin.join("msp/signcerts").join(format!("Admin@{domain}-cert.pem")),
        admin_key: admin.join("msp/keystore/priv_sk"),
        admin_msp: admin.join("msp"),
        admin_tls_certificate: admin.join("tls/client.crt"),
        admin_tls_key: admin.join("tls/client.key"),
        user_msp: user.join("msp"),
        tls_ca: crypto.tls_ca_file(),
        connection_profile: profile("yaml"),
        connection_profile_json: profile("json"),
        environment: folder.join("env").join(format!("{lower}.sh")),
        peers: peers.iter().map(|made| made.address.clone()).collect(),
        orderers: orderers.iter().map(|made| made.address.clone()).collect(),
        name,
        msp_id,
        domain,
    };
    Ok(MadeOrganization { organization, member, peers, orderers, tls_ca_pem: crypto.tls_ca_pem().to_owned() })
}

async fn make_node(
    crypto: &OrganizationCrypto,
    kind: NodeKind,
    host: &str,
    number: u16,
    port: u16,
    admin_port: Option<u16>,
) -> Result<Made, DevnetError> {
    let name = format!("{host}.org{number}");
    let failed = |source| DevnetError::Listen { node: name.clone(), source };
    let services = listener::bind(port).await.map_err(failed)?;
    let port = listener::port_of(&services).map_err(failed)?;
    let admin = match admin_port {
        Some(port) => Some(listener::bind(port).await.map_err(failed)?),
        None => None,
    };
    let admin_port = admin.as_ref().map(listener::port_of).transpose().map_err(failed)?;
    let crypto_of_node = crypto.add_node(kind, host)?;
    let address = NodeAddress {
        fqdn: format!("{host}.{}", crypto.domain),
        address: format!("127.0.0.1:{port}"),
        admin: admin_port.map(|port| format!("127.0.0.1:{port}")),
        name,
    };
    Ok(Made { address, port, admin_port, listeners: Listeners { services, admin }, crypto: crypto_of_node })
}
