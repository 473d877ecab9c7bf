//! Text from others made fit for a log, a terminal or the ledger.
//!
//! A module of its own because proposals, error messages of peers and names on the ledger are written by others: they
//! may be megabytes long and may hold control characters that move a terminal's cursor or recolour it.

/// At most this many characters of an error go to the ledger.
pub const ERROR_LIMIT: usize = 1000;

/// `text` on one line: every character that controls a terminal or the direction of writing becomes U+FFFD, line ends
/// and tabs become blanks.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' => ' ',
            c if c.is_control() || is_invisible(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}

/// [`clean`], and cut to at most `limit` characters with a mark where it was cut.
pub fn bounded(text: &str, limit: usize) -> String {
    if text.char_indices().nth(limit).is_none() {
        return clean(text);
    }
    let end = text.char_indices().nth(limit.saturating_sub(1)).map_or(0, |(at, _)| at);
    let mut cut = clean(&text[..end]);
    cut.push('…');
    cut
}

/// An error with its sources as one clause after the other, at most [`ERROR_LIMIT`] characters.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut shown = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let text = inner.to_string();
        // Some errors repeat their source in their own message.
        if !shown.contains(&text) {
            shown.push_str(": ");
            shown.push_str(&text);
        }
        source = inner.source();
    }
    bounded(&shown, ERROR_LIMIT)
}

/// Format characters: zero width, direction marks, byte order mark, line and paragraph separators, tags.
fn is_invisible(c: char) -> bool {
    matches!(u32::from(c),
        0x00AD | 0x061C | 0x180E | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F | 0xFEFF | 0xFFF9..=0xFFFB
        | 0xE0000..=0xE0FFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        for (text, expected) in [
            ("plain", "plain"),
            ("two\nlines\tand\r", "two lines and "),
            ("\u{1b}[31mred\u{7}", "\u{fffd}[31mred\u{fffd}"),
            ("a\u{202e}b\u{9b}c\u{feff}", "a\u{fffd}b\u{fffd}c\u{fffd}"),
            ("grün 資産", "grün 資産"),
        ] {
            assert_eq!(clean(text), expected, "for {text:?}");
        }
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        assert_eq!(bounded("äöü", 3), "äöü");
        assert_eq!(bounded("äöüß", 3), "äö…");
        assert_eq!(bounded(&"x".repeat(1 << 20), ERROR_LIMIT).chars().count(), ERROR_LIMIT);
        assert_eq!(bounded("abc", 0), "…");
    }

    #[test]
    fn a_source_that_is_told_already_is_not_told_again() {
        #[derive(Debug, thiserror::Error)]
        #[error("peer refused: no")]
        struct Outer(#[source] Inner);
        #[derive(Debug, thiserror::Error)]
        #[error("no")]
        struct Inner;
        assert_eq!(chain(&Outer(Inner)), "peer refused: no");
    }
}
