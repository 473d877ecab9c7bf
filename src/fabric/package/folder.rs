//! What of a folder of Node.js or Java sources goes into a package.
//!
//! All files but those in the folders of builds and dependencies, below `src`; what begins with `META-INF` at the top goes
//! beside it and is checked. Neither `package.json` nor a build file is demanded: the peer that builds it will tell.
//!
//! Source: Fabric 3.1.5 `core/chaincode/platforms/{node,java,util}`.

use super::pack::{Item, PackError};
use super::sources::{SourceEntry, SourceKind, below, join, resolve, resolve_file, split};
use super::statedb::check_metadata;
use super::{Limits, Sources};

/// What a language leaves out.
pub(super) struct Excluded {
    /// Folders of these names, at all depths.
    pub(super) folders: &'static [&'static str],
    /// Files with this extension.
    pub(super) extension: Option<&'static str>,
}

/// `node_modules`: the peer's builder installs the dependencies.
pub(super) const NODE: Excluded = Excluded { folders: &["node_modules", ".git"], extension: None };
/// What builds of Maven and Gradle leave behind.
pub(super) const JAVA: Excluded = Excluded { folders: &["target", "build", "out", ".git"], extension: Some(".class") };

/// What is packaged, in its order.
pub(super) fn items(sources: &Sources<'_>, excluded: &Excluded, limits: &Limits) -> Result<Vec<Item>, PackError> {
    let empty = || PackError::Empty { path: sources.path.to_owned() };
    let root = resolve(sources.tree, sources.path)?;
    if excluded.folders.contains(&split(sources.path).1) || root.kind != SourceKind::Directory {
        return Err(empty());
    }
    let mut items = Vec::new();
    for entry in walk(sources, &root.path)? {
        // Directories have no entry of their own.
        if entry.kind == SourceKind::Directory || is_excluded(&entry, &root.path, excluded) {
            continue;
        }
        let inside = below(&entry.path, &root.path).unwrap_or_default();
        let file = resolve_file(sources.tree, &entry.path)?;
        let name = if inside.starts_with("META-INF") {
            if split(inside).1.starts_with('.') {
                continue;
            }
            check_metadata(sources.tree, inside, &file)?;
            inside.to_owned()
        } else {
            join("src", inside)
        };
        items.push(Item::File { name, path: file.path, size: file.size });
        if items.len() > limits.entries {
            return Err(PackError::TooLarge { what: format!("{} files and folders", limits.entries) });
        }
    }
    if items.is_empty() { Err(empty()) } else { Ok(items) }
}

/// The entries below `folder` in the order of a walk: the names of a folder sorted, what is inside after each.
pub(super) fn walk(sources: &Sources<'_>, folder: &str) -> Result<Vec<SourceEntry>, PackError> {
    let mut entries = sources.tree.entries(folder)?;
    entries.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
    Ok(entries)
}

fn is_excluded(entry: &SourceEntry, root: &str, excluded: &Excluded) -> bool {
    let (folder, name) = split(below(&entry.path, root).unwrap_or_default());
    let by_extension = excluded.extension.is_some_and(|extension| name.ends_with(extension));
    // A submodule is a folder, whose contents nobody has fetched.
    let own = (entry.kind == SourceKind::Submodule).then_some(name);
    by_extension || folder.split('/').chain(own).any(|name| excluded.folders.contains(&name))
}
