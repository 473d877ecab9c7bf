//! What this organization deploys at all: its own veto, whatever the others have voted for.
//!
//! Pure. Lists of patterns for repositories, package types and channels, and whether a commit must be signed. A list
//! that is not given allows everything. The rule that was broken goes into the failure that the organization
//! acknowledges, so that whoever proposed knows what to change.
//!
//! In a pattern `*` stands for any characters but `/`, and `**` for any characters. The whole text must match. A host
//! name matches in any letter case, everything else exactly.

use std::fmt;

use super::text;

/// No repository that can be fetched from is longer.
const LONGEST: usize = 2000;

/// The lists of one organization.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList {
    /// `ALLOWED_REPOSITORIES`.
    pub repositories: Option<Patterns>,
    /// `ALLOWED_TYPES`.
    pub types: Option<Patterns>,
    /// `ALLOWED_CHANNELS`.
    pub channels: Option<Patterns>,
}

/// A rule that a proposal breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokenRule {
    /// The channel is on no list.
    #[error("this organization does not deploy to channel {channel}, only to {allowed} (ALLOWED_CHANNELS)")]
    Channel {
        /// The channel.
        channel: String,
        /// What is allowed.
        allowed: String,
    },
    /// The package type is on no list.
    #[error("this organization does not deploy packages of type {package_type}, only {allowed} (ALLOWED_TYPES)")]
    Type {
        /// The type.
        package_type: String,
        /// What is allowed.
        allowed: String,
    },
    /// The repository is on no list.
    #[error("this organization does not deploy from {repository}, only from {allowed} (ALLOWED_REPOSITORIES)")]
    Repository {
        /// The repository.
        repository: String,
        /// What is allowed.
        allowed: String,
    },
    /// The commit bears no signature by one of the keys.
    #[error("this organization deploys signed commits only (ALLOWED_SIGNERS): {why}")]
    Signature {
        /// What is wrong with the commit.
        why: String,
    },
}

impl AllowList {
    /// Whether a proposal may be deployed, as far as its text tells.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self, channel: &str, package_type: &str, repository: &str) -> Result<(), BrokenRule> {
        let short = |text: &str| text::bounded(text, 120);
        if let Some(allowed) = self.channels.as_ref().filter(|allowed| !allowed.match_text(channel)) {
            return Err(BrokenRule::Channel { channel: short(channel), allowed: allowed.shown() });
        }
        if let Some(allowed) = self.types.as_ref().filter(|allowed| !allowed.match_text(package_type)) {
            return Err(BrokenRule::Type { package_type: short(package_type), allowed: allowed.shown() });
        }
        self.check_repository(repository)
    }

    /// Whether anything may be deployed from a repository.
    ///
    /// # Errors
    /// [`BrokenRule::Repository`].
    pub fn check_repository(&self, repository: &str) -> Result<(), BrokenRule> {
        match self.repositories.as_ref().filter(|allowed| !allowed.match_repository(repository)) {
            Some(allowed) => {
                Err(BrokenRule::Repository { repository: text::bounded(repository, 120), allowed: allowed.shown() })
            }
            None => Ok(()),
        }
    }
}

/// Patterns of which one must match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patterns(Vec<String>);

impl Patterns {
    /// Reads patterns out of a list with commas.
    ///
    /// # Errors
    /// Where there is none, or one with blanks in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let patterns: Vec<String> = text.split(',').map(|pattern| pattern.trim().to_owned()).collect();
        for pattern in &patterns {
            if pattern.is_empty() {
                return Err("there is an empty pattern".to_owned());
            }
            if pattern.chars().any(|c| c.is_whitespace() || c.is_control()) {
                return Err(format!("pattern {pattern:?} has blanks in it"));
            }
            if pattern.contains("://") {
                return Err(format!("pattern {pattern:?} has a scheme, which repositories of proposals have not"));
            }
        }
        Ok(Self(patterns))
    }

    fn match_text(&self, text: &str) -> bool {
        self.0.iter().any(|pattern| matches(pattern, text))
    }

    /// As [`match_text`](Self::match_text), for a repository. Paths that some server may read in another way than they
    /// look (`a/../b`, `a%2fb`) match nothing: they could lead out of what was allowed.
    fn match_repository(&self, repository: &str) -> bool {
        let plain = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '~' | '+'))
        };
        let repository_is_plain = repository.len() <= LONGEST && repository.split('/').all(plain);
        let repository = host_lowered(repository);
        repository_is_plain && self.0.iter().any(|pattern| matches(&host_lowered(pattern), &repository))
    }

    fn shown(&self) -> String {
        text::bounded(&self.to_string(), 300)
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

fn host_lowered(repository: &str) -> String {
    match repository.split_once('/') {
        Some((host, path)) => format!("{}/{path}", host.to_ascii_lowercase()),
        None => repository.to_ascii_lowercase(),
    }
}

/// Whether the whole of `text` is what `pattern` says. Time and memory grow with the product and the sum of their
/// lengths: no pattern is slow.
fn matches(pattern: &str, text: &str) -> bool {
    let mut tokens = Vec::new();
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        tokens.push(match c {
            '*' if rest.next_if_eq(&'*').is_some() => Token::Any,
            '*' => Token::Segment,
            c => Token::Exactly(c),
        });
    }
    // Whether the first so many tokens match the text so far.
    let mut reached = vec![false; tokens.len() + 1];
    reached[0] = true;
    skip_empty(&tokens, &mut reached);
    for c in text.chars() {
        let mut next = vec![false; tokens.len() + 1];
        for (index, token) in tokens.iter().enumerate().filter(|(index, _)| reached[*index]) {
            match token {
                Token::Exactly(expected) if *expected == c => next[index + 1] = true,
                Token::Segment if c != '/' => next[index] = true,
                Token::Any => next[index] = true,
                Token::Exactly(_) | Token::Segment => {}
            }
        }
        skip_empty(&tokens, &mut next);
        reached = next;
    }
    reached[tokens.len()]
}

