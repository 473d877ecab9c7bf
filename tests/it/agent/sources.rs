//! Proposals whose packages are made of sources in git.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use opssc::agent::progress::{Happening, Step};
use opssc::fabric::names::PackageId;
use opssc::fabric::package::Package;
use opssc::opssc::chaincode_ops::{ProposalInput, Status, Task, TaskStatus};
use tokio::process::Command;

use super::world::{World, proposal};
use crate::git::repositories::Repo;
use crate::git::server::{Behaviour, GitServer};

const PASSWORD: &str = "correct-horse-battery";

/// A server with an account, and the settings with which an agent gets in.
pub(super) struct Origin {
    server: GitServer,
    settings: Vec<(&'static str, String)>,
}

impl Origin {
    pub(super) async fn start(world: &World, root: &Path) -> Self {
        let account = Some(("agent".to_owned(), PASSWORD.to_owned()));
        let server = GitServer::start(root, Behaviour { account, ..Behaviour::default() }).await;
        let authority = world.folder.path().join(format!("ca-{}.pem", server.port()));
        std::fs::write(&authority, server.ca()).unwrap();
        let settings = vec![
            ("GIT_USER", "agent".to_owned()),
            ("GIT_PASSWORD", PASSWORD.to_owned()),
            ("GIT_SSL_CAINFO", authority.display().to_string()),
            ("GIT_URL_REWRITE", server.rewrite("git.example.com")),
            ("GIT_CREDENTIALS_HOSTS", "git.example.com".to_owned()),
        ];
        Self { server, settings }
    }

