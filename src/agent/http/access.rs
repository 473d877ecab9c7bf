//! Who may ask the HTTP service for what.
//!
//! Probes ask without showing anything. With a token file, everything that tells about the network needs its token;
//! without one it is there for everybody who reaches the port. What changes something is never done for a web page of
//! another origin, and without a token only for callers on this machine.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;

/// A longer file is none with a token.
const LONGEST: u64 = 4096;

/// Guards the service.
#[derive(Debug, Clone, Default)]
pub(super) struct Access {
    token_file: Option<PathBuf>,
}

/// Why a request is not served.
pub(super) type Denied = (StatusCode, &'static str);

const NO_TOKEN: Denied = (StatusCode::UNAUTHORIZED, "show the token of this agent: Authorization: Bearer <token>\n");
const UNREADABLE: Denied = (StatusCode::SERVICE_UNAVAILABLE, "the token of this agent cannot be read just now\n");
const FOREIGN: Denied = (StatusCode::FORBIDDEN, "this is not changed from a page of another origin\n");
const REMOTE: Denied =
    (StatusCode::FORBIDDEN, "without AGENT_SERVICE_TOKEN_FILE, this is changed from the agent's machine only\n");

impl Access {
    /// Takes the path of the token, and reads it once to see that it can be.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(super) async fn open(token_file: Option<&Path>) -> Result<Self, String> {
        if let Some(path) = token_file {
            token(path).await.map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(Self { token_file: token_file.map(Path::to_owned) })
    }

    /// Whether the caller may read.
    pub(super) async fn may_read(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let Some(path) = &self.token_file else { return Ok(()) };
        // Read each time: it may have been replaced.
        let expected = token(path).await.map_err(|error| {
            tracing::warn!(error, file = %path.display(), "token of the HTTP service cannot be read");
            UNREADABLE
        })?;
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
        // Digests are compared, so that the time it takes tells nothing.
        match shown {
            Some(shown) if Sha256::digest(shown) == Sha256::digest(&expected) => Ok(()),
            _ => Err(NO_TOKEN),
        }
    }

    /// Whether the caller may change something.
    pub(super) async fn may_change(&self, headers: &HeaderMap, caller: SocketAddr) -> Result<(), Denied> {
        if !is_same_origin(headers) {
            return Err(FOREIGN);
        }
        self.may_read(headers).await?;
        if self.token_file.is_none() {
            if !caller.ip().to_canonical().is_loopback() {
                return Err(REMOTE);
            }
            // A name that somebody else has made point here makes his page one of the same origin.
            if !headers.get(HOST).and_then(|host| host.to_str().ok()).is_some_and(is_this_machine) {
                return Err(FOREIGN);
            }
        }
        Ok(())
    }
}

async fn token(path: &Path) -> Result<String, String> {
    let file = tokio::fs::File::open(path).await.map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(LONGEST + 1).read_to_string(&mut text).await.map_err(|error| error.to_string())?;
    match text.trim() {
        "" => Err("it holds no token".to_owned()),
        _ if text.len() as u64 > LONGEST => Err("it is too long for a token".to_owned()),
        token if token.chars().any(|c| !c.is_ascii_graphic()) => {
            Err("a token has visible ASCII characters only".to_owned())
        }
        token => Ok(token.to_owned()),
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Browsers name the page that asks; programs do not.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if text("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return false;
    }
    match (text(ORIGIN.as_str()), text(HOST.as_str())) {
        (None, _) => true,
        (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, named)| named == host),
        (Some(_), None) => false,
    }
}

fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[tokio::test]
    async fn a_token_is_asked_for_and_may_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(Access::open(Some(&path)).await.is_err(), "there is no file");
        for (text, usable) in [("", false), ("two words", false), ("\n", false), ("first\n", true)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(Access::open(Some(&path)).await.is_ok(), usable, "for {text:?}");
        }
        std::fs::write(&path, "x".repeat(5000)).unwrap();
        assert!(Access::open(Some(&path)).await.is_err_and(|error| error.contains("too long")));
        std::fs::write(&path, "first").unwrap();
        let access = Access::open(Some(&path)).await.unwrap();
        let status = async |value: &str| {
            let shown = headers(&[("authorization", value)]);
            access.may_read(&shown).await.map_or_else(|(status, _)| status.as_u16(), |()| 200)
        };
        assert_eq!(access.may_read(&HeaderMap::new()).await.unwrap_err(), NO_TOKEN);
        for (value, expected) in
            [("Bearer first", 200), ("bearer first", 200), ("Bearer firs", 401), ("first", 401), ("Basic first", 401)]
        {
            assert_eq!(status(value).await, expected, "for {value}");
        }
        std::fs::write(&path, "second").unwrap();
        assert_eq!((status("Bearer first").await, status("Bearer second").await), (401, 200));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(status("Bearer second").await, 503);
    }

    #[tokio::test]
    async fn without_a_token_only_this_machine_changes_something() {
        let access = Access::default();
        let (near, far) = ("127.0.0.1:9".parse().unwrap(), "10.0.0.9:9".parse().unwrap());
        let mapped = "[::ffff:127.0.0.1]:9".parse().unwrap();
        let host = ("host", "localhost:5500");
        for (caller, shown, allowed) in [
            (near, vec![host], true),
            (mapped, vec![("host", "[::1]:5500")], true),
            (far, vec![host], false),
            (near, vec![("host", "rebound.example.com:5500")], false),
            (near, vec![], false),
            (near, vec![host, ("origin", "http://localhost:5500")], true),
            (near, vec![host, ("origin", "http://elsewhere.example.com")], false),
            (near, vec![host, ("origin", "null")], false),
            (near, vec![host, ("sec-fetch-site", "cross-site")], false),
            (near, vec![host, ("sec-fetch-site", "same-origin")], true),
        ] {
            assert_eq!(access.may_change(&headers(&shown), caller).await.is_ok(), allowed, "{caller} {shown:?}");
        }
    }
}
