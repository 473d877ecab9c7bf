//! Our packages on real peers: installed, and unpacked to the sources that went in.
//!
//! Peers here hand every package to a builder that keeps what it is given and builds nothing, so what is shown is what a
//! peer makes of a package, whether or not the machine has compilers.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use opssc::fabric::names::Label;
use opssc::fabric::package::ccaas::{self, Connection, Image};
use opssc::fabric::package::sources::MemoryTree;
use opssc::fabric::package::{self, Language, Limits, Package, Sources};

use crate::network::{Binaries, Network, Options};

const INDEX: &str = r#"{"index":{"fields":["owner"]},"ddoc":"d","name":"n","type":"json"}"#;

/// Files below one folder, by path.
type Files = BTreeMap<String, String>;

pub fn run(test: &str) {
    let Some(binaries) = Binaries::from_environment(test) else { return };
    let builder = tempfile::tempdir().expect("a folder");
    let kept = builder.path().join("kept");
    write_builder(builder.path(), &kept);
    let options = Options { organizations: 1, channels: vec!["mychannel".to_owned()], ..Options::default() };
    let network = Network::start(&binaries.with_builder(builder.path()), options);
    for (package, expected) in packages() {
        let id = package.id().as_str();
        network.install(package.bytes(), id).unwrap_or_else(|error| panic!("{id}: {error}"));
        let mut found = Files::new();
        read(&kept.join(package.label().as_str()), "", &mut found);
        assert_eq!(found, expected, "{id}");
    }
    // A peer judges META-INF when it installs, and the packager does so before.
    let refused = package::check_metadata_file("META-INF/statedb/couchdb/indexes/a.json", b"{}");
    assert!(refused.is_err());
}

/// Packages with what a builder is to find in each.
fn packages() -> Vec<(Package, Files)> {
    let deep = format!("{}/deep.txt", vec!["folder"; 40].join("/"));
    let common = [(deep.as_str(), "deep"), ("größe.txt", "large"), ("META-INF/statedb/couchdb/indexes/a.json", INDEX)];
    let sources = |language: Language, label: &str, metadata_path: &str, files: &[(&str, &str)], dropped: &[&str]| {
        let mut tree = MemoryTree::new();
        let mut expected = Files::new();
        for (path, contents) in files.iter().chain(&common) {
            tree.insert(format!("cc/{path}"), contents.to_string()).expect("a path");
            let name = if path.starts_with("META-INF") { (*path).to_owned() } else { format!("src/{path}") };
            expected.insert(name, (*contents).to_owned());
        }
        for path in dropped {
            tree.insert(format!("cc/{path}"), "dropped").expect("a path");
        }
        tree.link("cc/link.txt", "größe.txt").expect("a path");
        expected.insert("src/link.txt".to_owned(), "large".to_owned());
        let label = Label::parse(label).expect("a label");
        let sources = Sources { tree: &tree, path: "cc", metadata_path };
        (package::package(language, &label, &sources, &Limits::default()).expect("a package"), expected)
    };
    let mut packages = vec![
        sources(
            Language::Golang,
            "module_1",
            "",
            &[("go.mod", "module example.com/cc\n"), ("main.go", "package main\n"), ("vendor/modules.txt", "#\n")],
            &[".hidden/x.go"],
        ),
        sources(
            Language::Node,
            "node_1",
            "example.com/cc",
            &[("package.json", "{}"), ("index.js", "1")],
            &["node_modules/a/index.js", "lib/node_modules/b.js", ".git/HEAD"],
        ),
        sources(
            Language::Java,
            "java_1",
            "example.com/cc",
            &[("pom.xml", "<project/>"), ("src/main/java/A.java", "class A {}")],
            &["target/a.jar", "build/b", "A.class"],
        ),
    ];
    let mut tree = MemoryTree::new();
    tree.insert("main.go", "package main\n\nimport _ \"example.com/cc/lib\"\n").expect("a path");
    tree.insert("lib/lib.go", "package lib\n").expect("a path");
    tree.insert("unused/x.go", "package unused\n").expect("a path");
    let gopath = Sources { tree: &tree, path: "", metadata_path: "example.com/cc" };
    let label = Label::parse("gopath_1").expect("a label");
    let gopath = package::package(Language::Golang, &label, &gopath, &Limits::default()).expect("a package");
    let expected = [
        ("src/example.com/cc/main.go", "package main\n\nimport _ \"example.com/cc/lib\"\n"),
        ("src/example.com/cc/lib/lib.go", "package lib\n"),
    ];
    packages.push((gopath, expected.map(|(name, contents)| (name.to_owned(), contents.to_owned())).into()));

    let label = Label::parse("ccaas_1").expect("a label");
    let connection = Connection {
        tls_required: true,
        client_auth_required: true,
        client_key: "key".to_owned(),
        client_cert: "certificate".to_owned(),
        root_cert: "root".to_owned(),
        ..Connection::plain("localhost:7052")
    };
    let json = connection.to_json();
    let service = ccaas::package(&label, &connection).expect("a package");
    packages.push((service, [("connection.json".to_owned(), json)].into()));
    let label = Label::parse("k8s_1").expect("a label");
    let image = Image { name: "registry/cc".to_owned(), digest: format!("sha256:{}", "0".repeat(64)) };
    let json = image.to_json();
    let image = ccaas::image_package(&label, &image).expect("a package");
    packages.push((image, [("image.json".to_owned(), json)].into()));
    packages
}

/// A builder that takes every package and keeps its sources, in a folder named by the label.
fn write_builder(folder: &Path, kept: &Path) {
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).expect("a folder");
    let label = r#"$(sed -n 's/.*"label":"\([^"]*\)".*/\1/p' "$2/metadata.json")"#;
    let keep = kept.display();
    let build = format!(
        "set -e\nlabel={label}\n[ -n \"$label\" ]\nmkdir -p \"{keep}/$label\"\ncp -R \"$1/.\" \"{keep}/$label\""
    );
    for (name, script) in [("detect", "exit 0"), ("build", build.as_str()), ("release", "exit 0")] {
        let path = bin.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("a script that can be run");
    }
}

fn read(folder: &Path, name: &str, files: &mut Files) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let entry = entry.expect("an entry");
        let below = entry.file_name().into_string().expect("a name");
        let below = if name.is_empty() { below } else { format!("{name}/{below}") };
        if entry.path().is_dir() {
            read(&entry.path(), &below, files);
        } else {
            files.insert(below, fs::read_to_string(entry.path()).expect("text"));
        }
    }
}
