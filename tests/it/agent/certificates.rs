//! Certificates in files that the agent's own servers show: looked at before the start, and renewed while it runs.

use std::net::SocketAddr;
use std::path::Path;

use opssc::agent::check::{self, Verdict};
use opssc::agent::config::Settings;
use serde_json::Value;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use super::process::Process;
use super::tls;
use super::world::{World, within};

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[test]
fn files_of_own_servers_are_looked_at_before_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let files = tls::files(folder.path());
    let put = |name: &str, content: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let of = |name: &str, (certificate, key): (String, String)| {
        (put(&format!("{name}.crt"), certificate), put(&format!("{name}.key"), key))
    };
    let expired =
        of("expired", tls::issue(&files.issuer, |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1)));
    let elsewhere = of(
        "elsewhere",
        tls::issue(&files.issuer, |params| {
            params.subject_alt_names =
                rcgen::CertificateParams::new(vec!["elsewhere".to_owned()]).unwrap().subject_alt_names;
        }),
    );
    let other = tempfile::tempdir().unwrap();
    let stranger = tls::files(other.path());
    let with_key = put(
        "with-key",
        std::fs::read_to_string(&files.authority).unwrap() + &std::fs::read_to_string(&files.key).unwrap(),
    );
    let (own, own_key, authority) = (text(&files.certificate), text(&files.key), text(&files.authority));
    let good = &[("contract servers' TLS", Verdict::Good), ("contract servers' certificate", Verdict::Good)];
    let check = |cert: &str, key: &str, authority: Option<&str>, expected: &[(&str, Verdict)]| {
        let lookup = |name: &str| {
            Some(match name {
                "OPSSC_SERVER_TLS_CERT" | "AGENT_SERVICE_TLS_CERT" => cert,
                "OPSSC_SERVER_TLS_KEY" | "AGENT_SERVICE_TLS_KEY" => key,
                "OPSSC_SERVER_TLS_CA" => authority?,
                "CC_OPS_SERVER_ADDRESS" => "127.0.0.1:9999",
                "CC_OPS_SERVER_LISTEN" => "0.0.0.0:9999",
                "CHECKPOINT_DIR" => text(folder.path()),
                _ => return None,
            })
        };
        let settings = Settings::from_lookup(|name| lookup(name).map(Into::into)).unwrap();
        let all = check::offline(&settings);
        let found: Vec<_> = all.iter().filter(|finding| finding.subject.starts_with("contract servers'")).collect();
        let verdicts: Vec<_> = found.iter().map(|finding| (finding.subject.as_str(), finding.verdict)).collect();
        assert_eq!(verdicts, expected, "{all:#?}");
        let bad = found.iter().filter(|finding| finding.verdict != Verdict::Good);
        assert!(bad.clone().all(|finding| !finding.what.is_empty() && !finding.remedy.is_empty()), "{all:#?}");
        // The HTTP service shows the same.
        let service: Vec<_> = all.iter().filter(|finding| finding.subject.starts_with("HTTP service")).collect();
        assert_eq!(service[0].verdict, found[0].verdict, "{all:#?}");
        bad.map(|finding| finding.what.clone()).collect::<Vec<_>>().join("; ")
    };
    let authorities = "contract servers' authorities";
    let (passed, warned, failed) =
        ((authorities, Verdict::Good), (authorities, Verdict::Warning), (authorities, Verdict::Failed));
    assert_eq!(check(own, own_key, Some(authority), &[good[0], good[1], passed]), "");
    assert!(check(own, own_key, None, &[good[0], good[1], warned]).contains("itself"));
    let broken = &[("contract servers' TLS", Verdict::Failed), passed];
    assert!(check("/nowhere/cert", own_key, Some(authority), broken).contains("/nowhere/cert"));
    assert!(check(own, text(&stranger.key), Some(authority), broken).contains("key.pem"));
    assert!(check(own, own, Some(authority), broken).contains("no private key"));
    let over = &[good[0], ("contract servers' certificate", Verdict::Failed), passed];
    assert!(check(&expired.0, &expired.1, Some(authority), over).contains("expired at"));
    let unfit = &[good[0], good[1], passed, failed];
    assert!(check(own, own_key, Some(text(&stranger.authority)), unfit).contains("would not trust"));
    assert!(check(&elsewhere.0, &elsewhere.1, Some(authority), unfit).contains("not for 127.0.0.1:9999"));
    for (path, reason) in [("/nowhere/ca", "/nowhere/ca"), (with_key.as_str(), "private key"), (own_key, "private key")]
    {
        assert!(check(own, own_key, Some(path), &[good[0], good[1], failed]).contains(reason), "{path}");
    }
}

/// What a server shows first to a caller who trusts this authority.
async fn shown(address: SocketAddr, authority: &Path) -> CertificateDer<'static> {
    let connection = within("a connection", tls::connect(address, authority)).await;
    connection.get_ref().1.peer_certificates().expect("it shows some")[0].clone()
}

fn first(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contract_servers_show_a_renewed_certificate_and_never_half_of_one() {
    let world = World::start().await;
    let files = tls::files(world.folder.path());
    let settings = [
        // The system chooses ports, and the log tells them: nobody else needs to know.
        ("CC_OPS_SERVER_LISTEN", "127.0.0.1:0"),
        ("OPSSC_SERVER_TLS_CERT", text(&files.certificate)),
        ("OPSSC_SERVER_TLS_KEY", text(&files.key)),
        ("OPSSC_SERVER_TLS_CA", text(&files.authority)),
    ];
    let mut agent = Process::start(&world.environment(0, &settings));
    let serving = async |agent: &mut Process| -> SocketAddr {
        let line: Value = serde_json::from_str(&agent.until(&["serving contract", "chaincode-ops"]).await).unwrap();
        line["address"].as_str().expect("an address").parse().unwrap()
    };
    let address = serving(&mut agent).await;
    let before = first(&files.certificate);
    assert_eq!(shown(address, &files.authority).await, before);

    // The certificate comes first, and its key later.
    let (certificate, key) = tls::issue(&files.issuer, |_| {});
    std::fs::write(&files.certificate, certificate).unwrap();
    agent.hang_up().await;
    agent.until(&["contract is served as before", "chaincode-ops", "key.pem"]).await;
    assert_eq!(shown(address, &files.authority).await, before);
    std::fs::write(&files.key, key).unwrap();
    agent.hang_up().await;
    let address = serving(&mut agent).await;
    let after = first(&files.certificate);
    assert_ne!(after, before);
    assert_eq!(shown(address, &files.authority).await, after);
    assert_eq!(agent.terminate().await.0, Some(0));
}
