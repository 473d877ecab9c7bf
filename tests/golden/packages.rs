//! Chaincode packages and their labels.

use std::io::Read as _;

use opssc::fabric::names::Label;
use opssc::fabric::package::ccaas::{self, Connection, Image};
use opssc::fabric::package::sources::DirectoryTree;
use opssc::fabric::package::{self, Language, Limits, Package, Sources};
use sha2::{Digest as _, Sha256};

use super::support::{Case, Finding, agree, family, same, same_file, unhex};

pub(crate) fn labels() {
    family("labels", |case| {
        let entries = case.json(case.text("/input/file"));
        let wrong: Vec<&str> = entries
            .as_array()
            .expect("a list")
            .iter()
            .map(|entry| (entry["label"].as_str().unwrap(), entry["ok"].as_bool().unwrap()))
            .filter(|(label, ok)| Label::parse(*label).is_ok() != *ok)
            .map(|(label, _)| label)
            .collect();
        same("labels judged otherwise", &wrong, &Vec::new())
    });
}

pub(crate) fn package_parse() {
    family("package-parse", |case| {
        let Some(package) = agree(Package::read(case.bytes("package.tar.gz")), case.ok())? else { return Ok(()) };
        same("package ID", &package.id().as_str(), &case.text("/expected/package_id"))?;
        let expected = |key: &str| case.get(&format!("/expected/metadata/{key}")).as_str().unwrap_or_default();
        same("type", &package.kind(), &expected("type"))?;
        same("path", &package.path(), &expected("path"))?;
        same("label", &package.label().as_str(), &expected("label"))?;
        match case.get("/expected/code_length").as_u64() {
            Some(length) => {
                let code = package.code().map_err(|error| error.to_string())?;
                same("length of the code", &(code.len() as u64), &length)
            }
            None => Ok(()),
        }
    });
}

pub(crate) fn package_opssc_external() {
    family("package-opssc-external", |case| {
        let input = |key: &str| case.get(&format!("/input/{key}"));
        let service = |key: &str| case.get(&format!("/input/ccs/{key}")).as_str().unwrap_or_default();
        let name = input("chaincodeName").as_str().unwrap();
        let label = Label::parse(format!("{name}-{}", input("sequence"))).unwrap();
        same("label", &label.as_str(), &case.text("/expected/label"))?;
        let (package, file) = if let Some(digest) = input("digest").as_str() {
            let registry = [service("pullRegistry"), service("registry")];
            let registry = registry.into_iter().find(|registry| !registry.is_empty()).unwrap_or_default();
            let name = if registry.is_empty() { name.to_owned() } else { format!("{registry}/{name}") };
            (ccaas::image_package(&label, &Image { name, digest: digest.to_owned() }), "image.json")
        } else {
            let (prefix, suffix) = (service("servicePrefix"), service("serviceSuffix"));
            let (namespace, port) = (service("namespace"), case.get("/input/ccs/servicePort"));
            let address = format!("{prefix}-{name}-{suffix}.{namespace}:{port}");
            (ccaas::package(&label, &Connection::plain(address)), "connection.json")
        };
        check(&case.folder, &package.map_err(|error| error.to_string())?, file, case.text("/expected/metadata_json"))?;
        let sample = Package::read(case.bytes("sample.tgz")).map_err(|error| error.to_string())?;
        same("ID of the sample", &sample.id().as_str(), &case.text("/expected/package_id_of_this_sample"))
    });
}

fn check(folder: &std::path::Path, package: &Package, file: &str, metadata: &str) -> Finding {
    let files = package.code_files().map_err(|error| error.to_string())?;
    same("files", &files.keys().map(String::as_str).collect::<Vec<_>>(), &vec![file])?;
    same_file(&folder.join(file), &files[file])?;
    let outer = package.files().map_err(|error| error.to_string())?;
    let names: Vec<&str> = outer.iter().map(|(name, _)| name.as_str()).collect();
    same("files of the package", &names, &vec!["code.tar.gz", "metadata.json"])?;
    same_file(&folder.join("metadata.json"), &outer[1].1)?;
    same("metadata", &String::from_utf8_lossy(&outer[1].1).as_ref(), &metadata)
}

pub(crate) fn couchdb_index_files() {
    family("couchdb-index-files", |case| {
        let entries = case.json(case.text("/input/file"));
        let mut wrong = Vec::new();
        for entry in entries.as_array().expect("a list") {
            let (path, content) = (entry["path"].as_str().unwrap(), entry["content"].as_str().unwrap());
            let judged = package::check_metadata_file(path, content.as_bytes());
            // Where several things are wrong, Fabric tells one of them by chance.
            let panics = entry["error"].as_str().is_some_and(|error| error.contains("PANIC"));
            let expected = entry["error"].as_str().filter(|_| !panics);
            let same_words = match (&judged, expected) {
                (Err(reason), Some(expected)) => reason == expected,
                _ => true,
            };
            if judged.is_ok() != entry["ok"].as_bool().unwrap() || !same_words {
                wrong.push(format!("{path} {content}: {judged:?} in place of {}", entry["error"]));
            }
        }
        same("files judged otherwise", &wrong, &Vec::new())
    });
}

