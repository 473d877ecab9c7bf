//! Forms as browsers send them (`multipart/form-data`), as far as the participation service needs them.
//!
//! A module of its own because it reads what strangers send, and is pure.
//!
//! Source: RFC 7578, RFC 2046.

use bytes::Bytes;

/// One part of a form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: String,
    /// Whether it is a file, which is a part that has a file name.
    pub(super) is_file: bool,
    pub(super) content: Bytes,
}

/// More parts than anybody sends.
const MAX_PARTS: usize = 100;

/// The boundary that a `Content-Type` names.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    parameters(content_type).into_iter().find(|(name, _)| name == "boundary").map(|(_, value)| value)
}

/// The parts between the boundaries; `None` for what is no form.
pub(super) fn parts(body: &Bytes, boundary: &str) -> Option<Vec<Part>> {
    let first = format!("--{boundary}");
    let next = format!("\r\n--{boundary}");
    let mut at = if body.starts_with(first.as_bytes()) { first.len() } else { find(body, 0, &next)? + next.len() };
    let mut parts = Vec::new();
    loop {
        if body[at..].starts_with(b"--") {
            return Some(parts);
        }
        let head = find(body, at, "\r\n")? + 2;
        // A part without headers has nothing but the empty line that ends them.
        let (headers, content) = if body[head..].starts_with(b"\r\n") {
            (&body[head..head], head + 2)
        } else {
            let end = find(body, head, "\r\n\r\n")?;
            (&body[head..end], end + 4)
        };
        // An empty part ends where the line break before the boundary begins, which may end its headers too.
        let end = find(body, content.saturating_sub(2), &next)?;
        let (name, is_file) = described(headers);
        if parts.len() == MAX_PARTS {
            return None;
        }
        parts.push(Part { name, is_file, content: body.slice(content.min(end)..end) });
        at = end + next.len();
    }
}

fn find(body: &[u8], from: usize, what: &str) -> Option<usize> {
    let what = what.as_bytes();
    body.get(from..)?.windows(what.len()).position(|window| window == what).map(|at| from + at)
}

fn described(headers: &[u8]) -> (String, bool) {
    let headers = String::from_utf8_lossy(headers);
    let disposition = headers
        .split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("Content-Disposition"));
    let parameters = disposition.map(|(_, value)| parameters(value)).unwrap_or_default();
    let is_file = parameters.iter().any(|(name, value)| name == "filename" && !value.is_empty());
    let name = parameters.into_iter().find(|(name, _)| name == "name").map(|(_, value)| value);
    (name.unwrap_or_default(), is_file)
}

/// The parameters of a header's value, such as those of `form-data; name="a"; filename="b"`.
fn parameters(value: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut rest = value.split_once(';').map_or("", |(_, rest)| rest);
    while let Some((name, after)) = rest.split_once('=') {
        let (value, remaining) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => {
                after.split_once(';').map_or((after.trim(), ""), |(value, _)| (value.trim(), &after[value.len()..]))
            }
        };
        parameters.push((name.trim_matches([' ', ';']).to_ascii_lowercase(), value.to_owned()));
        rest = remaining.trim_start_matches([' ', ';']);
    }
    parameters
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_forms() {
        let part = |name: &str, is_file, content: &'static str| Part {
            name: name.to_owned(),
            is_file,
            content: Bytes::from_static(content.as_bytes()),
        };
        let file =
            "--b\r\nContent-Disposition: form-data; name=\"config-block\"; filename=\"x\"\r\nContent-Type: a/b\r\n\r\n";
        for (body, expected) in [
            (format!("{file}abc\r\n--b--\r\n"), Some(vec![part("config-block", true, "abc")])),
            (format!("{file}\r\n--b--\r\n"), Some(vec![part("config-block", true, "")])),
            (format!("preamble\r\n{file}a\r\nb\r\n--b--"), Some(vec![part("config-block", true, "a\r\nb")])),
            (
                "--b\r\ncontent-disposition: form-data; name=one\r\n\r\n1\r\n--b\r\n\r\n2\r\n--b--".to_owned(),
                Some(vec![part("one", false, "1"), part("", false, "2")]),
            ),
            (format!("{file}abc"), None),
            ("--b--".to_owned(), Some(Vec::new())),
            (String::new(), None),
        ] {
            assert_eq!(parts(&body.clone().into(), "b"), expected, "for {body}");
        }
    }

    #[test]
    fn reads_boundaries() {
        for (text, expected) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("multipart/form-data; boundary=\"a;b\"; charset=x", Some("a;b")),
            ("multipart/form-data; charset=x; boundary=abc", Some("abc")),
            ("multipart/form-data", None),
        ] {
            assert_eq!(boundary(text).as_deref(), expected, "for {text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in ".{0,200}", tail in "(\r\n)?--b(--|\r\n)?.{0,50}") {
            let _ = parts(&Bytes::from(format!("{body}{tail}{body}")), "b");
            let _ = boundary(&body);
        }
    }
}
