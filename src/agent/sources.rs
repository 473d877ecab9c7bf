//! From the sources that a proposal names to a package: fetched, built where they have to be, packaged.
//!
//! A module of its own because it knows nothing of ledgers and peers: what goes in was proposed by others, what comes out
//! is a package or the reason why there is none. Everything here ends with the task: sources lie in private temporary
//! folders that go when they are dropped, and only so many of them are worked on at a time.

mod folder;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::fabric::names::Label;
use crate::fabric::package::sources::{DirectoryTree, Inside};
use crate::fabric::package::{self, Language, PackError, Package};
use crate::opssc::chaincode_ops::{ChaincodePackage, PackageType};
use crate::runtime::CancellationToken;
use crate::runtime::scratch::Scratch;
use crate::source::git::signature::SigningKeys;
use crate::source::git::{
    self, Checkout, Credentials, Git, GitError, GitProgress, Progressed, Proxies, Repository, Revision,
};
use crate::source::typescript::{self, Compiled, TypescriptError};

use super::allow::{AllowList, BrokenRule};
use super::build::{BuildCommand, BuildError};
use super::config::{Limits, Problem, Sources as Settings};
use super::text;

/// How many proposals' sources are worked on at a time: each takes disk and memory up to the limits.
const AT_A_TIME: usize = 2;

/// Makes packages of sources.
#[derive(Clone)]
pub(super) struct Workshop {
    git: Git,
    /// Keys of which one must have signed the commit.
    signers: Option<Arc<SigningKeys>>,
    build_command: Option<BuildCommand>,
    limits: Limits,
    work_dir: PathBuf,
    turns: Arc<Semaphore>,
}

