//! Chaincode packages: made reproducibly, read without belief.
//!
//! A package is a `tar.gz` of `metadata.json` and `code.tar.gz`; its ID is the label and the SHA-256 of its bytes, so
//! everything that could vary (times, owners, order, the compressor's mood) is fixed here. [`package`] makes one of
//! [`Sources`], with the contents that the `peer` command would give it; what is compressed is compressed otherwise, so
//! IDs differ from those of the `peer` command.
//!
//! Reading takes the input for hostile: bounded size, bounded number of entries, regular files only.
//!
//! Source: Fabric 3.1.5 `core/chaincode/persistence`.

mod archive;
pub mod ccaas;
mod folder;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod golang;
mod gzip;
mod header;
mod metadata;
mod pack;
pub mod sources;
mod statedb;
mod tar;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

pub use archive::Limits;
pub use pack::PackError;
pub use statedb::check_metadata_file;

use self::sources::SourceTree;
use crate::fabric::names::{Label, NameError, PackageId};

const METADATA: &str = "metadata.json";
const CODE: &str = "code.tar.gz";

/// Why bytes are no chaincode package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// Not a `tar.gz`, or a broken one.
    #[error("package cannot be unpacked: {reason}")]
    Archive {
        /// What is wrong.
        reason: String,
    },
    /// It would unpack to more than is allowed.
    #[error("package unpacks to more than {what}")]
    TooLarge {
        /// The limit that was met.
        what: String,
    },
    /// An entry is a directory, a link or something else that packages do not hold.
    #[error("package holds {name:?}, which is not a regular file")]
    NotRegular {
        /// The entry.
        name: String,
    },
    /// A file is absent that every package has.
    #[error("package has no {name}")]
    Missing {
        /// Which file.
        name: &'static str,
    },
    /// `metadata.json` (or another file of JSON) cannot be read.
    #[error("{name} of the package cannot be read: {reason}")]
    Json {
        /// Which file.
        name: &'static str,
        /// What the parser said.
        reason: String,
    },
    /// An entry would be unpacked outside of the folder for it.
    #[error("{name:?} in the package leads outside of it")]
    Escapes {
        /// Its name.
        name: String,
    },
    /// The label breaks Fabric's rule.
    #[error("package has no valid label")]
    Label(#[from] NameError),
}

/// A language whose sources can be packaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// Go, as a module or in GOPATH layout.
    Golang,
    /// JavaScript, also what TypeScript was compiled to.
    Node,
    /// Java sources, or what Maven and Gradle find.
    Java,
}

impl Language {
    /// The language of a chaincode type, in any letter case.
    ///
    /// # Errors
    /// [`PackError::Language`] for types that are not packaged from sources.
    pub fn parse(kind: &str) -> Result<Self, PackError> {
        let all = [Self::Golang, Self::Node, Self::Java];
        let found = all.into_iter().find(|language| language.as_str().eq_ignore_ascii_case(kind));
        found.ok_or_else(|| PackError::Language { kind: kind.chars().take(80).collect() })
    }

    /// The type as Fabric writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Golang => "golang",
            Self::Node => "node",
            Self::Java => "java",
        }
    }
}

/// What is to be packaged.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The tree, which may hold more than the chaincode: the go.mod of a Go chaincode may be above it.
    pub tree: &'a dyn SourceTree,
    /// The folder of the chaincode in the tree; empty for its root.
    pub path: &'a str,
    /// What metadata.json says about the path.
    ///
    /// For Node.js and Java it is written as it is and peers do not read it. A Go module is written with its own import
    /// path instead; outside of modules this is the import path of the folder, such as `example.com/repository/folder`.
    pub metadata_path: &'a str,
}

impl fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("path", &self.path)
            .field("metadata_path", &self.metadata_path)
            .finish_non_exhaustive()
    }
}

/// Packages sources. The same files give the same bytes on every machine, whatever their owners, times, modes and order.
///
/// `limits` hold for what is packed: the sum of all files, and their number.
///
/// # Errors
/// [`PackError`].
pub fn package(
    language: Language,
    label: &Label,
    sources: &Sources<'_>,
    limits: &Limits,
) -> Result<Package, PackError> {
    package_as(language, language.as_str(), label, sources, limits)
}

/// As [`package`], with the type written otherwise in metadata.json: the `peer` command writes it as it was typed.
///
/// # Errors
/// [`PackError`].
pub fn package_as(
    language: Language,
    kind: &str,
    label: &Label,
    sources: &Sources<'_>,
    limits: &Limits,
) -> Result<Package, PackError> {
    let (items, path) = match language {
        Language::Golang => golang::items(sources, limits)?,
        Language::Node => (folder::items(sources, &folder::NODE, limits)?, sources.metadata_path.to_owned()),
        Language::Java => (folder::items(sources, &folder::JAVA, limits)?, sources.metadata_path.to_owned()),
    };
    pack::pack(sources.tree, &pack::Packing { kind, path: &path, label, limits }, &items)
}

/// A chaincode package.
#[derive(Clone, PartialEq, Eq)]
pub struct Package {
    id: PackageId,
    label: Label,
    kind: String,
    path: String,
    bytes: Bytes,
}

