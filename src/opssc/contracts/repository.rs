//! What a proposal's repository may look like: what Go's `net/url` reads without finding a scheme or a fault.
//!
//! The original contract parses the field as a URL, so `host:port/path` is refused with all that has a scheme. Accepting
//! more would split endorsers, so ours follows to the letter. It is no check of what the agent may fetch.
//!
//! Source: Go 1.27 `net/url` (behaviour).

/// Whether the contract takes `repository`.
pub(super) fn is_accepted(repository: &str) -> bool {
    let (reference, fragment) = repository.split_once('#').unwrap_or((repository, ""));
    !reference.bytes().any(|byte| byte < b' ' || byte == 0x7F)
        && (reference == "*" || is_path(reference))
        && has_valid_escapes(fragment)
}

/// A reference without a scheme: a path, or `//` with a host and a path.
fn is_path(reference: &str) -> bool {
    if has_scheme(reference) {
        return false;
    }
    let path = reference.split_once('?').map_or(reference, |(path, _)| path);
    if !path.starts_with('/') {
        let segment = path.split('/').next().unwrap_or_default();
        return !segment.contains(':') && has_valid_escapes(path);
    }
    match path.strip_prefix("//") {
        Some(rest) if !rest.starts_with('/') => {
            let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
            is_authority(authority) && has_valid_escapes(path)
        }
        _ => has_valid_escapes(path),
    }
}

/// Whether letters, digits and `+-.` lead to a colon. A colon in front is a fault; both refuse.
fn has_scheme(reference: &str) -> bool {
    let at = reference.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c))).unwrap_or(reference.len());
    reference[at..].starts_with(':') && (at == 0 || reference.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// Every per cent sign is followed by two hexadecimal digits.
fn has_valid_escapes(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        let mut bytes = rest.bytes();
        (0..2).all(|_| bytes.next().is_some_and(|byte| byte.is_ascii_hexdigit()))
    })
}

/// `user@host:port`, each part in the characters that it may have.
fn is_authority(authority: &str) -> bool {
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let is_user = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    if user.is_some_and(|user| !user.chars().all(is_user) || !has_valid_escapes(user)) {
        return false;
    }
    if let Some(rest) = host.strip_prefix('[') {
        let Some((literal, port)) = rest.rsplit_once(']') else { return false };
        let (literal, zone) = literal.split_once("%25").map_or((literal, "0"), |(literal, zone)| (literal, zone));
        let is_zone = !zone.is_empty() && has_valid_escapes(zone);
        return is_port(port) && is_zone && literal.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let (name, port) = host.rfind(':').map_or((host, ""), |at| host.split_at(at));
    is_port(port) && is_host_name(name)
}

/// Nothing, or a colon with digits.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// In a host name only bytes above ASCII may be escaped, and the per cent sign; some punctuation is not allowed.
fn is_host_name(name: &str) -> bool {
    let plain = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:]<>\"%".contains(c);
    name.chars().all(plain)
        && has_valid_escapes(name)
        && name.split('%').skip(1).all(|rest| rest.starts_with("25") || rest.as_bytes().first() >= Some(&b'8'))
}

#[cfg(test)]
mod tests {
    use super::is_accepted;

    #[test]
    fn repositories_are_judged_as_go_does() {
        for accepted in [
            "",
            "github.com/org/repo",
            "org/repo",
            "/srv/git/repo",
            "../../etc",
            "a b",
            "$(reboot)",
            "`id`",
            "a;b|c&d",
            "a/b:c",
            "*",
            "a%20b",
            "a?b%zz",
            "a#b",
            "日本/é",
            "//host/path",
            "//user@host:80/path",
            "//[::1]:80/x",
            "///x",
            "1a",
            "a?b:c",
            "//h%c3%a9/x",
            "//host:/x",
            "<x>",
            "a\\b",
            "\"",
            "//a:1:2/x",
            "-rf",
        ] {
            assert!(is_accepted(accepted), "for {accepted:?}");
        }
        for refused in [
            "https://github.com/org/repo",
            "git@github.com:org/repo",
            "github.com:443/org/repo",
            "localhost:8080",
            ":a",
            "a:b",
            "A:",
            "a%2",
            "%zz",
            "a#%zz",
            "a\nb",
            "\u{7f}",
            "a\0",
            "1a:b",
            "//host:port/x",
            "//[::1/x",
            "//ho st/x",
            "//user^@host/x",
            "//h%41/x",
            "file:///etc",
            "ext::sh -c id",
        ] {
            assert!(!is_accepted(refused), "for {refused:?}");
        }
    }
}