/// Why there is no package.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum SourcesError {
    /// The commit must not be deployed.
    #[error(transparent)]
    Rule(#[from] BrokenRule),
    /// The sources cannot be fetched.
    #[error("the sources cannot be fetched")]
    Fetch(#[from] GitError),
    /// TypeScript cannot be compiled here.
    #[error("the TypeScript sources cannot be compiled")]
    Compile(#[from] TypescriptError),
    /// A build script that only a build command can run.
    #[error("the TypeScript sources need more than their compiler, and this organization runs no build commands")]
    Script(#[source] TypescriptError),
    /// The build command failed.
    #[error("the sources cannot be built")]
    Build(#[from] BuildError),
    /// The sources cannot be packaged.
    #[error("the sources cannot be packaged")]
    Pack(#[from] PackError),
    /// Temporary files.
    #[error("temporary files cannot be written (WORK_DIR)")]
    WorkDir(#[from] std::io::Error),
}

impl SourcesError {
    /// Whether it may be otherwise later, without anybody changing the sources.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            // The disk may have been full.
            Self::Fetch(error) => {
                matches!(error, GitError::Unreachable { .. } | GitError::Cancelled | GitError::Folder(_))
            }
            Self::WorkDir(_) | Self::Build(BuildError::Stopped) => true,
            _ => false,
        }
    }
}

/// Sources that were fetched.
pub(super) struct Fetched {
    checkout: Checkout,
    _turn: OwnedSemaphorePermit,
}

impl Fetched {
    /// The full hash of the commit.
    pub(super) fn commit(&self) -> String {
        self.checkout.commit()
    }
}

/// How far a fetch is, told not more often than people can read.
pub(super) struct Watch<F> {
    tell: F,
    state: Mutex<(Progressed, Instant)>,
}

/// The shortest time between two statements about one fetch.
const TOLD_EVERY: Duration = Duration::from_secs(2);

impl<F> Watch<F> {
    pub(super) fn new(tell: F) -> Self {
        Self { tell, state: Mutex::new((Progressed::default(), Instant::now())) }
    }

    /// What was heard last.
    pub(super) fn last(&self) -> Progressed {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0
    }
}

impl<F: Fn(Progressed) + Send + Sync> GitProgress for Watch<F> {
    fn progressed(&self, progressed: Progressed) {
        let due = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.0 = progressed;
            let due = state.1.elapsed() >= TOLD_EVERY;
            if due {
                state.1 = Instant::now();
            }
            due
        };
        if due {
            (self.tell)(progressed);
        }
    }
}

/// What is packaged.
pub(super) struct Built {
    fetched: Arc<Fetched>,
    made: Made,
}

enum Made {
    /// Nothing: the sources as they are.
    Nothing,
    /// JavaScript of TypeScript.
    Compiled(Compiled),
    /// All sources, after the build command.
    Folder(Scratch),
}

impl Built {
    /// The sources as they are.
    pub(super) fn nothing(fetched: Arc<Fetched>) -> Self {
        Self { fetched, made: Made::Nothing }
    }
}

impl Workshop {
    /// Opens what the settings name, and removes what agents left behind that do not run any more.
    ///
    /// # Errors
    /// Every problem with the settings.
    pub(super) fn open(settings: &Settings) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let problem = |variable, what: String, remedy: &str| Problem { variable, what, remedy: remedy.to_owned() };
        let mut builder = Git::builder(&settings.work_dir)
            .limits(limits(&settings.limits))
            .rewrites(settings.git_url_rewrite.clone())
            .proxies(Proxies {
                https: settings.https_proxy.as_ref().map(|proxy| proxy.reveal().to_owned()),
                none_for: settings.no_proxy.clone(),
            })
            .permit(permit(settings.allow.clone()));
        if let Some(path) = &settings.git_ssl_cainfo {
            match std::fs::read(path) {
                Ok(pem) => builder = builder.roots(pem),
                Err(error) => problems.push(problem(
                    "GIT_SSL_CAINFO",
                    format!("{} cannot be read: {error}", path.display()),
                    "name a file of certificates in PEM",
                )),
            }
        }
        let signers = settings.allowed_signers.as_deref().map(signing_keys).transpose();
        let signers = signers.map_err(|what| {
            problems.push(problem(
                "ALLOWED_SIGNERS",
                what,
                "name a file with public keys of OpenPGP or SSH, or a folder of such",
            ));
        });
        if let Some(credentials) = credentials(settings) {
            builder = builder.credentials(credentials);
        }
        let git = builder.build().map_err(|error| {
            problems.push(problem("GIT_SSL_CAINFO, HTTPS_PROXY", text::chain(&error), "put the setting right"));
        });
        if let Err(error) = Scratch::sweep(&settings.work_dir) {
            let folder = settings.work_dir.display();
            problems.push(problem(
                "WORK_DIR",
                format!("{folder} cannot be used: {error}"),
                "name a folder of the agent's own",
            ));
        }
        match (git, signers) {
            (Ok(git), Ok(signers)) if problems.is_empty() => Ok(Self {
                git,
                signers: signers.map(Arc::new),
                build_command: settings.build_command.clone(),
                limits: settings.limits,
                work_dir: settings.work_dir.clone(),
                turns: Arc::new(Semaphore::new(AT_A_TIME)),
            }),
            _ => Err(problems),
        }
    }

    /// Gets the sources of `package`.
    ///
    /// # Errors
    /// [`SourcesError`].
    ///
    /// # Cancel safety
    /// Dropping it ends the fetch and removes what was fetched.
    pub(super) async fn fetch(
        &self,
        package: &ChaincodePackage,
        progress: &dyn GitProgress,
        stop: &CancellationToken,
    ) -> Result<Fetched, SourcesError> {
        let repository = Repository::parse(&package.repository)?;
        let revision = Revision::parse(&package.commit_id)?;
        // The semaphore is never closed.
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| GitError::Cancelled)?;
        let path = &package.path_to_source_files;
        let checkout = self.git.fetch(&repository, &revision, path, progress, stop).await?;
        if let Some(keys) = &self.signers {
            let signed = checkout.signer(keys).map_err(|error| BrokenRule::Signature { why: text::chain(&error) })?;
            tracing::info!(key = %signed, commit = checkout.commit(), "the commit is signed by a listed key");
        }
        Ok(Fetched { checkout, _turn: turn })
    }

    /// Makes JavaScript of TypeScript; what was built, and how.
    ///
    /// # Errors
    /// [`SourcesError`].
    ///
    /// # Cancel safety
    /// Dropping it ends the wait; a compilation runs to its end.
    pub(super) async fn build(
        &self,
        fetched: Arc<Fetched>,
        stop: &CancellationToken,
    ) -> Result<(Built, String), SourcesError> {
        let (shop, stop) = (self.clone(), stop.clone());
        crate::runtime::blocking(move || shop.build_blocking(fetched, &stop)).await
    }

    fn build_blocking(&self, fetched: Arc<Fetched>, stop: &CancellationToken) -> Result<(Built, String), SourcesError> {
        let inside = Inside::new(&fetched.checkout, fetched.checkout.path());
        let script = match typescript::compile(&inside, &typescript::Limits::default()) {
            Ok(compiled) => {
                let mut detail = format!("{} files by the built-in compiler", compiled.written().len());
                if !compiled.skipped().is_empty() {
                    detail = format!("{detail}, without {}", text::bounded(&compiled.skipped().join(", "), 200));
                }
                let built = Built { fetched, made: Made::Compiled(compiled) };
                return Ok((built, detail));
            }
            Err(script @ TypescriptError::Script { .. }) => script,
            Err(error) => return Err(error.into()),
        };
        let Some(command) = &self.build_command else { return Err(SourcesError::Script(script)) };
        let scratch = Scratch::create(&self.work_dir)?;
        let (sources, home) = (scratch.path().join(SOURCES), scratch.path().join("home"));
        folder::write(&inside, &sources).map_err(PackError::from)?;
        std::fs::create_dir(&home)?;
        command.run(&sources, &home, stop)?;
        let detail = format!("by the build command {}", text::bounded(&command.words.join(" "), 200));
        Ok((Built { fetched, made: Made::Folder(scratch) }, detail))
    }

    /// Packages what was built. Whoever has the same sources gets the same package.
    ///
    /// # Errors
    /// [`SourcesError`].
    ///
    /// # Cancel safety
    /// Dropping it ends the wait; the packaging runs to its end.
    pub(super) async fn package(
        &self,
        built: Arc<Built>,
        package_type: &PackageType,
        label: &Label,
    ) -> Result<Package, SourcesError> {
        let language = language(package_type)?;
        let (limits, label) = (self.limits, label.clone());
        crate::runtime::blocking(move || package_blocking(&built, language, &label, &limits)).await
    }
}

/// Where sources lie in the folder of a build command.
const SOURCES: &str = "sources";

fn package_blocking(
    built: &Built,
    language: Language,
    label: &Label,
    limits: &Limits,
) -> Result<Package, SourcesError> {
    let checkout = &built.fetched.checkout;
    let limits = package::Limits { bytes: limits.bytes, entries: limits.files };
    // The same in every organization, wherever the repository came from.
    let metadata_path = [checkout.repository().to_string().as_str(), checkout.path()].join("/");
    let metadata_path = metadata_path.trim_end_matches('/');
    let of = |tree, path| package::package(language, label, &package::Sources { tree, path, metadata_path }, &limits);
    let package = match &built.made {
        Made::Nothing => of(checkout, checkout.path())?,
        Made::Compiled(compiled) => {
            let inside = Inside::new(checkout, checkout.path());
            let remaining = compiled.remaining(&inside);
            let tree = compiled.over(&remaining).map_err(PackError::from)?;
            of(&tree, "")?
        }
        Made::Folder(scratch) => of(&DirectoryTree::new(scratch.path().join(SOURCES)), "")?,
    };
    Ok(package)
}

fn language(package_type: &PackageType) -> Result<Language, PackError> {
    match package_type {
        PackageType::Golang => Ok(Language::Golang),
        PackageType::Javascript | PackageType::Typescript => Ok(Language::Node),
        PackageType::Java => Ok(Language::Java),
        other => Language::parse(other.as_str()),
    }
}

fn limits(limits: &Limits) -> git::Limits {
    let default = git::Limits::default();
    git::Limits {
        received_bytes: limits.bytes,
        object_bytes: default.object_bytes.min(limits.bytes),
        total_bytes: limits.bytes,
        files: limits.files,
        depth: limits.depth,
        time: limits.time,
        ..default
    }
}

/// Submodules come from where they may come from, too.
fn permit(allow: AllowList) -> impl Fn(&Repository) -> Result<(), String> + Send + Sync + 'static {
    move |repository| allow.check_repository(&repository.to_string()).map_err(|rule| rule.to_string())
}

/// The keys in a file, or in all files of a folder.
fn signing_keys(path: &Path) -> Result<SigningKeys, String> {
    let failed = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(failed)?;
        files = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(failed)?;
        // Mounted folders hold links to files, and folders that they lead to.
        files.retain(|file| file.is_file());
    }
    let mut keys = SigningKeys::default();
    for file in files {
        let shown = file.display();
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{shown} cannot be read: {error}"))?;
        keys = keys.and(SigningKeys::parse(&text).map_err(|error| format!("{shown}: {error}"))?);
    }
    // Without keys no commit would ever do.
    if keys.is_empty() { Err(format!("{} holds no keys", path.display())) } else { Ok(keys) }
}

fn credentials(settings: &Settings) -> Option<Credentials> {
    let user = settings.git_user.clone();
    let credentials = match (&settings.git_token_file, &settings.git_password) {
        (Some(path), _) => Credentials::token_file(path, user),
        (None, Some(password)) => Credentials::password(user.unwrap_or_else(|| "git".to_owned()), password.reveal()),
        (None, None) => return None,
    };
    Some(match &settings.git_credentials_hosts {
        Some(hosts) => credentials.only_for(hosts.clone()),
        None => credentials,
    })
}