impl fmt::Debug for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Package")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl Package {
    /// Packs `files` (name and contents) as a chaincode of the type `kind`.
    ///
    /// The same input gives the same bytes on every machine and in every version: nothing is compressed, because what
    /// is packed this way is a few lines of JSON.
    ///
    /// # Errors
    /// [`PackageError::Archive`] when a name does not fit into a tar header.
    pub fn pack(kind: &str, label: &Label, files: &[(&str, &[u8])]) -> Result<Self, PackageError> {
        let code = archive::pack(files)?;
        let metadata = metadata::opssc(kind, label);
        let bytes = Bytes::from(archive::pack(&[(CODE, &code), (METADATA, metadata.as_bytes())])?);
        Ok(Self {
            id: PackageId::of(label, &bytes),
            label: label.clone(),
            kind: kind.to_owned(),
            path: String::new(),
            bytes,
        })
    }

    /// Reads a package as a peer does: regular files only, of which `metadata.json` and `code.tar.gz` count and the
    /// last of each; the code is not opened.
    ///
    /// # Errors
    /// [`PackageError`].
    pub fn read(bytes: impl Into<Bytes>) -> Result<Self, PackageError> {
        let bytes = bytes.into();
        let mut metadata = None;
        let mut code = false;
        archive::unpack(&bytes, &Limits::default(), |name, contents| {
            match name {
                METADATA => metadata = Some(metadata::Metadata::parse(&contents)?),
                CODE => code = true,
                _ => {}
            }
            Ok(())
        })?;
        let metadata = metadata.ok_or(PackageError::Missing { name: METADATA })?;
        if !code {
            return Err(PackageError::Missing { name: CODE });
        }
        let label = Label::parse(metadata.label)?;
        Ok(Self { id: PackageId::of(&label, &bytes), label, kind: metadata.kind, path: metadata.path, bytes })
    }

    /// The ID under which peers install it.
    pub fn id(&self) -> &PackageId {
        &self.id
    }

    /// The label.
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// The type, such as `ccaas` or `golang`, as it was written.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The path of the sources, as it was written; empty for types that have none.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The file itself.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The code package inside, packed. It is unpacked anew with each call.
    ///
    /// # Errors
    /// [`PackageError`] when it cannot be unpacked within the limits.
    pub fn code(&self) -> Result<Bytes, PackageError> {
        let mut code = None;
        archive::unpack(&self.bytes, &Limits::default(), |name, contents| {
            if name == CODE {
                code = Some(contents);
            }
            Ok(())
        })?;
        code.map(Bytes::from).ok_or(PackageError::Missing { name: CODE })
    }

    /// The files of the package itself with their names, in order.
    ///
    /// # Errors
    /// [`PackageError`] when it cannot be unpacked within the limits.
    pub fn files(&self) -> Result<Vec<(String, Bytes)>, PackageError> {
        let mut files = Vec::new();
        archive::unpack(&self.bytes, &Limits::default(), |name, contents| {
            files.push((name.to_owned(), contents.into()));
            Ok(())
        })?;
        Ok(files)
    }

    /// The files of the code package by name; the last of each name.
    ///
    /// # Errors
    /// [`PackageError`] when it cannot be unpacked within the limits, or holds what no peer would unpack: links and
    /// devices, names that lead outside.
    pub fn code_files(&self) -> Result<BTreeMap<String, Bytes>, PackageError> {
        let mut files = BTreeMap::new();
        archive::walk(&self.code()?, &Limits::default(), |entry, contents| {
            let listed = PackedEntry::new(entry, &contents);
            match listed.kind {
                PackedKind::Other => return Err(PackageError::NotRegular { name: listed.name }),
                _ if listed.escapes() => return Err(PackageError::Escapes { name: listed.name }),
                PackedKind::File => drop(files.insert(listed.name, contents.into())),
                PackedKind::Directory => {}
            }
            Ok(())
        })?;
        Ok(files)
    }

    /// What the code package holds, in its order, of whatever kind it is.
    ///
    /// # Errors
    /// [`PackageError`] when it cannot be unpacked within the limits.
    pub fn code_entries(&self) -> Result<Vec<PackedEntry>, PackageError> {
        let mut entries = Vec::new();
        archive::walk(&self.code()?, &Limits::default(), |entry, contents| {
            entries.push(PackedEntry::new(entry, &contents));
            Ok(())
        })?;
        Ok(entries)
    }
}

/// What an entry of a package is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackedKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A link, device or the like, which no peer unpacks.
    Other,
}

/// An entry of a package, without its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedEntry {
    /// As it is written.
    pub name: String,
    /// What it is.
    pub kind: PackedKind,
    /// As it is written.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// Of the contents.
    pub sha256: [u8; 32],
}

impl PackedEntry {
    fn new(entry: &tar::Entry, contents: &[u8]) -> Self {
        let kind = match (entry.regular, entry.directory) {
            (true, _) => PackedKind::File,
            (_, true) => PackedKind::Directory,
            _ => PackedKind::Other,
        };
        let sha256 = Sha256::digest(contents).into();
        Self { name: entry.name.clone(), kind, mode: entry.mode, size: contents.len() as u64, sha256 }
    }

    /// Whether the name leads out of the folder that the package is unpacked to.
    #[must_use]
    pub fn escapes(&self) -> bool {
        let mut depth = 0_usize;
        for name in self.name.split('/') {
            match name {
                "" | "." => {}
                ".." if depth == 0 => return true,
                ".." => depth -= 1,
                _ => depth += 1,
            }
        }
        self.name.starts_with('/')
    }
}