pub(crate) fn package_peer_cli() {
    family("package-peer-cli", |case| {
        let folder = case.rooted_tree(case.text("/input/tree"));
        let Some(package) = agree(package_of(case, folder.path()), case.ok())? else { return Ok(()) };
        let expected = case.json("expected.json");
        let files = package.files().map_err(|error| error.to_string())?;
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        same("files of the package", &names, &vec!["metadata.json", "code.tar.gz"])?;
        let metadata = String::from_utf8_lossy(&files[0].1);
        same("metadata", &metadata.as_ref(), &expected["metadata_json"].as_str().unwrap())?;
        let code = gunzip(&package.code().map_err(|error| error.to_string())?);
        if Sha256::digest(&code)[..] == unhex(expected["code_tar_sha256"].as_str().unwrap()) {
            return Ok(());
        }
        let listed = |entry: &serde_json::Value| entry["name"].as_str().unwrap().to_owned();
        let theirs: Vec<String> = expected["code_entries"].as_array().unwrap().iter().map(listed).collect();
        let ours: Vec<String> = tar_names(&code);
        same("entries of the code", &ours, &theirs)?;
        Err(format!("the code differs inside of its {} entries", ours.len()))
    });
}

/// What the original agent packs is in our package too, but for what the README says is left out.
pub(crate) fn package_opssc_agent() {
    family("package-opssc-agent", |case| {
        let folder = case.rooted_tree(case.text("/input/tree"));
        let root = case.json(case.text("/input/tree"))["root"].as_str().unwrap().to_owned();
        let repository = root.strip_prefix("src/").unwrap();
        let path = case.text("/input/pathToSourceFiles");
        let language = Language::parse(case.text("/input/lang")).map_err(|error| error.to_string())?;
        let label = Label::parse(case.text("/input/label")).map_err(|error| error.to_string())?;
        let tree = DirectoryTree::new(folder.path().join(&root));
        let sources = Sources { tree: &tree, path, metadata_path: repository };
        let theirs = case.json("expected.json");
        let theirs: Vec<(&str, &str)> = theirs["code_entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| (entry["name"].as_str().unwrap(), entry["sha256"].as_str().unwrap()))
            .collect();
        let package = match package::package(language, &label, &sources, &Limits::default()) {
            Ok(package) => package,
            // The original makes an empty package, which no peer can build.
            Err(_) if theirs.is_empty() => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        same("type", &package.kind(), &language.as_str())?;
        let ours = package.code_entries().map_err(|error| error.to_string())?;
        let mut lost = Vec::new();
        for (name, sum) in theirs {
            let inside = name.strip_prefix("src/").unwrap();
            let inside = inside.strip_prefix(repository).map_or(inside, |rest| rest.trim_start_matches('/'));
            // META-INF beside the sources, where peers look for it.
            let name = if inside.starts_with("META-INF") { inside.to_owned() } else { format!("src/{inside}") };
            let kept = ours.iter().any(|entry| entry.name == name && entry.sha256[..] == unhex(sum));
            if !kept && !left_out(language, inside) {
                lost.push(name);
            }
        }
        same("files that are lost", &lost, &Vec::new())
    });
}

/// What our packages leave out although the original has it: what the `peer` command leaves out.
fn left_out(language: Language, path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let within = |names: &[&str]| folder.split('/').any(|folder| names.contains(&folder));
    match language {
        Language::Golang => folder.split('/').any(|folder| folder.starts_with('.')),
        Language::Node => within(&["node_modules", ".git"]),
        Language::Java => within(&["target", "build", "out", ".git"]) || name.strip_suffix(".class").is_some(),
    }
}

/// Packages the folder of a case as the command would.
fn package_of(case: &Case, base: &std::path::Path) -> Result<Package, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let label = Label::parse(case.text("/input/label")).map_err(|error| told(&error))?;
    let (kind, path) = (case.text("/input/type"), case.text("/input/path"));
    let language = Language::parse(kind).map_err(|error| told(&error))?;
    if path.is_empty() {
        return Err("no path".to_owned());
    }
    let in_gopath = case.get("/input/gopath_mode").as_bool() == Some(true);
    let root = match case.get("/input/env/GOPATH").as_str() {
        Some(gopath) if in_gopath => base.join(inside(gopath)).join("src"),
        _ => base.to_owned(),
    };
    let tree = DirectoryTree::new(root);
    let path = inside(path);
    let sources = Sources { tree: &tree, path: &path, metadata_path: case.text("/input/path_literal") };
    package::package_as(language, kind, &label, &sources, &Limits::default()).map_err(|error| told(&error))
}

/// A path of a case, from the folder that holds its tree.
fn inside(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.trim_start_matches("<BASE>").split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.join("/")
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

fn tar_names(bytes: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap();
    entries.map(|entry| String::from_utf8_lossy(&entry.unwrap().path_bytes()).into_owned()).collect()
}
