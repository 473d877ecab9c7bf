//! Packing: from a list of what goes in to a package.
//!
//! A module of its own because all languages end here: the packagers choose names and files, this writes them. Contents
//! go from the tree through the compressor into the package, one file at a time.

use std::io::{self, Read, Write};

use super::gzip::{Gzip, Stored};
use super::header::{BLOCK, Fields, header, resize};
use super::sources::{SourceError, SourceTree};
use super::{CODE, Limits, METADATA, Package, PackageError, metadata};
use crate::fabric::names::{Label, PackageId};

/// Why sources do not become a package.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The sources cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// There is nothing to package.
    #[error("no source files found in {path:?}")]
    Empty {
        /// The folder that was to be packaged.
        path: String,
    },
    /// A file in META-INF that the peer would not take.
    #[error("{reason}")]
    Metadata {
        /// What Fabric says of it.
        reason: String,
    },
    /// Not a Go package that Go could list.
    #[error("not a Go package: {reason}")]
    Go {
        /// What is wrong.
        reason: String,
    },
    /// There is no packager for this type.
    #[error("there is no packager for chaincode of type {kind:?}")]
    Language {
        /// The type.
        kind: String,
    },
    /// More than the limits allow.
    #[error("sources are larger than {what}")]
    TooLarge {
        /// The limit.
        what: String,
    },
    /// A file was of another size when it was read.
    #[error("{path} changed while it was read")]
    Changed {
        /// The file.
        path: String,
    },
    /// The package itself.
    #[error(transparent)]
    Package(#[from] PackageError),
}

/// What goes into the code of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// A directory, with a slash at the end of its name.
    Directory { name: String },
    /// The file at `path` of the tree.
    File { name: String, path: String, size: u64 },
}

/// The owner that Fabric writes into the code of a package.
const OWNER: u64 = 500;
const FILE: u64 = 0o100_644;
const DIRECTORY: u64 = 0o040_755;

/// Everything that is the same for all languages.
pub(super) struct Packing<'a> {
    pub(super) kind: &'a str,
    pub(super) path: &'a str,
    pub(super) label: &'a Label,
    pub(super) limits: &'a Limits,
}

/// Writing into memory fails only where compressing does.
fn broken(error: &io::Error) -> PackError {
    PackageError::Archive { reason: error.to_string() }.into()
}

/// Writes the package.
pub(super) fn pack(tree: &dyn SourceTree, packing: &Packing<'_>, items: &[Item]) -> Result<Package, PackError> {
    check_limits(items, packing.limits)?;
    let metadata = metadata::peer(packing.path, packing.kind, packing.label);
    let mut outer = Stored::new();
    let code_header = open(&mut outer, metadata.as_bytes()).map_err(|error| broken(&error))?;
    let outer = code(tree, items, outer)?;
    finish(outer, code_header, packing)
}

/// Writes what precedes the code, and tells where the header of the code is: its size is known at the end only.
fn open(outer: &mut Stored, metadata: &[u8]) -> io::Result<std::ops::Range<usize>> {
    let plain = |name: &'static str, size| header(&Fields { name, size, mode: FILE, owner: 0, kind: b'0' });
    outer.write_all(&plain(METADATA, metadata.len() as u64))?;
    outer.write_all(metadata)?;
    pad(outer, metadata.len() as u64)?;
    let start = outer.len();
    outer.write_all(&plain(CODE, 0))?;
    Ok(start..start + BLOCK)
}

fn finish(mut outer: Stored, code_header: std::ops::Range<usize>, packing: &Packing<'_>) -> Result<Package, PackError> {
    let size = (outer.len() - code_header.end) as u64;
    let too_long = || PackageError::Archive { reason: "metadata.json is too long".to_owned() };
    let block = outer.first_block(code_header).and_then(|block| <&mut [u8; BLOCK]>::try_from(block).ok());
    resize(block.ok_or_else(too_long)?, size);
    pad(&mut outer, size).and_then(|()| outer.write_all(&[0; 2 * BLOCK])).map_err(|error| broken(&error))?;
    let bytes = bytes::Bytes::from(outer.finish());
    Ok(Package {
        id: PackageId::of(packing.label, &bytes),
        label: packing.label.clone(),
        kind: packing.kind.to_owned(),
        path: packing.path.to_owned(),
        bytes,
    })
}

/// Writes the code, packed, to `out`.
fn code<W: Write>(tree: &dyn SourceTree, items: &[Item], out: W) -> Result<W, PackError> {
    let failed = |error: io::Error| broken(&error);
    let mut gzip = Gzip::new(out).map_err(failed)?;
    for item in items {
        match item {
            Item::Directory { name } => {
                let fields = Fields { name, size: 0, mode: DIRECTORY, owner: OWNER, kind: b'5' };
                gzip.write_all(&header(&fields)).map_err(failed)?;
            }
            Item::File { name, path, size } => {
                let fields = Fields { name, size: *size, mode: FILE, owner: OWNER, kind: b'0' };
                gzip.write_all(&header(&fields)).map_err(failed)?;
                copy(tree, path, *size, &mut gzip)?;
                pad(&mut gzip, *size).map_err(failed)?;
            }
        }
    }
    gzip.write_all(&[0; 2 * BLOCK]).map_err(failed)?;
    gzip.finish().map_err(failed)
}

/// Copies a file, which has to be as long as was said.
fn copy(tree: &dyn SourceTree, path: &str, size: u64, out: &mut impl Write) -> Result<(), PackError> {
    let mut reader = tree.open(path)?;
    let mut buffer = vec![0; 64 << 10];
    let mut left = size;
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(SourceError::read(path, error).into()),
        };
        let changed = || PackError::Changed { path: path.to_owned() };
        if read == 0 {
            return if left == 0 { Ok(()) } else { Err(changed()) };
        }
        left = left.checked_sub(read as u64).ok_or_else(changed)?;
        out.write_all(&buffer[..read]).map_err(|error| broken(&error))?;
    }
}

fn pad(out: &mut impl Write, size: u64) -> io::Result<()> {
    // Less than a block, so it fits.
    let over = usize::try_from(size % BLOCK as u64).unwrap_or_default();
    if over == 0 { Ok(()) } else { out.write_all(&[0; BLOCK][over..]) }
}

fn check_limits(items: &[Item], limits: &Limits) -> Result<(), PackError> {
    if items.len() > limits.entries {
        return Err(PackError::TooLarge { what: format!("{} files and folders", limits.entries) });
    }
    let bytes: u64 = items.iter().fold(0, |sum, item| match item {
        Item::Directory { .. } => sum,
        Item::File { size, .. } => sum.saturating_add(*size),
    });
    if bytes > limits.bytes {
        return Err(PackError::TooLarge { what: format!("{} bytes", limits.bytes) });
    }
    Ok(())
}
