//! What an agent tells over HTTP, and its page in a real browser.

use std::net::SocketAddr;
use std::path::Path;

use opssc::opssc::chaincode_ops::Status;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::world::{World, proposal, within};

/// Looked at all the time, so that a test has not to wait.
const OFTEN: (&str, &str) = ("SURVEY_INTERVAL", "50ms");

pub(super) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head[9..12].parse().unwrap(), body.to_owned())
}

async fn json(address: SocketAddr, path: &str) -> Value {
    let (status, body) = get(address, path).await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// Asks again until `seen` holds.
async fn until(what: &str, address: SocketAddr, path: &str, seen: impl Fn(u16, &str) -> bool) -> String {
    let asking = async {
        loop {
            let (status, body) = get(address, path).await;
            if seen(status, &body) {
                return body;
            }
        }
    };
    within(what, asking).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_proposals_and_numbers_tell_what_was_done() {
    let world = World::start().await;
    let agents = world.agents_with(&[OFTEN]).await;
    let address = agents[0].address;
    world.propose(&proposal("p", "asset", 1)).await;
    world.until("p", Status::Committed).await;
    until("the survey to see the chaincode", address, "/api/v1/status", |_, body| {
        body.contains(r#""name":"asset","sequence":1,"version":"1","approvals":{"Org1MSP":true,"Org2MSP":true}"#)
    })
    .await;
    let status = json(address, "/api/v1/status").await;
    assert_eq!((&status["organization"], &status["healthy"]), (&"Org1MSP".into(), &true.into()));
    let parts = status["components"].as_array().unwrap();
    assert!(parts.iter().all(|part| part["ready"] == true), "{parts:?}");
    let network = &status["network"];
    assert_eq!(
        (&network["channels"][0]["name"], &network["channels"][1]["name"]),
        (&"ops-channel".into(), &"mychannel".into())
    );
    assert_eq!(network["channels"][1]["organizations"], serde_json::json!(["Org1MSP", "Org2MSP"]));
    assert_eq!((&network["peers"][0]["up"], &network["orderers"][0]["up"]), (&true.into(), &true.into()));
    assert!(network["certificates"][0]["daysLeft"].as_i64().unwrap() > 0, "{network}");

    let tasks = json(address, "/api/v1/tasks?proposal=p&state=done").await;
    let steps = tasks["tasks"].as_array().unwrap().iter().map(|task| task["steps"].as_array().unwrap().len());
    assert!(steps.sum::<usize>() > 0, "{tasks}");
    let proposals = json(address, "/api/v1/proposals").await;
    assert_eq!(
        (&proposals["chaincode"][0]["id"], &proposals["chaincode"][0]["status"]),
        (&"p".into(), &"committed".into())
    );

    let (_, numbers) = get(address, "/metrics").await;
    for expected in [
        "opssc_events_total{task=\"prepareToDeploy\"} 1\n",
        "opssc_tasks_ended_total{task=\"prepareToDeploy\",ended=\"done\"} 1\n",
        "opssc_step_duration_seconds_count{step=\"Install chaincode\"} 1\n",
        "opssc_peer_up{peer=\"peer0.org1.example.com\"} 1\n",
        "opssc_orderer_up{orderer=\"orderer0.org1.example.com\"} 1\n",
        "opssc_checkpoint_block{contract=\"chaincode-ops\"} ",
        "opssc_certificate_days_left{certificate=\"administrator\"} ",
        "opssc_healthy 1\n",
    ] {
        assert!(numbers.contains(expected), "{expected} is not in\n{numbers}");
    }
    for agent in agents {
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_go_away_and_come_back_are_seen() {
    let world = World::start().await;
    let agent = world.agent_with(0, &[OFTEN]).await;
    let address = agent.address;
    until("readiness", address, "/readyz", |status, _| status == 200).await;
    world.network.stop_peer("peer0.org1").await.unwrap();
    let told =
        until("the peer to be missed", address, "/readyz", |status, body| status == 503 && body.contains("away:"))
            .await;
    assert!(told.contains("[-] peers (away: peer0.org1.example.com)"), "{told}");
    assert_eq!(get(address, "/livez").await.0, 200);
    until("the number", address, "/metrics", |_, body| {
        body.contains("opssc_peer_up{peer=\"peer0.org1.example.com\"} 0\n")
    })
    .await;
    world.network.start_peer("peer0.org1").await.unwrap();
    until("readiness again", address, "/readyz", |status, _| status == 200).await;
    agent.stop().await;
}

/// Debian's browser, where it is installed.
fn browser() -> Option<&'static Path> {
    ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
        .into_iter()
        .map(Path::new)
        .find(|path| path.exists())
}

/// The page as the browser has it after it has run for some seconds of its own time. Those may be over before a loaded
/// machine has brought what is on the page: then it is opened again.
async fn page(browser: &Path, address: SocketAddr, folder: &Path, expected: &[&str]) -> String {
    let mut page = String::new();
    for attempt in 0..4 {
        let output = Command::new(browser)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom"])
            // It has nobody to talk to but the agent.
            .args(["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .arg("--virtual-time-budget=8000")
            .arg(format!("--user-data-dir={}", folder.join(format!("browser{attempt}")).display()))
            .arg(format!("http://{address}/"))
            .kill_on_drop(true)
            .output();
        let output = within("the browser", output).await.unwrap();
        page = String::from_utf8_lossy(&output.stdout).into_owned();
        if expected.iter().all(|expected| page.contains(expected)) {
            break;
        }
    }
    page
}

#[expect(clippy::print_stdout, reason = "a test that shows nothing must say so")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_shows_the_page_and_runs_nothing_that_the_ledger_says() {
    let Some(browser) = browser() else {
        println!("skipped: no chromium is installed");
        return;
    };
    let world = World::start().await;
    let agents = world.agents_with(&[OFTEN]).await;
    let address = agents[0].address;
    let hostile = r#"<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>"#;
    world.propose(&proposal(hostile, "asset", 1)).await;
    world.until(hostile, Status::Committed).await;
    until("the survey to see the chaincode", address, "/api/v1/status", |_, body| body.contains(r#""name":"asset""#))
        .await;
    let expected = [
        "<title>Org1MSP · OpsSC agent</title>",
        "<h1 id=\"organization\">Org1MSP</h1>",
        ">healthy</p>",
        ">peer0.org1.example.com<",
        ">asset<",
        ">✓ Org1MSP<",
        ">✓ Org2MSP<",
        ">Install chaincode<",
        "&lt;img src=x onerror=",
    ];
    let page = page(browser, address, world.folder.path(), &expected).await;
    for expected in expected {
        assert!(page.contains(expected), "{expected} is not in\n{page}");
    }
    assert!(!page.contains("<img") && page.matches("<script").count() == 1, "{page}");
    for agent in agents {
        agent.stop().await;
    }
}
