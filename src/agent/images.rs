//! Which image a `k8s` package names.
//!
//! This agent builds no images. Whoever does (a pipeline of the organization) leaves a file for each sequence of a
//! chaincode, with the image's name and digest, where a setting says. A file that is not there yet is waited for.

use std::io::{self, Read as _};
use std::path::PathBuf;

use crate::fabric::names::ChaincodeName;
use crate::fabric::package::ccaas::Image;

use super::text;

/// A name and a digest are a few hundred bytes.
const LONGEST: u64 = 16 << 10;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum ImageError {
    /// Nobody has said which image yet.
    #[error("there is no file {path} that names the image")]
    Missing {
        /// The file.
        path: String,
    },
    /// The file cannot be read.
    #[error("file {path}, which names the image, cannot be read")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The file does not name an image.
    #[error("file {path} does not name an image: {why}")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The file for this sequence of a chaincode. Chaincode names hold no dots and no slashes.
pub(super) fn path(template: &str, chaincode: &ChaincodeName, sequence: i64) -> PathBuf {
    template.replace("{chaincode}", chaincode.as_str()).replace("{sequence}", &sequence.to_string()).into()
}

/// Reads the image for this sequence of a chaincode.
///
/// # Errors
/// [`ImageError`].
pub(super) fn read(template: &str, chaincode: &ChaincodeName, sequence: i64) -> Result<Image, ImageError> {
    let path = path(template, chaincode, sequence);
    let shown = text::bounded(&path.display().to_string(), 300);
    let mut content = Vec::new();
    let read = std::fs::File::open(&path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut content));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ImageError::Missing { path: shown }),
        Err(source) => return Err(ImageError::Unreadable { path: shown, source }),
    }
    let malformed = |why: String| ImageError::Malformed { path: shown.clone(), why };
    if content.len() as u64 > LONGEST {
        return Err(malformed("it is too long".to_owned()));
    }
    let image: Image = serde_json::from_slice(&content).map_err(|error| malformed(error.to_string()))?;
    check(&image).map_err(malformed)?;
    Ok(image)
}

fn check(image: &Image) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | ':');
    if image.name.is_empty() || image.name.len() > 255 || !image.name.chars().all(plain) {
        return Err(format!("{:?} is not the name of an image", text::bounded(&image.name, 80)));
    }
    let digits = image.digest.strip_prefix("sha256:").unwrap_or_default();
    if digits.len() != 64 || !digits.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')) {
        return Err(format!("{:?} is not sha256: and 64 hex digits", text::bounded(&image.digest, 80)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_read_and_checked() {
        let folder = tempfile::tempdir().unwrap();
        let template = format!("{}/{{chaincode}}-{{sequence}}.json", folder.path().display());
        let asset = ChaincodeName::parse("asset").unwrap();
        assert!(matches!(read(&template, &asset, 1), Err(ImageError::Missing { .. })));
        assert!(matches!(read(&folder.path().display().to_string(), &asset, 1), Err(ImageError::Unreadable { .. })));
        let digest = format!("sha256:{}", "0a".repeat(32));
        let long = " ".repeat(20_000);
        for (content, valid) in [
            (format!("{{\"name\":\"registry:5000/team/asset\",\"digest\":\"{digest}\"}}"), true),
            (format!("{{\"name\":\"\",\"digest\":\"{digest}\"}}"), false),
            (format!("{{\"name\":\"a b\",\"digest\":\"{digest}\"}}"), false),
            ("{\"name\":\"asset\",\"digest\":\"latest\"}".to_owned(), false),
            (format!("{{\"name\":\"asset\",\"digest\":\"{}\"}}", digest.to_uppercase()), false),
            ("{}".to_owned(), false),
            (String::new(), false),
            (format!("{long}{{\"name\":\"asset\",\"digest\":\"{digest}\"}}"), false),
        ] {
            std::fs::write(folder.path().join("asset-7.json"), &content).unwrap();
            let image = read(&template, &asset, 7);
            assert_eq!(image.is_ok(), valid, "for {}: {image:?}", text::bounded(&content, 100));
        }
    }
}