enum Token {
    Exactly(char),
    Segment,
    Any,
}

/// A star may stand for nothing.
fn skip_empty(tokens: &[Token], reached: &mut [bool]) {
    for (index, token) in tokens.iter().enumerate() {
        if reached[index] && !matches!(token, Token::Exactly(_)) {
            reached[index + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_the_whole_text() {
        for (pattern, text, expected) in [
            ("golang", "golang", true),
            ("golang", "golang2", false),
            ("golang", "go", false),
            ("*", "anything", true),
            ("*", "", true),
            ("*", "a/b", false),
            ("**", "a/b", true),
            ("a/*", "a/b", true),
            ("a/*", "a/b/c", false),
            ("a/**", "a/b/c", true),
            ("a/**/c", "a/x/y/c", true),
            ("a/*-cc", "a/asset-cc", true),
            ("a/*-cc", "a/asset-cc2", false),
            ("trade-*-x*", "trade-1-x", true),
            ("***", "a/b", true),
            ("é*", "été", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} for {text}");
        }
    }

    #[test]
    fn no_pattern_is_slow() {
        let pattern = "*a".repeat(200);
        assert!(!matches(&pattern, &"a".repeat(20_000).replace("aaaa", "aaab").replace('a', "c")));
    }

    #[test]
    fn repositories_that_only_look_allowed_are_not() {
        let patterns = Patterns::parse("github.com/example/**, git.example.org/team/asset").unwrap();
        for (repository, expected) in [
            ("github.com/example/asset", true),
            ("GitHub.com/example/asset", true),
            ("github.com/Example/asset", false),
            ("github.com/example/group/asset", true),
            ("git.example.org/team/asset", true),
            ("git.example.org/team/asset2", false),
            ("github.com/example", false),
            ("github.com/example/", false),
            ("github.com/example/../evil/asset", false),
            ("github.com/example/./asset", false),
            ("github.com/example//asset", false),
            ("github.com/example/%2e%2e/evil/asset", false),
            ("github.com/example/asset?x", false),
            ("github.com/example/asset#x", false),
            ("github.com/example/as\\set", false),
            ("user@github.com/example/asset", false),
            ("github.com:443/example/asset", false),
            ("github.com.evil.org/example/asset", false),
            ("evil.org/github.com/example/asset", false),
            (&format!("github.com/example/{}", "x".repeat(1 << 20)), false),
        ] {
            let shown = text::bounded(repository, 80);
            assert_eq!(patterns.match_repository(repository), expected, "for {shown}");
        }
    }

    #[test]
    fn the_broken_rule_is_named() {
        let list = |name: &str| Some(Patterns::parse(name).unwrap());
        let allow = AllowList {
            repositories: list("github.com/example/*"),
            types: list("golang,java*"),
            channels: list("trade-*"),
        };
        for (channel, package_type, repository, expected) in [
            ("trade-1", "golang", "github.com/example/asset", None),
            ("trade-1", "javascript", "github.com/example/asset", None),
            ("other", "golang", "github.com/example/asset", Some("ALLOWED_CHANNELS")),
            ("trade-1", "ccaas", "github.com/example/asset", Some("ALLOWED_TYPES")),
            ("trade-1", "golang", "github.com/evil/asset", Some("ALLOWED_REPOSITORIES")),
            ("trade-1", "golang", "", Some("ALLOWED_REPOSITORIES")),
        ] {
            let broken = allow.check(channel, package_type, repository).err().map(|rule| rule.to_string());
            let named = broken.as_deref().map(|rule| expected.is_some_and(|expected| rule.contains(expected)));
            assert_eq!(named, expected.map(|_| true), "{channel} {package_type} {repository}: {broken:?}");
        }
        AllowList::default().check("any", "thing", "at all").unwrap();
        let hostile = allow.check("trade-1", "golang", &"\u{1b}[2J".repeat(1 << 18)).unwrap_err().to_string();
        assert!(hostile.len() < 1000 && !hostile.contains('\u{1b}'), "{hostile}");
    }

    #[test]
    fn lists_that_cannot_be_meant_are_refused() {
        for text in ["", " ", "a,,b", "a b", "https://github.com/**", "a,"] {
            assert!(Patterns::parse(text).is_err(), "for {text:?}");
        }
        assert_eq!(Patterns::parse(" a , b/* ").unwrap().to_string(), "a, b/*");
    }
}
