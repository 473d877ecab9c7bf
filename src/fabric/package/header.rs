//! The headers of a tar, as Go's `archive/tar` writes them.
//!
//! A module of its own because these bytes are what makes a package of ours equal to one of the `peer` command: POSIX
//! headers where the name fits, an extended (PAX) header before those where it does not.
//!
//! Source: Go 1.24 `archive/tar`, and packages that Fabric 3.1.5 made.

/// What headers and contents are filled up to.
pub(super) const BLOCK: usize = 512;
const NAME: usize = 100;
const PREFIX: usize = 155;

/// What a header describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fields<'a> {
    pub(super) name: &'a str,
    pub(super) size: u64,
    pub(super) mode: u64,
    /// User and group.
    pub(super) owner: u64,
    /// `0` for a file, `5` for a directory.
    pub(super) kind: u8,
}

/// The header of an entry, with an extended one before it where the name needs that.
pub(super) fn header(fields: &Fields<'_>) -> Vec<u8> {
    let name = fields.name;
    if name.is_ascii() && name.len() <= NAME {
        return plain(fields, name, "").to_vec();
    }
    if let Some((prefix, rest)) = divided(name) {
        return plain(fields, rest, prefix).to_vec();
    }
    let record = record("path", name);
    let ascii = only_ascii(name);
    let mut extended = [0; BLOCK];
    let (folder, file) = name.rsplit_once('/').map_or(("", name), |(folder, file)| (folder, file));
    let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let extended_name = only_ascii(format!("{folder}PaxHeaders.0/{file}").trim_end_matches('/'));
    let shortened = &extended_name[..extended_name.len().min(NAME)];
    put(&mut extended[..NAME], shortened.trim_end_matches('/'));
    for (field, value) in [(100..108, 0), (108..116, 0), (116..124, 0), (124..136, record.len() as u64), (136..148, 0)]
    {
        octal(&mut extended[field], value);
    }
    extended[156] = b'x';
    seal(&mut extended);
    let mut bytes = extended.to_vec();
    bytes.extend_from_slice(record.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes.extend_from_slice(&plain(fields, &ascii, ""));
    bytes
}

/// A POSIX header.
fn plain(fields: &Fields<'_>, name: &str, prefix: &str) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    put(&mut block[..NAME], name);
    octal(&mut block[100..108], fields.mode);
    octal(&mut block[108..116], fields.owner);
    octal(&mut block[116..124], fields.owner);
    octal(&mut block[124..136], fields.size);
    octal(&mut block[136..148], 0);
    block[156] = fields.kind;
    // Device numbers, which files have not.
    octal(&mut block[329..337], 0);
    octal(&mut block[337..345], 0);
    put(&mut block[345..500], prefix);
    seal(&mut block);
    block
}

/// Marks the format and notes the sum of all bytes, its own field taken for blanks.
pub(super) fn seal(block: &mut [u8; BLOCK]) {
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum = block.iter().map(|byte| u64::from(*byte)).sum();
    octal(&mut block[148..155], sum);
}

/// Changes the size in a header without an extended one before it.
pub(super) fn resize(block: &mut [u8; BLOCK], size: u64) {
    octal(&mut block[124..136], size);
    seal(block);
}

/// Text, as much of it as fits; a name that is cut ends in no slash, which would make it a directory.
fn put(field: &mut [u8], text: &str) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
    if text.len() > field.len() && field.ends_with(b"/") {
        let end = text[..field.len() - 1].trim_end_matches('/').len();
        field[end] = 0;
    }
}

/// Octal digits that fill the field but for a zero byte.
fn octal(field: &mut [u8], value: u64) {
    let width = field.len() - 1;
    // Sizes from 8 GiB on would need more digits; limits keep sources far below.
    let digits = format!("{value:0width$o}");
    field[..width].copy_from_slice(&digits.as_bytes()[digits.len() - width..]);
    field[width] = 0;
}

/// A long name as the two fields of POSIX: a prefix and the rest, without the slash between.
fn divided(name: &str) -> Option<(&str, &str)> {
    if !name.is_ascii() {
        return None;
    }
    let mut length = name.len();
    if length > PREFIX + 1 {
        length = PREFIX + 1;
    } else if name.ends_with('/') {
        length -= 1;
    }
    let slash = name[..length].rfind('/').filter(|at| *at > 0)?;
    let (prefix, rest) = (&name[..slash], &name[slash + 1..]);
    (!rest.is_empty() && rest.len() <= NAME && prefix.len() <= PREFIX).then_some((prefix, rest))
}

fn only_ascii(text: &str) -> String {
    text.chars().filter(|char| char.is_ascii() && *char != '\0').collect()
}

/// A record of an extended header; its length counts its own digits.
fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    format!("{length} {key}={value}\n")
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn headers_are_those_of_go() {
        let names = [
            "a".to_owned(),
            format!("src/{}", "a".repeat(95)),
            format!("src/{}", "a".repeat(96)),
            format!("src/{}", "a".repeat(97)),
            format!("src/{}f", "d/".repeat(60)),
            format!("{}/{}", "p".repeat(155), "n".repeat(100)),
            format!("{}/n", "p".repeat(156)),
            format!("{}/{}", "p".repeat(100), "n".repeat(101)),
            "src/ü.js".to_owned(),
            format!("src/日本/{}/y.js", "x".repeat(120)),
            format!("{}file", "a/".repeat(200)),
            format!("{}/{}", "q".repeat(99), "ä".repeat(40)),
            "é".to_owned(),
        ];
        let mut all = Vec::new();
        for (at, name) in (0..).zip(&names) {
            all.extend(header(&Fields { name, size: at * 1000, mode: 0o100_644, owner: 500, kind: b'0' }));
            let folder = format!("{name}/");
            all.extend(header(&Fields { name: &folder, size: 0, mode: 0o040_755, owner: 500, kind: b'5' }));
        }
        // What a program in Go wrote with the same names.
        assert_eq!(all.len(), 28_672);
        let sum: String = Sha256::digest(&all).iter().fold(String::new(), |sum, byte| format!("{sum}{byte:02x}"));
        assert_eq!(sum, "05025c7a3f1ef36ad93aa4914601e1a449bd8fcdf394c4cfa549c775760f5bb0");
    }
}
