//! The part of an address behind the question mark.

/// The value of `name` in a query, decoded; `None` where there is none or it is not UTF-8.
pub(super) fn value(query: Option<&str>, name: &str) -> Option<String> {
    query?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then(|| decoded(value))?
    })
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded() {
        for (query, expected) in [
            ("id=a", Some("a")),
            ("x=1&id=a%2Fb+c%25", Some("a/b c%")),
            ("id=%c3%a4", Some("ä")),
            ("id=%ff", None),
            ("id=%4", None),
            ("id=%zz", None),
            ("id", Some("")),
            ("xid=a", None),
            ("", None),
        ] {
            assert_eq!(value(Some(query), "id").as_deref(), expected, "for {query}");
        }
    }
}
