//! What of Go sources goes into a package.
//!
//! In a module (a `go.mod` at the folder of the chaincode or above it, inside the tree) everything but hidden folders goes
//! in, so vendored dependencies and embedded files are there when the peer builds. Without a module, the rules of GOPATH
//! hold: the files of the folder itself and those of the packages that it imports.
//!
//! `META-INF` is looked for beside the chaincode, not at the root of the module.
//!
//! Source: Fabric 3.1.5 `core/chaincode/platforms/golang`; Go 1.24 `go/build` and `cmd/go`.

mod build;
mod gopath;
mod module;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use super::folder::walk;
use super::pack::{Item, PackError};
use super::sources::{SourceEntry, SourceKind, below, join, resolve, resolve_file, split};
use super::statedb::check_metadata;
use super::{Limits, Sources};

/// The largest file that is read for what it says about the package, such as go.mod.
const LONGEST_READ: u64 = 16 << 20;

fn refused(reason: impl Into<String>) -> PackError {
    PackError::Go { reason: reason.into() }
}

/// Files by their names in the package, each with its path in the tree and its size.
type Files = BTreeMap<String, (String, u64)>;

/// What is packaged, in its order, and the import path that goes into metadata.json.
pub(super) fn items(sources: &Sources<'_>, limits: &Limits) -> Result<(Vec<Item>, String), PackError> {
    let folder = resolve(sources.tree, sources.path)?;
    if folder.kind != SourceKind::Directory {
        return Err(refused(format!("{} is a file", sources.path)));
    }
    let mut files = Files::new();
    let Some(module) = module::find(sources, &folder.path)? else {
        let gopath = gopath::Gopath::new(sources)?;
        let name = join("src", sources.metadata_path);
        let layout = Layout { root: &folder.path, folder: &folder.path, name: &name, whole: false };
        collect(sources, &layout, limits, &mut files)?;
        gopath.collect(sources.path, limits, &mut files)?;
        return Ok((listed(files), sources.metadata_path.to_owned()));
    };
    gopath::check_package(sources, &folder.path)?;
    collect(
        sources,
        &Layout { root: &module.root, folder: &folder.path, name: "src", whole: true },
        limits,
        &mut files,
    )?;
    let inside = below(&folder.path, &module.root).unwrap_or_default();
    Ok((listed(files), join(&module.path, inside)))
}

/// Where files are and what they are called in the package.
struct Layout<'a> {
    /// The folder that is packaged.
    root: &'a str,
    /// The folder of the chaincode, at the root or below it.
    folder: &'a str,
    /// What the root is called.
    name: &'a str,
    /// Whether folders below the root are packaged too.
    whole: bool,
}

/// Collects the files of a folder and of META-INF.
fn collect(sources: &Sources<'_>, layout: &Layout<'_>, limits: &Limits, files: &mut Files) -> Result<(), PackError> {
    let metadata = join(layout.folder, "META-INF");
    for entry in walk(sources, layout.root)? {
        if entry.kind == SourceKind::Directory || !is_walked(&entry, layout, &metadata) {
            continue;
        }
        let inside = below(&entry.path, layout.root).unwrap_or_default();
        let file = if let Some(rest) = entry.path.strip_prefix(&metadata) {
            if split(&entry.path).1.starts_with('.') {
                continue;
            }
            let name = format!("META-INF{rest}");
            let file = resolve_file(sources.tree, &entry.path)?;
            check_metadata(sources.tree, &name, &file)?;
            (name, (file.path, file.size))
        } else if !layout.whole && matches!(inside, "go.mod" | "go.sum") {
            continue;
        } else {
            let file = resolve_file(sources.tree, &entry.path)?;
            (join(layout.name, inside), (file.path, file.size))
        };
        files.insert(file.0, file.1);
        if files.len() > limits.entries {
            return Err(PackError::TooLarge { what: format!("{} files and folders", limits.entries) });
        }
    }
    Ok(())
}

/// Whether the folders on the way to an entry are among the packaged ones.
fn is_walked(entry: &SourceEntry, layout: &Layout<'_>, metadata: &str) -> bool {
    let mut folder = if entry.kind == SourceKind::Submodule { entry.path.as_str() } else { split(&entry.path).0 };
    while folder != layout.root {
        let named = !split(folder).1.starts_with('.');
        if !(folder.starts_with(metadata) || (layout.whole && named)) {
            return false;
        }
        folder = split(folder).0;
    }
    true
}

/// First all folders, then all files, both sorted by their full names.
fn listed(files: Files) -> Vec<Item> {
    let mut folders = BTreeSet::new();
    for name in files.keys() {
        let mut folder = split(name).0;
        while !folder.is_empty() && folders.insert(folder.to_owned()) {
            folder = split(folder).0;
        }
    }
    let folders = folders.into_iter().map(|folder| Item::Directory { name: format!("{folder}/") });
    folders.chain(files.into_iter().map(|(name, (path, size))| Item::File { name, path, size })).collect()
}
