//! Everything that the settings name on this machine.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::Findings;
use crate::agent::config::Settings;
use crate::agent::holds::Holds;
use crate::agent::sources::Workshop;
use crate::agent::text;
use crate::client::profile::ConnectionProfile;
use crate::fabric::identity::{Certificate, SigningIdentity};

const ENROLL: &str = "enroll the identity anew";

pub(super) fn check(settings: &Settings, findings: &mut Findings) {
    identity(settings, findings);
    profile(settings, findings);
    match settings.orderers.open() {
        Ok(orderers) if orderers.is_empty() => {}
        Ok(orderers) => findings.good("orderer administration", &format!("{} endpoints", orderers.len())),
        Err(error) => findings.problems(&error),
    }
    match Workshop::open(&settings.sources) {
        Ok(_) => findings.good("sources", "the settings about them are usable"),
        Err(problems) => findings.problems(&crate::agent::config::SettingsError::new(problems)),
    }
    folder("checkpoints", &settings.checkpoint_dir, "CHECKPOINT_DIR", findings);
    if let Some(lock) = &settings.replicas.lock_file {
        folder("lock file", lock.parent().unwrap_or(Path::new("/")), "LEADER_LOCK_FILE", findings);
    }
    let held = Holds::load(&settings.holds_file).held();
    match (&held.trouble, held.holds.len()) {
        (Some(trouble), _) => {
            findings.fail(
                "holds",
                &format!("everything is held: {trouble}"),
                "mend the file, or `opssc-agent resume --all`",
            );
        }
        (None, 0) => findings.good("holds", "nothing is paused"),
        (None, _) => {
            let scopes: Vec<String> = held.holds.iter().map(|hold| hold.scope.to_string()).collect();
            findings.warn("holds", &format!("paused: {}", scopes.join(", ")), "`opssc-agent resume` when it is time");
        }
    }
    if settings.servers.launch_from_agent {
        let what = "proposals of type ccaas and k8s will be acknowledged as failure: this agent launches no servers";
        findings.warn("chaincode servers", what, "run them, and set CC_SERVER_LAUNCH_FROM_AGENT=false");
    }
}

fn identity(settings: &Settings, findings: &mut Findings) {
    let (cert, key) = (&settings.admin_cert, &settings.admin_key);
    match SigningIdentity::load(settings.msp_id.clone(), cert, key) {
        Ok(identity) => {
            let certificate = identity.certificate();
            findings.good("identity", &format!("{} of {}", certificate.subject(), settings.msp_id));
            findings.certificate("identity's certificate", certificate, ENROLL);
        }
        Err(error) => findings.fail(
            "identity",
            &text::chain(&error),
            "name the administrator's certificate by ADMIN_CERT and its private key by ADMIN_KEY",
        ),
    }
    // A folder is opened to few or to all as its files are.
    if let Ok(found) = std::fs::metadata(key)
        && found.is_file()
        && found.permissions().mode() & 0o007 != 0
    {
        let what = format!("{} may be read by every user of this machine", key.display());
        findings.warn("private key", &what, "give the file to the agent's user alone");
    }
}

fn profile(settings: &Settings, findings: &mut Findings) {
    let subject = "connection profile";
    let profile = match ConnectionProfile::load(&settings.connection_profile) {
        Ok(profile) => profile,
        Err(error) => {
            findings.fail(
                subject,
                &text::chain(&error),
                "name a connection profile in YAML or JSON by CONNECTION_PROFILE",
            );
            return;
        }
    };
    let organization = profile.organization();
    let peers = profile.peers_of(organization).count();
    if organization.msp_id != settings.msp_id {
        let what = format!("it is for {}, but ADMIN_MSPID is {}", organization.msp_id, settings.msp_id);
        findings.fail(subject, &what, "use the connection profile of the own organization");
    } else if peers == 0 {
        findings.fail(subject, "it names no peer of the own organization", "name the own peers in it");
    } else {
        findings.good(subject, &format!("{peers} own peers, {} orderers", profile.orderers().len()));
    }
    if profile.orderers().is_empty() {
        let what = "it names no orderer: those of the channels are used, but no channel can be joined";
        findings.warn(subject, what, "name an orderer in it");
    }
    if let Some(client) = profile.client_tls() {
        findings.validity("client's TLS certificate", (i64::MIN, client.not_after()), client.expiry(), ENROLL);
    }
    for node in profile.peers().into_iter().chain(profile.orderers()) {
        let Some(tls) = &node.endpoint.tls else {
            findings.warn(&node.name, "it is spoken to without TLS", "use grpcs:// outside of tests");
            continue;
        };
        // What is no certificate has made the profile unusable already.
        if let Ok(root) = Certificate::from_pem(&tls.roots)
            && root.not_after() < super::now()
        {
            let what = format!("the authority of its TLS certificate has expired at {}", root.expiry());
            findings.fail(&node.name, &what, "put the present authority into the connection profile");
        }
    }
}

/// Whether files can be made in `folder`, or where it would be made.
fn folder(subject: &str, folder: &Path, variable: &str, findings: &mut Findings) {
    let Some(present) = folder.ancestors().find(|folder| folder.as_os_str().is_empty() || folder.exists()) else {
        findings.fail(subject, &format!("{} cannot be looked at", folder.display()), &format!("set {variable}"));
        return;
    };
    let present = if present.as_os_str().is_empty() { Path::new(".") } else { present };
    let probe = present.join(format!(".opssc-check-{}", std::process::id()));
    let made = File::create_new(&probe).and_then(|_| std::fs::remove_file(&probe));
    match made {
        Ok(()) => findings.good(subject, &format!("{} is writable", folder.display())),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            findings.good(subject, &format!("{} is in use", folder.display()));
        }
        Err(error) => findings.fail(
            subject,
            &format!("no file can be made in {}: {error}", present.display()),
            &format!("let the agent's user write there, or set {variable}"),
        ),
    }
}
