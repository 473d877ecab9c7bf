//! The module that a folder belongs to.
//!
//! Of `go.mod` only the path of the module counts here.

use super::super::Sources;
use super::super::pack::PackError;
use super::super::sources::{SourceError, SourceKind, join, resolve, split};
use super::{LONGEST_READ, refused};

/// A Go module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Module {
    /// The folder of its go.mod.
    pub(super) root: String,
    /// What it is imported by.
    pub(super) path: String,
}

/// The module of `folder`: the next go.mod at it or above.
pub(super) fn find(sources: &Sources<'_>, folder: &str) -> Result<Option<Module>, PackError> {
    let mut root = folder;
    loop {
        let file = join(root, "go.mod");
        let found = match resolve(sources.tree, &file) {
            Ok(found) => Some(found).filter(|found| found.kind == SourceKind::File),
            Err(SourceError::Missing { .. } | SourceError::Link { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(found) = found {
            if found.size > LONGEST_READ {
                return Err(refused(format!("{file} is too large")));
            }
            let text = sources.tree.read(&found.path)?;
            let path = module_path(&String::from_utf8_lossy(&text));
            let path = path.ok_or_else(|| refused(format!("{file} names no module")))?;
            return Ok(Some(Module { root: root.to_owned(), path }));
        }
        if root.is_empty() {
            return Ok(None);
        }
        root = split(root).0;
    }
}

/// The path in the `module` line of a go.mod.
fn module_path(text: &str) -> Option<String> {
    let mut block = false;
    for line in text.lines() {
        let line = line.split_once("//").map_or(line, |(code, _)| code).trim();
        let argument = if block {
            line
        } else {
            match line.strip_prefix("module") {
                Some(rest) if rest.starts_with(|char: char| char.is_whitespace() || char == '(' || char == '"') => {
                    rest.trim()
                }
                _ => continue,
            }
        };
        match argument {
            "" => {}
            "(" => block = true,
            _ => {
                let unquoted = ['"', '`']
                    .iter()
                    .find_map(|quote| argument.strip_prefix(*quote).and_then(|rest| rest.strip_suffix(*quote)));
                let path = unquoted.unwrap_or(argument);
                let good = !path.is_empty() && path.chars().all(|char| !char.is_whitespace() && char != '"');
                return good.then(|| path.to_owned());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_module_line() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(module_path(text).as_deref(), expected, "for {text:?}");
        };
        check("module a.b/c\n\ngo 1.21\n", Some("a.b/c"));
        check("// module no\r\nmodule \"a.b/c\" // yes\r\n", Some("a.b/c"));
        check("module `x`", Some("x"));
        check("module (\n\tx.y/z\n)\n", Some("x.y/z"));
        check("go 1.21\n", None);
        check("modules x", None);
        check("module", None);
        check("module a b", None);
    }
}
