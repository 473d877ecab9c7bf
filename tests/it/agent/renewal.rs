//! Credentials that are renewed while a client lives.

use std::sync::Arc;

use opssc::client::profile::ConnectionProfile;
use opssc::fabric::identity::{Signer as _, SigningIdentity};

use super::world::{World, mychannel, proposal, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_identity_and_tls_certificate_are_shown_from_then_on() {
    let world = World::start_with(|builder| builder.mutual_tls(true)).await;
    let organization = &world.network.organizations()[0];
    let client = world.members[0].client.clone();
    let before = within("a query", client.channel(mychannel()).height()).await.unwrap();

    let user = SigningIdentity::load_msp(organization.msp_id.clone(), &organization.user_msp).unwrap();
    let creator = user.creator().clone();
    // The profile of another organization differs in the client's TLS certificate.
    let other = ConnectionProfile::load(&world.network.organizations()[1].connection_profile).unwrap();
    let own = std::fs::read_to_string(&organization.connection_profile_json).unwrap();
    let mut own: serde_json::Value = serde_json::from_str(&own).unwrap();
    let theirs = std::fs::read_to_string(&world.network.organizations()[1].connection_profile_json).unwrap();
    let theirs: serde_json::Value = serde_json::from_str(&theirs).unwrap();
    own["client"]["tlsCerts"] = theirs["client"]["tlsCerts"].clone();
    let folder = organization.connection_profile_json.parent().unwrap();
    let profile = ConnectionProfile::parse_in(&own.to_string(), folder).unwrap();
    assert_eq!(profile.client_tls(), other.client_tls());

    let renewed = client.renew(Arc::new(user), profile.clone()).unwrap();
    assert!(renewed.credentials && renewed.connections > 0 && !renewed.needs_new_client, "{renewed:?}");
    assert_eq!(within("a query", client.channel(mychannel()).height()).await.unwrap(), before);
    // All clones, by way of discovery and orderers too: streams are bound to the certificate that is shown.
    within("a transaction", world.members[0].ledger.request_proposal(&proposal("p", "asset", 1))).await.unwrap();
    assert_eq!(*world.members[0].client.signer().creator(), creator);
    let again = SigningIdentity::load_msp(organization.msp_id.clone(), &organization.user_msp).unwrap();
    let nothing = client.renew(Arc::new(again), profile).unwrap();
    assert!(!nothing.credentials && nothing.connections == 0, "{nothing:?}");
}
