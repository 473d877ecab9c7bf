//! Credentials that are renewed while a client lives, or not in time, and signers that are away.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use opssc::client::Client;
use opssc::client::profile::ConnectionProfile;
use opssc::devnet::Organization;
use opssc::fabric::identity::{SignError, SignFuture, Signer, SigningIdentity};
use opssc::fabric::names::MspId;
use opssc::opssc::calls::{ChaincodeOps, ChannelOps};
use opssc::opssc::chaincode_ops::{Status, TaskStatus};
use rcgen::{CertificateParams, DnType, Issuer, KeyPair};

use super::process::Process;
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

/// A certificate for the administrator's key that lasts so long, in PEM. Everything else is as the organization's
/// authority has it.
fn certificate(organization: &Organization, life: Duration) -> String {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let name = |unit: Option<&str>, name: String| {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "US");
        params.distinguished_name.push(DnType::OrganizationName, organization.domain.as_str());
        if let Some(unit) = unit {
            params.distinguished_name.push(DnType::OrganizationalUnitName, unit);
        }
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let folder = organization.admin_msp.ancestors().nth(3).expect("crypto/peerOrganizations/DOMAIN");
    let authority = name(None, format!("ca.{}", organization.domain));
    let issuer = Issuer::new(authority, KeyPair::from_pem(&read(&folder.join("ca/priv_sk"))).unwrap());
    let mut own = name(Some("admin"), format!("Admin@{}", organization.domain));
    own.use_authority_key_identifier_extension = true;
    own.not_before = (SystemTime::now() - Duration::from_mins(1)).into();
    own.not_after = (SystemTime::now() + life).into();
    own.signed_by(&KeyPair::from_pem(&read(&organization.admin_key)).unwrap(), &issuer).unwrap().pem()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_waits_for_a_certificate_that_has_expired_to_be_renewed() {
    let world = World::start().await;
    let second = world.agent(1).await;
    let organization = &world.network.organizations()[0];
    let path = world.folder.path().join("admin.pem");
    std::fs::copy(&organization.admin_certificate, &path).unwrap();
    let settings = [("ADMIN_CERT", path.to_str().unwrap()), ("SURVEY_INTERVAL", "100ms")];
    let mut agent = Process::start(&world.environment(0, &settings));
    for _ in 0..2 {
        agent.until(&["listening"]).await;
    }
    // One that has expired is not taken over: as long as it takes for this one to be looked at in time.
    let mut life = Duration::from_secs(1);
    loop {
        std::fs::write(&path, certificate(organization, life)).unwrap();
        agent.hang_up().await;
        if agent.until(&["renewed"]).await.contains("renewed certificates are in use") {
            break;
        }
        life *= 2;
    }
    agent.until(&["node cannot be reached", "expired on"]).await;

    world.propose(&proposal("p", "asset", 1)).await;
    let waiting = agent.until(&["step failed and will be tried again", r#""proposal":"p""#]).await;
    assert!(waiting.contains("certificate of") && waiting.contains("expired on"), "{waiting}");
    std::fs::copy(&organization.admin_certificate, &path).unwrap();
    agent.hang_up().await;
    world.until("p", Status::Committed).await;
    let histories = world.histories("p").await;
    assert!(histories.iter().all(|history| history.status != TaskStatus::Failure), "{histories:?}");
    world.assert_done_once("p", "asset").await;
    assert_eq!(agent.terminate().await.0, Some(0));
    second.stop().await;
}

/// A signer in another process, which may be away.
#[derive(Debug)]
struct Remote {
    identity: SigningIdentity,
    is_there: AtomicBool,
}

impl Signer for Remote {
    fn msp_id(&self) -> &MspId {
        self.identity.msp_id()
    }

    fn creator(&self) -> &Bytes {
        self.identity.creator()
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> SignFuture<'a> {
        Box::pin(async move {
            if self.is_there.load(Ordering::SeqCst) {
                return self.identity.sign(message).await;
            }
            Err(SignError::Refused("nobody answers".into()))
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signer_that_is_away_is_worth_another_try() {
    let world = World::start().await;
    let organization = &world.network.organizations()[0];
    let identity = SigningIdentity::load_msp(organization.msp_id.clone(), &organization.admin_msp).unwrap();
    let signer = Arc::new(Remote { identity, is_there: AtomicBool::new(false) });
    let profile = ConnectionProfile::load(&organization.connection_profile).unwrap();
    let client = Client::builder(Arc::clone(&signer) as Arc<dyn Signer>, profile).build().unwrap();
    let ops = client.channel(world.network.ops_channel().clone());
    let (ledger, channels) = (
        ChaincodeOps::new(ops.clone(), "chaincode-ops".parse().unwrap()),
        ChannelOps::new(ops, "channel-ops".parse().unwrap()),
    );
    let lifecycle = client.channel(mychannel()).lifecycle();
    let name = "asset".parse().unwrap();

    // What each kind of step asks for.
    let input = proposal("p", "asset", 1);
    let judged = [
        ledger.get_all_proposals().await.map(drop).map_err(|error| error.is_retryable()),
        ledger.request_proposal(&input).await.map(drop).map_err(|error| error.is_retryable()),
        channels.get_all_channels().await.map(drop).map_err(|error| error.is_retryable()),
        lifecycle.committed(&name).await.map(drop).map_err(|error| error.is_retryable()),
        client.peer_lifecycle(&client.peers()[0]).installed().await.map(drop).map_err(|error| error.is_retryable()),
    ];
    assert_eq!(judged, [Err(true); 5]);
    signer.is_there.store(true, Ordering::SeqCst);
    within("the request", ledger.request_proposal(&input)).await.unwrap();
}