    pub(super) fn settings(&self) -> Vec<(&'static str, &str)> {
        self.settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    fn settings_and<'a>(&'a self, more: &[(&'static str, &'a str)]) -> Vec<(&'static str, &'a str)> {
        self.settings().into_iter().chain(more.iter().copied()).collect()
    }
}

pub(super) fn proposed(id: &str, kind: &str, repository: &str, path: &str) -> ProposalInput {
    let mut input = proposal(id, id, 1);
    input.chaincode_package.package_type = kind.into();
    input.chaincode_package.repository = format!("git.example.com/{repository}");
    path.clone_into(&mut input.chaincode_package.path_to_source_files);
    input
}

/// The same chaincode in four languages; the one in Go is handed out.
pub(super) fn write_sources(root: &Path) -> Repo {
    let go = Repo::new(root, "go");
    go.file("chaincode/go.mod", "module example.com/asset\n\ngo 1.21\n")
        .file("chaincode/main.go", "package main\n\nfunc main() {}\n")
        .file("chaincode/META-INF/statedb/couchdb/indexes/owner.json", INDEX)
        .file("README.md", "not packaged");
    go.commit("go");
    let repo = Repo::new(root, "node");
    repo.file("package.json", "{\"name\":\"asset\",\"version\":\"1.0.0\",\"main\":\"index.js\"}")
        .file("index.js", "'use strict';\n")
        .file("node_modules/left/index.js", "not packaged");
    repo.commit("node");
    let repo = Repo::new(root, "typescript");
    repo.file("cc/package.json", "{\"name\":\"asset\",\"main\":\"dist/index.js\",\"scripts\":{\"build\":\"tsc\"}}")
        .file(
            "cc/tsconfig.json",
            "{\"compilerOptions\":{\"target\":\"es2021\",\"module\":\"commonjs\",\"outDir\":\"dist\"},\"include\":[\"src\"]}",
        )
        .file("cc/src/index.ts", "export const answer: number = 42;\n");
    repo.commit("typescript");
    let repo = Repo::new(root, "java");
    repo.file("build.gradle", "plugins { id 'java' }\n").file("src/main/java/Asset.java", "class Asset {}\n");
    repo.commit("java");
    go
}

const INDEX: &str = "{\"index\":{\"fields\":[\"owner\"]},\"ddoc\":\"owner\",\"name\":\"owner\",\"type\":\"json\"}";

/// The package IDs that the organizations have acknowledged.
async fn acknowledged(world: &World, id: &str) -> Vec<PackageId> {
    let histories = world.histories(id).await;
    let acknowledged = histories.iter().filter(|history| history.data.contains("packageID"));
    acknowledged
        .map(|history| {
            let data: serde_json::Value = serde_json::from_str(&history.data).unwrap();
            PackageId::parse(data["packageID"].as_str().unwrap()).unwrap()
        })
        .collect()
}

/// Whether nothing is left in the folders for temporary files.
fn assert_swept(world: &World) {
    for member in &world.members {
        let work = Path::new(&member.environment["CHECKPOINT_DIR"]).join("work");
        let left: Vec<_> = std::fs::read_dir(&work).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
        assert!(left.iter().all(|path| !path.is_dir()), "{left:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_language_gives_every_organization_the_same_package() {
    let world = World::start().await;
    let root = tempfile::tempdir().unwrap();
    write_sources(root.path());
    let origin = Origin::start(&world, root.path()).await;
    let mut agents = world.agents_with(&origin.settings()).await;
    for (kind, name, path, files) in [
        (
            "golang",
            "go",
            "chaincode",
            &["META-INF/statedb/couchdb/indexes/owner.json", "src/go.mod", "src/main.go"][..],
        ),
        ("javascript", "node", "", &["src/index.js", "src/package.json"]),
        (
            "typescript",
            "typescript",
            "cc",
            &["src/dist/index.js", "src/package.json", "src/src/index.ts", "src/tsconfig.json"],
        ),
        ("java", "java", "", &["src/build.gradle", "src/src/main/java/Asset.java"]),
    ] {
        world.propose(&proposed(kind, kind, name, path)).await;
        world.until(kind, Status::Committed).await;
        let ids = acknowledged(&world, kind).await;
        assert_eq!(ids.len(), 2, "{ids:?}");
        assert_eq!(ids[0], ids[1], "{kind}");
        let client = &world.members[1].client;
        let bytes = client.peer_lifecycle(&client.peers()[0]).installed_package(&ids[0]).await.unwrap();
        let package = Package::read(bytes).unwrap();
        let language = if kind == "typescript" || kind == "javascript" { "node" } else { kind };
        assert_eq!((package.kind(), package.label().as_str()), (language, format!("{kind}-1").as_str()));
        let found: BTreeSet<String> = package.code_files().unwrap().into_keys().collect();
        assert_eq!(found, files.iter().map(|file| (*file).to_owned()).collect::<BTreeSet<_>>(), "{kind}");
    }
    assert!(origin.server.asked().iter().any(|request| request.ends_with("+auth")));
    for agent in &mut agents {
        let said = agent.said();
        let done =
            |step| said.iter().any(|said| matches!(said.happening, Happening::Finished { step: s, .. } if s == step));
        assert!(done(Step::Fetch) && done(Step::Build) && done(Step::Package), "{said:?}");
        assert!(
            said.iter().any(
                |said| matches!(said.happening, Happening::Fetched { objects, bytes } if objects > 0 && bytes > 0)
            )
        );
        assert!(!format!("{said:?}").contains(PASSWORD));
        let metrics = agent.metrics.text();
        assert!(metrics.contains("\nopssc_package_id_differences_total 0\n"), "{metrics}");
        assert!(!metrics.contains("\nopssc_fetched_bytes_total 0\n"), "{metrics}");
    }
    for agent in agents {
        agent.stop().await;
    }
    assert_swept(&world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organization_keeps_its_veto() {
    let world = World::start().await;
    let root = tempfile::tempdir().unwrap();
    write_sources(root.path());
    let origin = Origin::start(&world, root.path()).await;
    let first = world.agent_with(0, &origin.settings()).await;
    let allowed = [("ALLOWED_REPOSITORIES", "git.example.com/team/*"), ("ALLOWED_TYPES", "golang,ccaas")];
    let second = world.agent_with(1, &origin.settings_and(&allowed)).await;
    for (id, kind, name, rule) in
        [("repository", "golang", "go", "ALLOWED_REPOSITORIES"), ("type", "javascript", "team/x", "ALLOWED_TYPES")]
    {
        world.propose(&proposed(id, kind, name, "chaincode")).await;
        world
            .until_seen("both answers", id, |_, histories| {
                histories.iter().filter(|history| history.status != TaskStatus::Agreed).count() == 2
            })
            .await;
        let histories = world.histories(id).await;
        let vetoed = histories.iter().find(|history| history.org_id == "Org2MSP" && history.task == Task::Acknowledge);
        let vetoed = vetoed.expect("Org2 has answered");
        assert_eq!(vetoed.status, TaskStatus::Failure);
        assert!(vetoed.data.contains("{\"error\":\"this organization does not deploy") && vetoed.data.contains(rule));
        assert_eq!(world.members[0].ledger.get_proposal(id).await.unwrap().status, Status::Approved);
    }
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packages_of_other_sources_are_told_before_the_commit() {
    let world = World::start().await;
    let (root, tampered) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_sources(root.path());
    // The same branch, with something more in it.
    write_sources(tampered.path()).file("chaincode/more.go", "package main\n").commit("more");
    let (origin, mirror) = (Origin::start(&world, root.path()).await, Origin::start(&world, tampered.path()).await);
    let mut agents = vec![world.agent_with(0, &origin.settings()).await, world.agent_with(1, &mirror.settings()).await];
    world.propose(&proposed("differs", "golang", "go", "chaincode")).await;
    world.until("differs", Status::Committed).await;
    let ids = acknowledged(&world, "differs").await;
    assert_ne!(ids[0], ids[1]);
    let mut told = Vec::new();
    let mut counted = 0;
    for agent in &mut agents {
        told.extend(agent.said().into_iter().filter_map(|said| match said.happening {
            Happening::PackagesDiffer { packages } => Some(packages),
            _ => None,
        }));
        counted += usize::from(agent.metrics.text().contains("\nopssc_package_id_differences_total 1\n"));
    }
    // One of the two commits.
    assert_eq!((told.len(), counted), (1, 1), "{told:?}");
    assert!(ids.iter().all(|id| told[0].contains(id.as_str())) && told[0].contains("by Org2MSP"), "{told:?}");
    for agent in agents {
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_that_cannot_be_had_end_in_clear_failures() {
    let world = World::start().await;
    let root = tempfile::tempdir().unwrap();
    write_sources(root.path());
    let repo = Repo::new(root.path(), "bundled");
    repo.file("package.json", "{\"main\":\"dist/index.js\",\"scripts\":{\"build\":\"webpack\"}}")
        .file("tsconfig.json", "{}")
        .file("index.ts", "export {};\n");
    repo.commit("bundled");
    let repo = Repo::new(root.path(), "large");
    repo.file("package.json", "{}").file("blob", vec![7; 600_000]);
    repo.commit("large");
    let origin = Origin::start(&world, root.path()).await;
    let agents = world.agents_with(&origin.settings_and(&[("GIT_MAX_BYTES", "500kB")])).await;
    let with = |mut input: ProposalInput, revision: &str| {
        revision.clone_into(&mut input.chaincode_package.commit_id);
        input
    };
    for (input, reason) in [
        (with(proposed("revision", "golang", "go", "chaincode"), "v9"), "there is no branch, tag or commit v9"),
        (with(proposed("odd", "golang", "go", "chaincode"), "main^{/fix}"), "is not valid"),
        (proposed("repository", "golang", "missing", ""), "git.example.com/missing is not found"),
        (proposed("scheme", "golang", "../x", ""), "cannot be fetched"),
        (proposed("dots", "golang", "go", "../../etc"), "leads out of the repository"),
        (proposed("folder", "golang", "go", "nowhere"), "nowhere"),
        (proposed("no-module", "golang", "go", ""), "packaged"),
        (proposed("bundled", "typescript", "bundled", ""), "webpack"),
        (proposed("large", "javascript", "large", ""), "which is the limit"),
        (proposed("unknown", "cobol", "go", ""), "package type cobol is not known"),
    ] {
        world.propose(&input).await;
        for told in world.failures(&input.id).await {
            assert!(told.starts_with("{\"error\":\"") && told.contains(reason), "{}: {told}", input.id);
            assert!(!told.contains(PASSWORD) && !told.contains("localhost"), "{told}");
        }
    }
    for agent in agents {
        agent.stop().await;
    }
    assert_swept(&world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_command_runs_what_the_compiler_cannot() {
    let world = World::start().await;
    let root = tempfile::tempdir().unwrap();
    let repo = Repo::new(root.path(), "scripted");
    repo.file("cc/package.json", "{\"main\":\"dist/index.js\",\"scripts\":{\"build\":\"sh build.sh\"}}")
        .file("cc/tsconfig.json", "{}")
        .file("cc/build.sh", "set -e\ntest \"$GIT_PASSWORD$ADMIN_KEY\" = ''\nmkdir dist\necho built > dist/index.js\n")
        .file("secret", "above")
        .link("cc/up", "../secret");
    repo.commit("scripted");
    let origin = Origin::start(&world, root.path()).await;
    let agents = world.agents_with(&origin.settings_and(&[("BUILD_COMMAND", "sh build.sh")])).await;
    world.propose(&proposed("scripted", "typescript", "scripted", "cc")).await;
    world.until("scripted", Status::Committed).await;
    let ids = acknowledged(&world, "scripted").await;
    assert_eq!(ids[0], ids[1]);
    let client = &world.members[0].client;
    let bytes = client.peer_lifecycle(&client.peers()[0]).installed_package(&ids[0]).await.unwrap();
    let files = Package::read(bytes).unwrap().code_files().unwrap();
    assert_eq!(files["src/dist/index.js"].as_ref(), b"built\n");
    assert!(!files.contains_key("src/up"));
    // A failure tells what the command said.
    repo.file("cc/build.sh", "echo no good; exit 4\n").commit("broken");
    let mut broken = proposed("broken", "typescript", "scripted", "cc");
    broken.chaincode_name = "scripted2".to_owned();
    world.propose(&broken).await;
    for told in world.failures("broken").await {
        assert!(told.contains("exit status: 4: no good"), "{told}");
    }
    for agent in agents {
        agent.stop().await;
    }
    assert_swept(&world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_commits_that_were_signed_by_a_listed_key_are_deployed() {
    let world = World::start().await;
    let root = tempfile::tempdir().unwrap();
    let repo = write_sources(root.path());
    let key = ssh_key::PrivateKey::from(ssh_key::private::Ed25519Keypair::from_seed(&[7; 32]));
    let keys = world.folder.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    std::fs::write(keys.join("alice.pub"), key.public_key().to_openssh().unwrap()).unwrap();
    // As `git commit -S` writes it.
    let plain = format!("{}\n", repo.git(&["cat-file", "commit", "HEAD"]));
    let signature = key.sign("git", ssh_key::HashAlg::Sha512, plain.as_bytes()).unwrap();
    let signature = signature.to_pem(ssh_key::LineEnding::LF).unwrap().trim_end().replace('\n', "\n ");
    let signed = plain.replacen("\n\n", &format!("\ngpgsig {signature}\n\n"), 1);
    let commit = repo.object("commit", signed.as_bytes());
    let bare = root.path().join("go.git").display().to_string();
    repo.git(&["--git-dir", &bare, "update-ref", "refs/heads/signed", &commit]);
    let origin = Origin::start(&world, root.path()).await;
    let keys = keys.display().to_string();
    let agents = world.agents_with(&origin.settings_and(&[("ALLOWED_SIGNERS", &keys)])).await;
    world.propose(&proposed("unsigned", "golang", "go", "chaincode")).await;
    // A server of no sources needs a signed commit too.
    world.propose(&proposed("service", "ccaas", "go", "")).await;
    for id in ["unsigned", "service"] {
        for told in world.failures(id).await {
            assert!(told.contains("signed commits only (ALLOWED_SIGNERS): the commit is not signed"), "{told}");
        }
    }
    let mut sources = proposed("sources", "golang", "go", "chaincode");
    sources.chaincode_package.commit_id = commit;
    world.propose(&sources).await;
    world.until("sources", Status::Committed).await;
    let mut service = proposed("signed", "ccaas", "go", "");
    service.chaincode_package.commit_id = "signed".to_owned();
    world.propose(&service).await;
    world.until("signed", Status::Committed).await;
    for agent in agents {
        agent.stop().await;
    }
}

/// The program itself, with everything logged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_password_is_in_no_log_and_what_a_crash_left_is_swept() {
    let world = World::start().await;
    let root = tempfile::tempdir().unwrap();
    write_sources(root.path());
    let origin = Origin::start(&world, root.path()).await;
    let second = world.agent_with(1, &origin.settings()).await;
    let mut environment = world.members[0].environment.clone();
    environment.extend(origin.settings().into_iter().map(|(name, value)| (name, value.into())));
    environment.insert("LOG_LEVEL", "silly".into());
    let left = Path::new(&environment["CHECKPOINT_DIR"]).join("work/opssc-1-0000000000000001");
    std::fs::create_dir_all(left.join("objects")).unwrap();
    let log = world.folder.path().join("log");
    let mut agent = Command::new(env!("CARGO_BIN_EXE_opssc-agent"))
        .env_clear()
        .envs(&environment)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    world.propose(&proposed("missing", "golang", "missing", "")).await;
    world.propose(&proposed("good", "golang", "go", "chaincode")).await;
    world.until("good", Status::Committed).await;
    world.failures("missing").await;
    assert!(!left.exists());
    agent.kill().await.unwrap();
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("Fetch sources"), "the log has everything");
    for secret in [PASSWORD.to_owned(), BASE64_STANDARD.encode(format!("agent:{PASSWORD}"))] {
        assert!(!log.contains(&secret), "a secret is in the log");
        let told = format!("{:?}{:?}", world.histories("good").await, world.histories("missing").await);
        assert!(!told.contains(&secret));
    }
    second.stop().await;
    assert_swept(&world);
}
