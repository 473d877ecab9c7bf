//! Which repository and which revision: names as proposals write them, and the addresses behind them.
//!
//! A module of its own because a proposal is written by another organization. It names a host and a path there, never a
//! scheme, a port or an account, so that it cannot lead an agent to whatever else listens in its network; an operator
//! can, by rules that rewrite addresses.
//!
//! Source: Git's `url.<base>.insteadOf`, `gitrevisions(7)`, `git-check-ref-format(1)`.

use std::fmt;
use std::str::FromStr;

use super::GitError;

/// The longest name of a repository or a revision.
const LONGEST: usize = 512;

/// A repository as proposals name it: host and path, such as `github.com/org/repo`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    host: String,
    /// Without the slash before it and without `.git` at its end.
    path: String,
}

impl Repository {
    /// Reads `github.com/org/repo`, with or without `.git` at its end.
    ///
    /// # Errors
    /// [`GitError::Repository`] for anything else, with a word on `ssh`.
    pub fn parse(text: &str) -> Result<Self, GitError> {
        Self::read(text).map_err(|reason| GitError::Repository { repository: shown(text), reason })
    }

    fn read(text: &str) -> Result<Self, &'static str> {
        if text.len() > LONGEST {
            return Err("its name is too long");
        }
        let ssh = match text.split_once("://") {
            Some((scheme, _)) if !matches!(scheme, "ssh" | "git+ssh" | "ssh+git") => {
                return Err("it must be named without a scheme, as host/path");
            }
            Some(_) => true,
            None => text.contains('@') && text.contains(':'),
        };
        if ssh {
            return Err("ssh is not supported: repositories are fetched over https, name it as host/path");
        }
        if text.contains('@') {
            return Err("it must be named without an account, as host/path");
        }
        let (host, path) = text.split_once('/').ok_or("it must be named as host/path")?;
        if host.contains(':') {
            return Err("it must be named without a port, as host/path");
        }
        let label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && label.chars().all(|char| char.is_ascii_alphanumeric() || char == '-')
        };
        if host.is_empty() || !host.split('.').all(label) {
            return Err("its host is not a name");
        }
        let path = path.trim_end_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let segment = |segment: &str| {
            !segment.is_empty()
                && !segment.chars().all(|char| char == '.')
                && segment.chars().all(|char| char.is_ascii_alphanumeric() || "-._~+".contains(char))
        };
        if path.is_empty() || !path.split('/').all(segment) {
            return Err("its path has characters or segments that addresses of repositories do not have");
        }
        Ok(Self { host: host.to_ascii_lowercase(), path: path.to_owned() })
    }

    /// The host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path, without `.git`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where it is found when nothing rewrites its address.
    pub fn url(&self) -> String {
        format!("https://{self}.git")
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

impl FromStr for Repository {
    type Err = GitError;

    fn from_str(text: &str) -> Result<Self, GitError> {
        Self::parse(text)
    }
}

/// A revision as proposals name it: a branch, a tag, or a commit, which may be abbreviated.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Revision(String);

impl Revision {
    /// Checks that `text` can be the name of a branch, a tag or a commit.
    ///
    /// # Errors
    /// [`GitError::Revision`] if not.
    pub fn parse(text: &str) -> Result<Self, GitError> {
        let refuse = |reason| Err(GitError::Revision { revision: shown(text), reason });
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.len() > LONGEST {
            return refuse("it is too long");
        }
        let odd = |char: char| char.is_control() || " ~^:?*[\\".contains(char);
        let segment = |segment: &str| {
            segment.is_empty()
                || segment.starts_with('.')
                || segment.strip_suffix(".lock").is_some()
                || segment.contains("..")
                || segment.contains("@{")
        };
        if text.starts_with('-') || text.ends_with('.') || text.contains(odd) || text.split('/').any(segment) {
            return refuse("that is no name of a branch or tag, and no hash of a commit");
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hash in full, where it is one.
    pub(super) fn full_hash(&self) -> Option<gix::ObjectId> {
        (self.0.len() == 40).then(|| gix::ObjectId::from_hex(self.0.as_bytes()).ok()).flatten()
    }

    /// The start of a hash, where it may be one.
    pub(super) fn abbreviated_hash(&self) -> Option<gix::hash::Prefix> {
        let hex = (4..40).contains(&self.0.len()) && self.0.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex.then(|| gix::hash::Prefix::from_hex(&self.0.to_ascii_lowercase()).ok()).flatten()
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Revision {
    type Err = GitError;

    fn from_str(text: &str) -> Result<Self, GitError> {
        Self::parse(text)
    }
}

/// Rules that send repositories elsewhere: to a mirror, or to a host and port inside. Of the rules that fit, the longest
/// one counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrites(Vec<(String, String)>);

impl Rewrites {
    /// Reads `https://from/=https://to:port/`, more of them separated by commas. A rule holds for an address that is
    /// `from` or goes on after it at a slash; empty text is no rule.
    ///
    /// # Errors
    /// [`GitError::Settings`] names the rule that cannot be read.
    pub fn parse(text: &str) -> Result<Self, GitError> {
        let rules = text.split(',').map(str::trim).filter(|rule| !rule.is_empty());
        let mut rules = rules.map(Self::rule).collect::<Result<Vec<_>, _>>()?;
        rules.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        Ok(Self(rules))
    }

    fn rule(rule: &str) -> Result<(String, String), GitError> {
        // Not the rule itself: somebody may have put a password there.
        let refuse = |reason: &str| GitError::Settings { reason: format!("a rule that rewrites addresses {reason}") };
        let (from, to) = rule.split_once('=').ok_or_else(|| refuse("has no `=` between two addresses"))?;
        let (from, to) = (from.trim(), to.trim());
        for address in [from, to] {
            let rest = address.strip_prefix("https://").ok_or_else(|| refuse("must lead from https:// to https://"))?;
            if rest.contains(['@', '?', '#', ' ']) {
                return Err(refuse("must have no account, query or fragment in its addresses"));
            }
        }
        let url = reqwest::Url::parse(to).map_err(|_| refuse("leads to something that is no address"))?;
        if url.host_str().is_none() {
            return Err(refuse("leads to an address without a host"));
        }
        Ok((from.to_owned(), to.to_owned()))
    }

    /// The address of `url` after the rules.
    pub(super) fn apply(&self, url: &str) -> String {
        let fits = |from: &str| {
            url.strip_prefix(from)
                .filter(|rest| from.ends_with('/') || rest.is_empty() || rest.starts_with('/') || *rest == ".git")
        };
        match self.0.iter().find_map(|(from, to)| fits(from).map(|rest| (to, rest))) {
            Some((to, rest)) => format!("{to}{rest}"),
            None => url.to_owned(),
        }
    }
}

/// Text from elsewhere, fit for a message: short, and without control characters.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 200;
    let mut short: String = text.chars().filter(|char| !char.is_control()).take(MOST).collect();
    if short.chars().count() == MOST {
        short.push('…');
    }
    // An account before a host may hold a password.
    match (short.find("://"), short.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}://…{}", &short[..scheme], &short[at..]),
        _ => short,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown = Repository::parse(text).map_or_else(|error| format!("error: {error}"), |it| it.url());
        assert!(shown.contains(expected), "{text}: {shown}");
    }

    #[test]
    fn repositories_are_hosts_and_paths() {
        check("github.com/org/repo", "https://github.com/org/repo.git");
        check("GitHub.com/Org/Repo.git", "https://github.com/Org/Repo.git");
        check("git.example.com/a/b/c.d_e~f/", "https://git.example.com/a/b/c.d_e~f.git");
        check("localhost/repo", "https://localhost/repo.git");
        check("https://github.com/org/repo", "error: repository \"https://github.com/org/repo\" cannot be fetched");
        check("https://me:secret@github.com/org/repo", "without a scheme");
        check("ssh://git@github.com/org/repo", "ssh is not supported");
        check("git@github.com:org/repo", "ssh is not supported");
        check("me@github.com/org/repo", "without an account");
        check("github.com:8443/org/repo", "without a port");
        check("[::1]/org/repo", "without a port");
        for text in ["", "/", "github.com", "github.com/", "github.com//a", "-x.com/a", "a..b/c", "a_b/c"] {
            check(text, "error: ");
        }
        for text in ["github.com/../x", "github.com/a/./b", "github.com/a?b", "github.com/a b", "github.com/ä", "h/%2e"]
        {
            check(text, "error: ");
        }
        assert!(!Repository::parse("https://me:secret@h/r").unwrap_err().to_string().contains("secret"));
    }

    #[test]
    fn revisions_are_names_or_hashes() {
        for text in ["main", "v1.0.0", "feature/x", "refs/tags/v1", "0123abcd", "HEAD", "release-1.0+x"] {
            assert_eq!(Revision::parse(text).unwrap().as_str(), text);
        }
        let refused =
            ["", "-x", "a b", "a..b", "a^", "HEAD~1", "a:b", "@{1}", ".a", "a/.b", "a//b", "a.lock", "a\n", "a."];
        for text in refused {
            assert!(Revision::parse(text).is_err(), "{text:?}");
        }
        let full = "0123456789abcdef0123456789abcdef01234567";
        assert!(Revision::parse(full).unwrap().full_hash().is_some());
        assert!(Revision::parse(full).unwrap().abbreviated_hash().is_none());
        assert!(Revision::parse("ABCD123").unwrap().abbreviated_hash().is_some());
        assert!(Revision::parse("abc").unwrap().abbreviated_hash().is_none());
        assert!(Revision::parse("main").unwrap().abbreviated_hash().is_none());
    }

    #[test]
    fn the_longest_rule_that_fits_rewrites() {
        let rules = "https://github.com/=https://mirror:8443/gh/, https://github.com/org/=https://10.0.0.1:3000/,";
        let rules = Rewrites::parse(rules).unwrap();
        assert_eq!(rules.apply("https://github.com/a/b.git"), "https://mirror:8443/gh/a/b.git");
        assert_eq!(rules.apply("https://github.com/org/b.git"), "https://10.0.0.1:3000/b.git");
        assert_eq!(rules.apply("https://gitlab.com/a.git"), "https://gitlab.com/a.git");
        let one = Rewrites::parse("https://a.com/x/y=https://b.com/z").unwrap();
        assert_eq!(one.apply("https://a.com/x/y.git"), "https://b.com/z.git");
        assert_eq!(one.apply("https://a.com/x/yy.git"), "https://a.com/x/yy.git");
        let host = Rewrites::parse("https://a.com=https://b.com").unwrap();
        assert_eq!(host.apply("https://a.com.evil.org/x.git"), "https://a.com.evil.org/x.git");
        assert_eq!(Rewrites::parse("").unwrap(), Rewrites::default());
    }

    #[test]
    fn rules_that_cannot_be_read_are_told_without_their_secrets() {
        for rule in
            ["x", "https://a/=http://b/", "https://a/=https://me:secret@b/", "git@a:=https://b/", "https://a/=https://"]
        {
            let error = Rewrites::parse(rule).unwrap_err().to_string();
            assert!(error.contains("rule") && !error.contains("secret"), "{rule}: {error}");
        }
    }
}
