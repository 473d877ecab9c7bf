//! What proves an agent to a git server: a user and password, or a token out of a file.
//!
//! A module of its own because a secret goes through here and nowhere else: into one header, for one host, and only
//! after that host has asked. It is wiped from memory, and has no form in which it could be printed.

use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::HeaderValue;
use zeroize::Zeroizing;

use super::GitError;

/// Whom a token belongs to when nobody says: servers look at the token alone, but want some name.
const TOKEN_USER: &str = "x-access-token";
/// No token is longer.
const LONGEST_TOKEN: u64 = 64 * 1024;

/// A user and password, or a token, for git servers.
#[derive(Clone)]
pub struct Credentials {
    user: String,
    secret: Secret,
    /// The hosts that may see it, or every repository's own.
    hosts: Option<Vec<String>>,
}

#[derive(Clone)]
enum Secret {
    Password(Zeroizing<String>),
    /// Read at each fetch: tokens are replaced while an agent runs.
    TokenFile(PathBuf),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl Credentials {
    /// A user and a password.
    pub fn password(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), secret: Secret::Password(Zeroizing::new(password.into())), hosts: None }
    }

    /// A token in the file at `path`, which is read at each fetch. Without `user`, under a name that servers of tokens
    /// take.
    pub fn token_file(path: impl Into<PathBuf>, user: Option<String>) -> Self {
        Self {
            user: user.unwrap_or_else(|| TOKEN_USER.to_owned()),
            secret: Secret::TokenFile(path.into()),
            hosts: None,
        }
    }

    /// Shows them to these hosts only, as proposals name them. Without this, whichever host a proposal names sees them
    /// when it asks; submodules on other hosts never do.
    #[must_use]
    pub fn only_for<H: Into<String>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        self.hosts = Some(hosts.into_iter().map(|host| host.into().to_ascii_lowercase()).collect());
        self
    }

    /// The header for `host`, a submodule of a repository at `proposed` or that itself; nothing where that host must
    /// not see it.
    pub(super) fn header(&self, host: &str, proposed: &str) -> Result<Option<HeaderValue>, GitError> {
        let may_see = match &self.hosts {
            Some(hosts) => hosts.iter().any(|known| known == host),
            None => host == proposed,
        };
        if !may_see {
            return Ok(None);
        }
        let secret = match &self.secret {
            Secret::Password(password) => password.clone(),
            Secret::TokenFile(path) => {
                let unusable =
                    |reason: String| GitError::Settings { reason: format!("token file {}: {reason}", path.display()) };
                let length = std::fs::metadata(path).map_err(|error| unusable(error.to_string()))?.len();
                if length > LONGEST_TOKEN {
                    return Err(unusable("it is too long for a token".to_owned()));
                }
                let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
                let text = Zeroizing::new(text);
                let token = text.trim();
                if token.is_empty() {
                    return Err(unusable("it is empty".to_owned()));
                }
                Zeroizing::new(token.to_owned())
            }
        };
        let pair = Zeroizing::new(format!("{}:{}", self.user, *secret));
        let basic = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())));
        let mut header = HeaderValue::from_str(&basic)
            .map_err(|_| GitError::Settings { reason: "credentials cannot be written into a header".to_owned() })?;
        header.set_sensitive(true);
        Ok(Some(header))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proposed_host_or_the_listed_ones_see_them() {
        let any = Credentials::password("me", "secret");
        assert_eq!(any.header("a.com", "a.com").unwrap().unwrap(), "Basic bWU6c2VjcmV0");
        assert!(any.header("evil.com", "a.com").unwrap().is_none());
        let listed = any.only_for(["A.com", "b.com"]);
        assert!(listed.header("b.com", "a.com").unwrap().is_some());
        assert!(listed.header("c.com", "c.com").unwrap().is_none());
    }

    #[test]
    fn tokens_are_read_anew_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let token = Credentials::token_file(&path, None);
        assert!(token.header("a", "a").unwrap_err().to_string().contains("token file"));
        std::fs::write(&path, "first\n").unwrap();
        let header = token.header("a", "a").unwrap().unwrap();
        assert_eq!(header, format!("Basic {}", BASE64_STANDARD.encode("x-access-token:first")).as_str());
        std::fs::write(&path, "second").unwrap();
        assert_ne!(token.header("a", "a").unwrap().unwrap(), header);
        std::fs::write(&path, " \n").unwrap();
        assert!(token.header("a", "a").is_err());
    }

    #[test]
    fn no_form_shows_the_secret() {
        let password = Credentials::password("me", "secret");
        let header = password.header("a", "a").unwrap();
        assert!(!format!("{password:?} {header:?}").contains("secret"));
        assert!(!format!("{header:?}").contains("bWU6c2VjcmV0"));
    }
}
