//! TypeScript that was compiled here, beside what `tsc` makes of it.

use std::path::Path;

use opssc::fabric::package::sources::{DirectoryTree, SourceKind, SourceTree as _};
use opssc::source::typescript::{Limits, compile};

use crate::node::Node;

/// A contract compiled both ways.
struct Both {
    /// Holds the folders.
    _root: tempfile::TempDir,
    ours: std::path::PathBuf,
    theirs: std::path::PathBuf,
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Compiles a project of `node/typescript` by ours and by `tsc`, each in a folder that sees the installed packages.
async fn both(node: &Node, name: &str, project: &str) -> Both {
    let packages = Node::folder().join("node_modules");
    let sources = Node::folder().join("typescript").join(name);
    let root = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(&packages, root.path().join("node_modules")).unwrap();

    let ours = root.path().join("ours");
    let tree = DirectoryTree::new(&sources);
    let compiled = compile(&tree, &Limits::default()).unwrap();
    let remaining = compiled.remaining(&tree);
    let packed = compiled.over(&remaining).unwrap();
    for entry in packed.entries("").unwrap() {
        if entry.kind == SourceKind::File {
            let path = ours.join(&entry.path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, packed.read(&entry.path).unwrap()).unwrap();
        }
    }

    let theirs = root.path().join("theirs");
    copy(&sources, &theirs);
    let tsc = packages.join("typescript/bin/tsc");
    node.run_file(&tsc, &[Path::new("--project"), &theirs.join(project)]).await;
    Both { _root: root, ours, theirs }
}

/// What a contract tells of itself, by ours and by `tsc`.
async fn told(test: &str, name: &str, project: &str) -> Option<String> {
    let node = Node::find(test).await?;
    let both = both(&node, name, project).await;
    let ours = node.run("typescript.mjs", &[&both.ours]).await;
    let theirs = node.run("typescript.mjs", &[&both.theirs]).await;
    // What fails while it is loaded is caught by a logger, which prints nothing and exits with 0.
    assert!(theirs.starts_with('{'), "for {name}: {theirs}");
    assert_eq!(ours, theirs, "for {name}");
    Some(ours)
}

#[tokio::test]
async fn a_plain_contract_tells_what_it_tells_after_tsc() {
    let Some(told) = told("a_plain_contract_tells_what_it_tells_after_tsc", "plain", "tsconfig.json").await else {
        return;
    };
    assert!(told.contains("\"FaceValue\"") && told.contains("\"Issue\""), "{told}");
}

#[tokio::test]
async fn types_from_other_files_are_told_as_after_tsc() {
    let Some(told) = told("types_from_other_files_are_told_as_after_tsc", "rich", "config/build.json").await else {
        return;
    };
    assert!(told.contains("#/components/schemas/Asset"), "{told}");
}
