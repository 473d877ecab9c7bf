//! What the fuzz targets of packages drive: see `src/fuzzing`.

#![allow(clippy::missing_panics_doc, reason = "to panic is how a body tells what it has found")]

use bytes::Bytes;

use super::sources::MemoryTree;
use super::tar::Tar;
use super::{Language, Limits, PackError, Package, Sources, ccaas, check_metadata_file, package as pack};
use crate::fabric::names::Label;

/// A chaincode package, with the code inside.
pub fn package(input: &[u8]) {
    let Ok(package) = Package::read(Bytes::copy_from_slice(input)) else { return };
    assert_eq!(package.id().label(), package.label().as_str());
    let files = package.files().expect("it was read before");
    assert!(files.iter().any(|(name, contents)| name == "code.tar.gz" && Ok(contents) == package.code().as_ref()));
    let entries = package.code_entries();
    if let Ok(files) = package.code_files() {
        // What is handed out by name stays inside, and is what was listed.
        let entries = entries.expect("what can be read can be listed");
        for name in files.keys() {
            let listed = entries.iter().rfind(|entry| entry.name == *name).expect("it is listed");
            assert!(!listed.escapes(), "{name:?} leads outside");
        }
    }
    if let Ok(connection) = ccaas::Connection::of(&package) {
        let again = ccaas::package(package.label(), &connection).expect("a name that fits");
        let read = Package::read(again.bytes().clone()).expect("what was packed can be read");
        assert_eq!(ccaas::Connection::of(&read), Ok(connection));
    }
}

/// A tar without its gzip, so that mutations reach the headers.
pub fn tar(input: &[u8]) {
    let mut archive = Tar::new(input);
    let mut read = 0_u64;
    while let Ok(Some(entry)) = archive.next() {
        let Ok(contents) = archive.contents(entry.size) else { return };
        assert_eq!(contents.len() as u64, entry.size);
        read += entry.size + 512;
        assert!(read <= input.len() as u64 + 512, "more is read than there is");
    }
}

/// A Go file as the whole chaincode, and as an index definition.
pub fn go_source(input: &[u8]) {
    let _ = check_metadata_file("META-INF/statedb/couchdb/indexes/a.json", input);
    let _ = check_metadata_file(&String::from_utf8_lossy(input), b"{}");
    let label = Label::parse("fuzz").expect("a label");
    let limits = Limits::default();
    let mut tree = MemoryTree::new();
    tree.insert("main.go", Bytes::copy_from_slice(input)).expect("a path");
    tree.insert("lib/lib.go", "package lib").expect("a path");
    let sources = Sources { tree: &tree, path: "", metadata_path: "a.b/c" };
    match pack(Language::Golang, &label, &sources, &limits) {
        Ok(made) => {
            let files = made.code_files().expect("what was packed can be read");
            assert_eq!(files.get("src/a.b/c/main.go").map(|file| &file[..]), Some(input));
        }
        Err(PackError::Go { .. } | PackError::Source(_)) => {}
        Err(error) => panic!("refused for a reason that this cannot have: {error}"),
    }
    // The same bytes as a go.mod.
    tree.insert("go.mod", Bytes::copy_from_slice(input)).expect("a path");
    let sources = Sources { tree: &tree, path: "lib", metadata_path: "" };
    let _ = pack(Language::Golang, &label, &sources, &limits);
}
