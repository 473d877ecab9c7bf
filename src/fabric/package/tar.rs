//! Reading a tar as the peers do.
//!
//! A module of its own because a package's fate must not depend on the reader: what is missing at the end of an archive,
//! which headers are broken, and what counts as a regular file are judged as Go's `archive/tar` judges them.
//!
//! Sparse files are refused; no packager writes them.

use std::io::{self, Read};

const BLOCK: usize = 512;
/// What Go allows for extended headers and long names.
const LONGEST_EXTENSION: u64 = 1 << 20;

/// An archive that is being read.
pub(super) struct Tar<R> {
    inner: R,
    /// What fills up the last block of the entry before.
    padding: usize,
}

/// An entry, as its headers describe it.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) regular: bool,
    pub(super) directory: bool,
    /// As it is written, with bits that name the kind of file.
    pub(super) mode: u32,
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("invalid tar header: {what}"))
}

impl<R: Read> Tar<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, padding: 0 }
    }

    /// The next entry; `None` at the end. [`contents`](Self::contents) must be read before the next.
    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut path = None;
        let mut size = None;
        let mut long_name = None;
        loop {
            let mut padding = vec![0; std::mem::take(&mut self.padding)];
            // An archive may end without its last padding.
            if self.fill(&mut padding)? < padding.len() {
                return Ok(None);
            }
            let Some(block) = self.block()? else { return Ok(None) };
            if block == [0; BLOCK] {
                return match self.block()? {
                    None => Ok(None),
                    Some(block) if block == [0; BLOCK] => Ok(None),
                    Some(_) => Err(broken("one zero block alone")),
                };
            }
            let header = Header::read(&block)?;
            match header.kind {
                b'x' => {
                    for (key, value) in records(&self.extension(header.size)?)? {
                        match key.as_str() {
                            "path" => path = Some(value).filter(|path| !path.is_empty()),
                            "size" if value.is_empty() => size = None,
                            "size" => size = Some(value.parse().map_err(|_| broken("size"))?),
                            _ if key.starts_with("GNU.sparse.") => return Err(broken("a sparse file")),
                            _ => {}
                        }
                    }
                }
                b'L' => long_name = Some(text(&self.extension(header.size)?)).filter(|name| !name.is_empty()),
                b'K' => drop(self.extension(header.size)?),
                kind => {
                    let name = long_name.or(path).unwrap_or(header.name);
                    // In the oldest format, a name that ends in a slash is a directory.
                    let regular = kind == b'0' || (kind == 0 && !name.ends_with('/'));
                    let directory = kind == b'5' || (kind == 0 && name.ends_with('/'));
                    // Entries without contents may still name a size.
                    let size = if matches!(kind, b'1'..=b'6') { 0 } else { size.unwrap_or(header.size) };
                    return Ok(Some(Entry { name, size, regular, directory, mode: header.mode }));
                }
            }
        }
    }

    /// What an entry of `size` holds.
    pub(super) fn contents(&mut self, size: u64) -> io::Result<Vec<u8>> {
        let mut contents = Vec::new();
        self.inner.by_ref().take(size).read_to_end(&mut contents)?;
        if (contents.len() as u64) < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.padding = contents.len().next_multiple_of(BLOCK) - contents.len();
        Ok(contents)
    }

    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > LONGEST_EXTENSION {
            return Err(broken("an extension that is too long"));
        }
        self.contents(size)
    }

    /// A whole block; `None` at the end of the input.
    fn block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        match self.fill(&mut block)? {
            0 => Ok(None),
            BLOCK => Ok(Some(block)),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Reads until `buffer` is full or the input ends; how much that was.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.inner.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

struct Header {
    name: String,
    size: u64,
    kind: u8,
    mode: u32,
}

impl Header {
    fn read(block: &[u8; BLOCK]) -> io::Result<Self> {
        let sum = |signed: bool| -> i64 {
            let bytes = block.iter().enumerate();
            let value = |byte: u8| if signed { i64::from(byte.cast_signed()) } else { i64::from(byte) };
            bytes.map(|(at, byte)| if (148..156).contains(&at) { i64::from(b' ') } else { value(*byte) }).sum()
        };
        let noted = octal(&block[148..156])?;
        if noted != sum(false) && noted != sum(true) {
            return Err(broken("checksum"));
        }
        for field in [108..116, 116..124, 136..148] {
            number(&block[field])?;
        }
        // Bits above these mean nothing.
        let mode = u32::try_from(number(&block[100..108])? & 0xffff_ffff).unwrap_or_default();
        let size = u64::try_from(number(&block[124..136])?).map_err(|_| broken("size"))?;
        let mut name = text(&block[..100]);
        let (magic, version) = (&block[257..263], &block[263..265]);
        let posix = magic == b"ustar\0";
        let gnu = magic == b"ustar " && version == b" \0";
        if posix || gnu {
            number(&block[329..337])?;
            number(&block[337..345])?;
        }
        if posix {
            let star = version == b"00" && &block[508..512] == b"tar\0";
            let prefix = text(if star { &block[345..476] } else { &block[345..500] });
            if !prefix.is_empty() {
                name = format!("{prefix}/{name}");
            }
        }
        Ok(Self { name, size, kind: block[156], mode })
    }
}

/// Text up to the first zero byte.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// A number in octal digits, or, with the first bit set, in big-endian bytes.
fn number(field: &[u8]) -> io::Result<i64> {
    let Some(first) = field.first().filter(|first| **first & 0x80 != 0) else { return octal(field) };
    let negative = first & 0x40 != 0;
    let mut value: i64 = if negative { -1 } else { 0 };
    for (at, byte) in field.iter().enumerate() {
        let byte = match (at, negative) {
            (0, true) => byte | 0x80,
            (0, false) => byte & 0x7f,
            _ => *byte,
        };
        value = value.checked_mul(256).ok_or_else(|| broken("number"))? | i64::from(byte);
    }
    Ok(value)
}

fn octal(field: &[u8]) -> io::Result<i64> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
    let end = field.iter().rposition(|byte| !blank(byte)).map_or(start, |at| at + 1);
    let digits = text(&field[start..end]);
    if digits.is_empty() {
        return Ok(0);
    }
    if digits.starts_with('+') {
        return Err(broken("number"));
    }
    let value = u64::from_str_radix(&digits, 8).map_err(|_| broken("number"))?;
    i64::try_from(value).map_err(|_| broken("number"))
}

/// The records of an extended header: their length in decimal, a blank, key, equals sign, value, end of line.
fn records(mut bytes: &[u8]) -> io::Result<Vec<(String, String)>> {
    let wrong = || broken("extended header");
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let blank = bytes.iter().position(|byte| *byte == b' ').ok_or_else(wrong)?;
        let length: usize =
            std::str::from_utf8(&bytes[..blank]).ok().and_then(|digits| digits.parse().ok()).ok_or_else(wrong)?;
        if length <= blank + 1 || length > bytes.len() {
            return Err(wrong());
        }
        let record = bytes[blank + 1..length].strip_suffix(b"\n").ok_or_else(wrong)?;
        let equals = record.iter().position(|byte| *byte == b'=').filter(|at| *at > 0).ok_or_else(wrong)?;
        let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
        records.push((text(&record[..equals]), text(&record[equals + 1..])));
        bytes = &bytes[length..];
    }
    Ok(records)
}
