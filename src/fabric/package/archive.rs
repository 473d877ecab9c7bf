//! The `tar.gz` of packages: written the same everywhere, read within limits.

use std::io::{self, Read, Write as _};

use flate2::read::MultiGzDecoder;
use flate2::{Compression, GzBuilder};

use super::PackageError;
use super::tar::{Entry, Tar};

/// How much a package may unpack to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes, all entries and headers together.
    pub bytes: u64,
    /// Entries.
    pub entries: usize,
}

impl Default for Limits {
    /// What fits several times over into the largest message that peers take.
    fn default() -> Self {
        Self { bytes: 512 << 20, entries: 65_536 }
    }
}

fn broken(error: &io::Error) -> PackageError {
    PackageError::Archive { reason: error.to_string() }
}

/// A `tar.gz` of `files` in their order. Stored, not compressed: the bytes depend on no compressor.
pub(super) fn pack(files: &[(&str, &[u8])]) -> Result<Vec<u8>, PackageError> {
    let mut tar = ::tar::Builder::new(Vec::new());
    for (name, contents) in files {
        let mut header = ::tar::Header::new_ustar();
        header.set_path(name).map_err(|error| broken(&error))?;
        header.set_size(contents.len() as u64);
        header.set_mode(0o100_644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        tar.append(&header, *contents).map_err(|error| broken(&error))?;
    }
    let tar = tar.into_inner().map_err(|error| broken(&error))?;
    // 255: an unknown system, so that no system's number gets in.
    let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::none());
    gzip.write_all(&tar).map_err(|error| broken(&error))?;
    gzip.finish().map_err(|error| broken(&error))
}

/// Reads at most so many bytes, and fails (rather than ends) when there are more.
struct Bounded<R> {
    inner: R,
    left: u64,
}

/// Marks the error of [`Bounded`], so that it can be told from a broken archive.
const BEYOND: &str = "limit of unpacked bytes reached";

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| io::Error::other(BEYOND))?;
        Ok(read)
    }
}

/// Calls `each` with the name and the contents of every entry, all of which have to be regular files.
///
/// Stops at the end of the tar, so what follows it (even the checksum of the gzip) goes unnoticed, as on the peers.
pub(super) fn unpack(
    bytes: &[u8],
    limits: &Limits,
    mut each: impl FnMut(&str, Vec<u8>) -> Result<(), PackageError>,
) -> Result<(), PackageError> {
    walk(bytes, limits, |entry, contents| {
        if !entry.regular {
            return Err(PackageError::NotRegular { name: entry.name.clone() });
        }
        each(&entry.name, contents)
    })
}

/// Calls `each` with every entry, of whatever kind, and its contents.
pub(super) fn walk(
    bytes: &[u8],
    limits: &Limits,
    mut each: impl FnMut(&Entry, Vec<u8>) -> Result<(), PackageError>,
) -> Result<(), PackageError> {
    let judge = |error: io::Error| {
        if error.to_string().contains(BEYOND) {
            PackageError::TooLarge { what: format!("{} bytes", limits.bytes) }
        } else {
            broken(&error)
        }
    };
    let mut archive = Tar::new(Bounded { inner: MultiGzDecoder::new(bytes), left: limits.bytes });
    let mut count = 0;
    while let Some(entry) = archive.next().map_err(judge)? {
        if count == limits.entries {
            return Err(PackageError::TooLarge { what: format!("{count} entries") });
        }
        count += 1;
        let contents = archive.contents(entry.size).map_err(judge)?;
        each(&entry, contents)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(bytes: &[u8], limits: &Limits) -> Result<Vec<String>, PackageError> {
        let mut names = Vec::new();
        unpack(bytes, limits, |name, _| {
            names.push(name.to_owned());
            Ok(())
        })?;
        Ok(names)
    }

    #[test]
    fn what_follows_the_tar_goes_unnoticed() {
        let good = pack(&[("a", b"x"), ("b", b"")]).unwrap();
        let last = good.len() - 8;
        let mut wrong_checksum = good.clone();
        wrong_checksum[last] ^= 0xff;
        let trailing = [good.clone(), b"more".to_vec()].concat();
        for bytes in [good, wrong_checksum, trailing] {
            assert_eq!(names(&bytes, &Limits::default()).unwrap(), ["a", "b"]);
        }
    }

    #[test]
    fn limits_hold() {
        let bytes = pack(&[("a", &[0; 4096]), ("b", &[0; 4096])]).unwrap();
        let refused = |limits| matches!(names(&bytes, &limits), Err(PackageError::TooLarge { .. }));
        assert!(refused(Limits { bytes: 8 << 20, entries: 1 }));
        assert!(refused(Limits { bytes: 6000, entries: 9 }));
        assert!(!refused(Limits { bytes: 8 << 20, entries: 2 }));
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
        let mut header = ::tar::Header::new_ustar();
        header.set_path("metadata.json").unwrap();
        header.set_size(1 << 30);
        header.set_cksum();
        gzip.write_all(header.as_bytes()).unwrap();
        let zeros = vec![0; 1 << 16];
        for _ in 0..64 {
            gzip.write_all(&zeros).unwrap();
        }
        let bytes = gzip.finish().unwrap();
        let limits = Limits { bytes: 1 << 20, entries: 9 };
        assert!(matches!(names(&bytes, &limits), Err(PackageError::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            noise in prop::collection::vec(any::<u8>(), 0..200),
            at in 0_usize..2000,
            bit in 0_u8..8,
        ) {
            let _ = super::super::Package::read(noise);
            let mut package = pack(&[("metadata.json", b"{\"label\":\"a\"}"), ("code.tar.gz", b"")]).unwrap();
            let at = at % package.len();
            package[at] ^= 1 << bit;
            let _ = super::super::Package::read(package);
        }
    }
}
