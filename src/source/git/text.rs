//! Errors of libraries and words of servers, fit for a message.
//!
//! A module of its own because a server's words may be long and may hold control characters.

use std::error::Error;

use super::repository::shown;

/// An error with its sources, one clause after the other, cut where it gets long.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        // Some errors repeat their source in their own message.
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    shown(&text)
}
