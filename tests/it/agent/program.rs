//! The program's commands about an agent, as processes: what people type, and what comes of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use opssc::opssc::chaincode_ops::Status;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::process::Process;
use super::tls;
use super::world::{World, proposal, within};

type Environment = BTreeMap<&'static str, OsString>;

/// What a command came to.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    told: String,
}

impl Ended {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

async fn run(arguments: &[&str], environment: &Environment) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_opssc-agent"));
    let output = command.args(arguments).env_clear().envs(environment).kill_on_drop(true).output();
    let output = within(&format!("{arguments:?}"), output).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), told: text(output.stderr) }
}

/// The entry of a list of objects whose `key` is `name`.
fn entry<'a>(list: &'a Value, key: &str, name: &str) -> &'a Value {
    let found = list.as_array().expect("a list").iter().find(|entry| entry[key] == name);
    found.unwrap_or_else(|| panic!("no {name} in {list}"))
}

#[tokio::test]
async fn settings_are_shown_with_their_origin_and_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.toml");
    std::fs::write(&file, "admin_mspid = \"FileMSP\"\nchannel_name = \"file\"\ngit_user = \"file\"\n").unwrap();
    let mut environment = Environment::from([
        ("CONFIG_FILE", file.into_os_string()),
        ("ADMIN_MSPID", "EnvironmentMSP".into()),
        ("CHANNEL_NAME", "environment".into()),
        ("GIT_PASSWORD", "hunter2".into()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2".into()),
        ("WS_URL", "ws://me:hunter2@localhost:5000".into()),
    ]);
    let shown = run(&["config", "--json", "--msp-id", "FlagMSP"], &environment).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let settings = shown.json();
    for (name, value, from) in [
        ("ADMIN_MSPID", "FlagMSP", "flag"),
        ("CHANNEL_NAME", "environment", "environment"),
        ("GIT_USER", "file", "file"),
        ("CH_OPS_CC_NAME", "channel-ops", "default"),
        ("GIT_PASSWORD", "(set, not shown)", "environment"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "(set, not shown)", "environment"),
    ] {
        let setting = entry(&settings, "name", name);
        assert_eq!((&setting["value"], &setting["from"]), (&value.into(), &from.into()), "{name}");
    }
    let table = run(&["config"], &environment).await;
    assert!(table.out.lines().any(|line| line.starts_with("GIT_PASSWORD ") && line.contains("not shown")), "{table:?}");
    for ended in [&shown, &table] {
        assert!(!ended.out.contains("hunter2") && !ended.told.contains("hunter2"), "{ended:?}");
    }
    environment.insert("AGENT_SERVICE_PORT", "many".into());
    let wrong = run(&["config"], &environment).await;
    assert_eq!(wrong.code, Some(64), "{wrong:?}");
    assert!(wrong.told.contains("AGENT_SERVICE_PORT") && wrong.out.contains("CHANNEL_NAME"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_is_checked_and_what_is_missing_is_planned_and_not_done() {
    let world = World::start_with(|builder| builder.organizations(3).unjoined(2)).await;
    let own = world.environment(0, &[]);
    let good = run(&["check", "--json"], &own).await;
    assert_eq!(good.code, Some(0), "{good:?}");
    let findings = good.json();
    assert!(findings.as_array().unwrap().iter().all(|finding| finding["result"] != "failed"), "{findings}");
    assert_eq!(entry(&findings, "check", "identity")["result"], "ok");
    let nothing = run(&["plan"], &own).await;
    assert_eq!((nothing.code, nothing.told.trim()), (Some(0), "there is nothing to do"), "{nothing:?}");

    // Files alone.
    let keyless = world.environment(0, &[("ADMIN_KEY", "/nowhere/key.pem")]);
    let offline = run(&["check", "--offline", "--json"], &keyless).await;
    assert_eq!(offline.code, Some(1), "{offline:?}");
    let identity = entry(&offline.json(), "check", "identity").clone();
    assert_eq!(identity["result"], "failed");
    assert!(identity["detail"].as_str().unwrap().contains("/nowhere/key.pem"), "{identity}");
    assert!(identity["remedy"].as_str().unwrap().contains("ADMIN_KEY"), "{identity}");
    let wrong = run(&["check", "--offline"], &world.environment(0, &[("WS_URL", "nowhere")])).await;
    assert_eq!(wrong.code, Some(64), "{wrong:?}");
    assert!(wrong.out.contains("WS_URL"), "{wrong:?}");

    // A node that is away, which only whoever connects can see.
    world.network.stop_peer("peer0.org1").await.unwrap();
    assert_eq!(run(&["check", "--offline"], &own).await.code, Some(0));
    let away = run(&["check"], &own).await;
    assert_eq!(away.code, Some(1), "{away:?}");
    let told = |line: &&str| line.starts_with("failed") && line.contains("peer0.org1.example.com");
    assert!(away.out.lines().filter(told).count() >= 2, "a reason and a remedy in {away:?}");

    // The newcomer's peer is in no channel yet, and stays there.
    let newcomer = world.environment(2, &[]);
    for _ in 0..2 {
        let plan = run(&["plan", "--json"], &newcomer).await;
        assert_eq!(plan.code, Some(0), "{plan:?}");
        assert_eq!(plan.json()["steps"], serde_json::json!(["join peer0.org3.example.com to ops-channel"]), "{plan:?}");
    }
}

/// `GET` over TLS, from a service whose certificate is of this authority.
async fn get(address: SocketAddr, authority: &Path, path: &str, token: Option<&str>) -> (u16, String) {
    let asking = async {
        let mut connection = tls::connect(address, authority).await;
        let shown = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{shown}\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = within(path, asking).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head[9..12].parse().unwrap(), body.to_owned())
}

/// Starts the agent, and gives the address of its HTTP service once it listens to both contracts.
async fn started(environment: &Environment) -> (Process, SocketAddr) {
    let mut agent = Process::start(environment);
    let line: Value = serde_json::from_str(&agent.until(&["agent started"]).await).unwrap();
    let address = line["address"].as_str().expect("an address").parse().unwrap();
    agent.until(&["listening"]).await;
    agent.until(&["listening"]).await;
    (agent, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_paused_over_https_outlives_a_restart_until_the_file_says_otherwise() {
    let world = World::start().await;
    let second = world.agent(1).await;
    let folder = world.folder.path();
    let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    let tls = tls::files(folder);
    let (token, other) = (folder.join("token"), folder.join("other-token"));
    std::fs::write(&token, "sesame\n").unwrap();
    std::fs::write(&other, "wrong\n").unwrap();
    let environment = world.environment(
        0,
        &[
            ("AGENT_SERVICE_TLS_CERT", &text(&tls.certificate)),
            ("AGENT_SERVICE_TLS_KEY", &text(&tls.key)),
            ("AGENT_SERVICE_TOKEN_FILE", &text(&token)),
        ],
    );
    let (agent, address) = started(&environment).await;
    let url = format!("https://{address}");
    let (authority, other) = (text(&tls.authority), text(&other));

    // Only who knows the authority, and shows the token.
    let elsewhere = Environment::new();
    let asked = ["pause", "--agent", &url, "--chaincode", "asset", "--reason", "a fair"];
    let stranger = run(&asked, &elsewhere).await;
    assert_eq!(stranger.code, Some(1), "{stranger:?}");
    assert!(stranger.told.contains("cannot be reached"), "{stranger:?}");
    let asked = [&asked[..], &["--agent-ca", &authority]].concat();
    for asked in [asked.clone(), [&asked[..], &["--token-file", &other]].concat()] {
        let refused = run(&asked, &elsewhere).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.told.contains("401") && !refused.told.contains("wrong"), "{refused:?}");
    }
    assert_eq!(get(address, &tls.authority, "/api/v1/status", Some("wrong")).await.0, 401);
    let token = text(&token);
    let paused = run(&[&asked[..], &["--token-file", &token]].concat(), &elsewhere).await;
    assert_eq!(paused.code, Some(0), "{paused:?}");
    let (status, log) = agent.terminate().await;
    assert_eq!(status, Some(0), "{log:#?}");
    assert!(!log.iter().any(|line| line.contains("sesame")), "{log:#?}");

    // It is held by the next one, which says so everywhere.
    let (mut agent, address) = started(&environment).await;
    world.propose(&proposal("p", "asset", 1)).await;
    agent.until(&["task is held", "a fair"]).await;
    let (code, status) = get(address, &tls.authority, "/api/v1/status", Some("sesame")).await;
    assert_eq!(code, 200, "{status}");
    let status: Value = serde_json::from_str(&status).unwrap();
    let hold = entry(&status["holds"]["holds"], "chaincode", "asset");
    assert_eq!((&hold["reason"], &status["replica"]["leads"]), (&"a fair".into(), &true.into()), "{status}");
    // The journal, and whoever reads it, has it a moment after the log.
    let told = async {
        while !get(address, &tls.authority, "/api/v1/tasks?proposal=p", Some("sesame")).await.1.contains("a fair") {}
    };
    within("the hold to be told with the task", told).await;
    let checked = run(&["check", "--offline", "--json"], &environment).await;
    assert_eq!((checked.code, &entry(&checked.json(), "check", "holds")["result"]), (Some(0), &"warning".into()));

    // The file says the same, and may be told by whoever is on the machine.
    let resumed = run(&["resume", "--chaincode", "asset"], &environment).await;
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    world.until("p", Status::Committed).await;
    let url = format!("https://{address}");
    let again = ["resume", "--chaincode", "asset", "--agent", &url, "--agent-ca", &authority, "--token-file", &token];
    let again = run(&again, &elsewhere).await;
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.told.contains("was not paused"), "{again:?}");
    assert_eq!(agent.terminate().await.0, Some(0));
    second.stop().await;
}
