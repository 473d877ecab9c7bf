//! `opssc-agent lifecycle …`: chaincode packages without a network.
//!
//! What `package` makes of a folder has the contents that the `peer` command would give it; the same sources give the same
//! package on every machine.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::failure::{Exit, UsageError};
use super::lifecycle_git::{self, Wanted};
use super::output;
use crate::fabric::names::Label;
use crate::fabric::package::ccaas::{self, Connection, Image};
use crate::fabric::package::sources::{DirectoryTree, Inside};
use crate::fabric::package::{self, Language, Limits, Package, PackedKind, Sources};
use crate::runtime::durable;
use crate::source::typescript;

/// What to do with packages.
#[derive(Debug, Subcommand)]
pub(super) enum LifecycleCommand {
    /// Package chaincode
    Package(PackageArguments),
    /// Show the ID under which peers install a package
    PackageId {
        /// The package file
        package: PathBuf,
    },
    /// Show what a package holds: metadata, entries, hashes
    Inspect {
        /// The package file
        package: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Writes the package to a file and its ID to standard output.
#[derive(Debug, Args)]
pub(super) struct PackageArguments {
    /// The type: golang, node, typescript (compiled and packaged as node), java, ccaas, k8s
    #[arg(long)]
    lang: String,
    /// The folder of the chaincode. For golang without a go.mod, an import path below $GOPATH/src; for ccaas and k8s, the
    /// file connection.json or image.json, or the folder that holds it
    #[arg(long, required_unless_present = "repository", conflicts_with = "repository")]
    path: Option<String>,
    /// The git repository instead of a folder, as a proposal names it: example.com/organization/repository. Settings
    /// are `GIT_USER`, `GIT_PASSWORD` or `GIT_TOKEN_FILE`, `GIT_SSL_CAINFO`, `GIT_URL_REWRITE`, `HTTPS_PROXY`,
    /// `NO_PROXY`
    #[arg(long, requires = "commit")]
    repository: Option<String>,
    /// The branch, tag or commit in the repository
    #[arg(long, requires = "repository")]
    commit: Option<String>,
    /// The folder of the chaincode in the repository
    #[arg(long, requires = "repository", default_value = "", hide_default_value = true)]
    subpath: String,
    /// The label: letters, digits and _ . + -
    #[arg(long)]
    label: String,
    /// What the package says about its path, for node and java [default: the path inside of the repository, so that it is
    /// the same on every machine]
    #[arg(long)]
    metadata_path: Option<String>,
    /// The package file [default: the label with .tar.gz]
    #[arg(long, short)]
    output: Option<PathBuf>,
}

pub(super) fn run(command: &LifecycleCommand, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    match command {
        LifecycleCommand::Package(arguments) => make(arguments, environment)?,
        LifecycleCommand::PackageId { package } => output::put(load(package)?.id().as_str())?,
        LifecycleCommand::Inspect { package, json } => {
            let contents = Contents::of(&load(package)?)?;
            if *json { output::put_json(&contents)? } else { output::put(&contents.shown())? }
        }
    }
    Ok(Exit::Done)
}

fn load(path: &Path) -> anyhow::Result<Package> {
    let bytes = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Package::read(bytes).with_context(|| format!("{} is no chaincode package", path.display()))
}

fn make(arguments: &PackageArguments, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<()> {
    let usage = |error: &dyn std::fmt::Display| UsageError(error.to_string());
    let label = Label::parse(&arguments.label).map_err(|error| usage(&error))?;
    let package = match (&arguments.repository, &arguments.path) {
        (Some(repository), _) => {
            let wanted = Wanted {
                repository,
                commit: arguments.commit.as_deref().unwrap_or_default(),
                subpath: &arguments.subpath,
                metadata_path: arguments.metadata_path.as_deref(),
            };
            let kind = Kind::parse(&arguments.lang)?;
            lifecycle_git::package(&wanted, &kind, &label, environment)?
        }
        (None, Some(path)) if !path.is_empty() => local(arguments, path, &label, environment)?,
        _ => return Err(UsageError("--path is empty".to_owned()).into()),
    };
    let file = arguments.output.clone().unwrap_or_else(|| PathBuf::from(format!("{label}.tar.gz")));
    durable::replace_file_blocking(&file, package.bytes())
        .with_context(|| format!("{} cannot be written", file.display()))?;
    output::say(&format!("wrote {} ({} bytes)", file.display(), package.bytes().len()));
    output::put(package.id().as_str())
}

/// Packages what is on this machine.
fn local(
    arguments: &PackageArguments,
    typed: &str,
    label: &Label,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> anyhow::Result<Package> {
    let path = Path::new(typed);
    match arguments.lang.to_ascii_lowercase().as_str() {
        "ccaas" => {
            let connection: Connection = json(path, "connection.json")?;
            Ok(ccaas::package(label, &connection)?)
        }
        "k8s" => {
            let image: Image = json(path, "image.json")?;
            Ok(ccaas::image_package(label, &image)?)
        }
        _ => {
            let kind = Kind::parse(&arguments.lang)?;
            let gopath = environment("GOPATH").or_else(|| Some(Path::new(&environment("HOME")?).join("go").into()));
            let place = Place::of(kind.language, typed, gopath.as_deref().map(Path::new))?;
            let tree = DirectoryTree::new(&place.root);
            let metadata_path = arguments.metadata_path.as_deref().unwrap_or(&place.path);
            let sources = Sources { tree: &tree, path: &place.path, metadata_path };
            kind.package(label, &sources).with_context(|| format!("{typed} cannot be packaged"))
        }
    }
}

/// What is packaged from sources.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) language: Language,
    /// As it was typed: it is written so into the package, as the peer command does.
    typed: String,
    compiled: bool,
}

impl Kind {
    fn parse(typed: &str) -> Result<Self, UsageError> {
        if typed.eq_ignore_ascii_case("typescript") {
            return Ok(Self { language: Language::Node, typed: "node".to_owned(), compiled: true });
        }
        let language = Language::parse(typed).map_err(|error| UsageError(error.to_string()))?;
        Ok(Self { language, typed: typed.to_owned(), compiled: false })
    }

    /// Packages, after compiling where there is something to compile, as an agent does.
    pub(super) fn package(&self, label: &Label, sources: &Sources<'_>) -> anyhow::Result<Package> {
        let limits = Limits::default();
        if !self.compiled {
            return Ok(package::package_as(self.language, &self.typed, label, sources, &limits)?);
        }
        let inside = Inside::new(sources.tree, sources.path);
        let compiled = typescript::compile(&inside, &typescript::Limits::default())?;
        output::say(&format!("compiled {} files", compiled.written().len()));
        let remaining = compiled.remaining(&inside);
        let tree = compiled.over(&remaining)?;
        let sources = Sources { tree: &tree, path: "", metadata_path: sources.metadata_path };
        Ok(package::package_as(self.language, &self.typed, label, &sources, &limits)?)
    }
}

/// A JSON file, or the one of this name in a folder.
fn json<T: serde::de::DeserializeOwned>(path: &Path, name: &str) -> anyhow::Result<T> {
    let file = if path.is_dir() { path.join(name) } else { path.to_owned() };
    let bytes = fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is not a valid {name}", file.display()))
}

/// Where the chaincode is: a tree and a folder in it.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    root: PathBuf,
    path: String,
}

impl Place {
    /// The tree of a folder is the repository that it belongs to, so links inside of that are followed and a go.mod above
    /// the folder is found; without a repository it is the folder, or for Go the one of the go.mod.
    fn of(language: Language, path: &str, gopath: Option<&Path>) -> anyhow::Result<Self> {
        let folder = match fs::canonicalize(path) {
            Ok(folder) => folder,
            Err(error) => {
                // An import path, as the peer command takes it.
                let below = gopath.map(|gopath| gopath.join("src"));
                let import = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
                return match below {
                    Some(root) if language == Language::Golang && import && root.join(path).is_dir() => {
                        Ok(Self { root, path: path.trim_end_matches('/').to_owned() })
                    }
                    _ => Err(error).with_context(|| format!("{path} cannot be read")),
                };
            }
        };
        let above = |name: &str| folder.ancestors().find(|folder| folder.join(name).exists());
        let module = above("go.mod").filter(|_| language == Language::Golang);
        // The folder's own name counts too: that of a build folder is packaged as nothing.
        let root = above(".git").or(module).or(folder.parent()).unwrap_or(&folder);
        let inside = folder.strip_prefix(root).unwrap_or(Path::new("")).to_str();
        let path = inside.with_context(|| format!("{path} is not UTF-8"))?.to_owned();
        Ok(Self { root: root.to_owned(), path })
    }
}

/// What `inspect` shows.
#[derive(Debug, Serialize)]
struct Contents {
    package_id: String,
    label: String,
    r#type: String,
    path: String,
    bytes: u64,
    /// Of the uncompressed code, in hexadecimal, by name.
    entries: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    kind: &'static str,
    mode: String,
    size: u64,
    sha256: String,
}

impl Contents {
    fn of(package: &Package) -> anyhow::Result<Self> {
        let entries = package.code_entries().context("the code in the package cannot be read")?;
        let entries = entries.into_iter().map(|entry| Entry {
            kind: match entry.kind {
                PackedKind::File if entry.escapes() => "file outside of the package",
                PackedKind::File => "file",
                PackedKind::Directory => "directory",
                PackedKind::Other => "not a file",
            },
            mode: format!("{:o}", entry.mode),
            size: entry.size,
            sha256: hex(&entry.sha256),
            name: entry.name,
        });
        Ok(Self {
            package_id: package.id().to_string(),
            label: package.label().to_string(),
            r#type: package.kind().to_owned(),
            path: package.path().to_owned(),
            bytes: package.bytes().len() as u64,
            entries: entries.collect(),
        })
    }

    fn shown(&self) -> String {
        let head = output::fields(&[
            ("package ID", self.package_id.clone()),
            ("label", self.label.clone()),
            ("type", self.r#type.clone()),
            ("path", self.path.clone()),
            ("bytes", self.bytes.to_string()),
        ]);
        let row = |entry: &Entry| {
            let sum = if entry.kind == "file" { entry.sha256.clone() } else { entry.kind.to_owned() };
            vec![entry.name.clone(), entry.mode.clone(), entry.size.to_string(), sum]
        };
        let rows: Vec<Vec<String>> = self.entries.iter().map(row).collect();
        format!("{head}\n\n{}", output::table(&["NAME", "MODE", "BYTES", "SHA-256"], &rows))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_with(words: &[&str], gopath: &Path) -> anyhow::Result<Exit> {
        #[derive(clap::Parser)]
        struct Typed {
            #[command(subcommand)]
            command: LifecycleCommand,
        }
        let typed = <Typed as clap::Parser>::try_parse_from(["lifecycle"].iter().chain(words))?;
        run(&typed.command, &|name: &str| (name == "GOPATH").then(|| gopath.into()))
    }

    fn file(root: &Path, path: &str, contents: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    #[test]
    fn packages_are_made_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        file(root, "go/go.mod", "module example.com/go\n");
        file(root, "go/cmd/main.go", "package main\n");
        file(root, "src/example.com/old/main.go", "package main\nimport \"fmt\"\n");
        file(root, "js/index.js", "1");
        file(root, "ts/package.json", r#"{"main":"dist/index.js","scripts":{"build":"tsc"}}"#);
        file(root, "ts/tsconfig.json", r#"{"compilerOptions":{"outDir":"dist","rootDir":"src","module":"commonjs"}}"#);
        file(root, "ts/src/index.ts", "export const answer: number = 42;");
        file(root, "java/pom.xml", "<project/>");
        file(
            root,
            "ccaas/connection.json",
            r#"{"address":"cc:7052","dial_timeout":"5s","tls_required":true,"root_cert":"c"}"#,
        );
        file(root, "image.json", r#"{"name":"registry/cc","digest":"sha256:00"}"#);
        let at = |name: &str| root.join(name).display().to_string();
        for (kind, path, inside) in [
            ("golang", at("go/cmd"), "src/cmd/main.go"),
            ("golang", "example.com/old".to_owned(), "src/example.com/old/main.go"),
            ("Node", at("js"), "src/index.js"),
            ("typescript", at("ts"), "src/dist/index.js"),
            ("java", at("java/"), "src/pom.xml"),
            ("ccaas", at("ccaas"), "connection.json"),
            ("k8s", at("image.json"), "image.json"),
        ] {
            let out = at("out.tar.gz");
            run_with(&["package", "--lang", kind, "--path", &path, "--label", "a_1", "-o", &out], root).unwrap();
            let package = load(Path::new(&out)).unwrap();
            assert_eq!(package.kind(), if kind == "typescript" { "node" } else { kind });
            let contents = Contents::of(&package).unwrap();
            assert!(contents.entries.iter().any(|entry| entry.name == inside), "{contents:?}");
            assert!(contents.shown().contains(inside));
            run_with(&["inspect", &out, "--json"], root).unwrap();
            run_with(&["package-id", &out], root).unwrap();
        }
        let refused = |kind: &str, path: &str, label: &str| {
            run_with(&["package", "--lang", kind, "--path", path, "--label", label, "-o", &at("none")], root)
                .unwrap_err()
        };
        assert!(refused("rust", &at("js"), "a").is::<UsageError>());
        assert!(refused("node", &at("js"), "a b").is::<UsageError>());
        assert!(refused("node", "", "a").is::<UsageError>());
        refused("node", &at("nowhere"), "a");
        refused("golang", "example.com/none", "a");
        let from_git = |words: &[&str]| {
            let common = ["package", "--lang", "node", "--label", "a"];
            run_with(&[&common[..], words].concat(), root).unwrap_err()
        };
        assert!(from_git(&["--repository", "not a repository", "--commit", "main"]).is::<UsageError>());
        assert!(from_git(&["--repository", "example.com/a/b", "--commit", ".."]).is::<UsageError>());
        for wrong in [&["--repository", "example.com/a/b"][..], &["--subpath", "a", "--path", "b"], &[]] {
            assert!(from_git(wrong).is::<clap::Error>(), "{wrong:?}");
        }
        assert!(!root.join("none").exists());
    }

    #[test]
    fn the_tree_is_the_repository() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        file(&root, "repository/.git/HEAD", "");
        file(&root, "repository/js/index.js", "");
        file(&root, "module/go.mod", "");
        file(&root, "module/cmd/cc/main.go", "");
        let check = |language, path: &str, expected: (&str, &str)| {
            let place = Place::of(language, &root.join(path).display().to_string(), None).unwrap();
            assert_eq!(place, Place { root: root.join(expected.0), path: expected.1.to_owned() }, "for {path}");
        };
        check(Language::Node, "repository/js/../js/", ("repository", "js"));
        check(Language::Golang, "repository/js", ("repository", "js"));
        check(Language::Golang, "module/cmd/cc", ("module", "cmd/cc"));
        check(Language::Node, "module/cmd/cc", ("module/cmd", "cc"));
    }
}
