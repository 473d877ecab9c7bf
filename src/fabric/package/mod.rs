//! Chaincode packages: made reproducibly, read without belief.
//!
//! A package is a `tar.gz` of `metadata.json` and `code.tar.gz`; its ID is the label and the SHA-256 of its bytes, so
//! everything that could vary (times, owners, order, the compressor's mood) is fixed here.
//!
//! Reading takes the input for hostile: bounded size, bounded number of entries, regular files only.
//!
//! Source: Fabric 3.1.5 `core/chaincode/persistence`.

mod archive;
pub mod ccaas;
mod metadata;
mod tar;

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

pub use archive::Limits;

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
    /// The label breaks Fabric's rule.
    #[error("package has no valid label")]
    Label(#[from] NameError),
}

/// A chaincode package.
#[derive(Clone, PartialEq, Eq)]
pub struct Package {
    id: PackageId,
    label: Label,
    kind: String,
    path: String,
    code: Bytes,
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
            code: code.into(),
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
        let mut code = None;
        archive::unpack(&bytes, &Limits::default(), |name, contents| {
            match name {
                METADATA => metadata = Some(metadata::Metadata::parse(&contents)?),
                CODE => code = Some(contents),
                _ => {}
            }
            Ok(())
        })?;
        let metadata = metadata.ok_or(PackageError::Missing { name: METADATA })?;
        let code = code.ok_or(PackageError::Missing { name: CODE })?;
        let label = Label::parse(metadata.label)?;
        Ok(Self {
            id: PackageId::of(&label, &bytes),
            label,
            kind: metadata.kind,
            path: metadata.path,
            code: code.into(),
            bytes,
        })
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

    /// The code package inside, packed.
    pub fn code(&self) -> &Bytes {
        &self.code
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
    /// [`PackageError`] when it cannot be unpacked within the limits.
    pub fn code_files(&self) -> Result<BTreeMap<String, Bytes>, PackageError> {
        let mut files = BTreeMap::new();
        archive::unpack(&self.code, &Limits::default(), |name, contents| {
            files.insert(name.to_owned(), contents.into());
            Ok(())
        })?;
        Ok(files)
    }
}
