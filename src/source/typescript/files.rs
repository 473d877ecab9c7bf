//! Paths of a source tree: what they name, how they are joined, and which of them a pattern matches.
//!
//! Paths are relative to the root of the tree and separated by slashes; the root itself is empty. Nothing in here reads
//! a file, and no path that it makes leads out of the tree.

/// What a file is to a compiler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `.ts`
    Typescript,
    /// `.mts`
    EsTypescript,
    /// `.cts`
    CommonTypescript,
    /// `.d.ts`, `.d.mts`, `.d.cts`: types of something that exists elsewhere.
    Declaration,
    /// `.tsx`, `.jsx`
    Jsx,
    /// `.js`
    Javascript,
    /// `.mjs`
    EsJavascript,
    /// `.cjs`
    CommonJavascript,
    /// `.json`
    Json,
}

const ENDINGS: &[(&str, Kind, &str)] = &[
    (".d.ts", Kind::Declaration, ""),
    (".d.mts", Kind::Declaration, ""),
    (".d.cts", Kind::Declaration, ""),
    (".ts", Kind::Typescript, ".js"),
    (".mts", Kind::EsTypescript, ".mjs"),
    (".cts", Kind::CommonTypescript, ".cjs"),
    (".tsx", Kind::Jsx, ".js"),
    (".jsx", Kind::Jsx, ".js"),
    (".js", Kind::Javascript, ".js"),
    (".mjs", Kind::EsJavascript, ".mjs"),
    (".cjs", Kind::CommonJavascript, ".cjs"),
    (".json", Kind::Json, ".json"),
];

impl Kind {
    /// What the file at `path` is, if a compiler looks at it at all.
    pub(super) fn of(path: &str) -> Option<Self> {
        ENDINGS.iter().find(|(ending, ..)| path.ends_with(ending)).map(|(_, kind, _)| *kind)
    }

    pub(super) fn is_typescript(self) -> bool {
        matches!(self, Self::Typescript | Self::EsTypescript | Self::CommonTypescript | Self::Declaration)
    }

    pub(super) fn is_javascript(self) -> bool {
        matches!(self, Self::Javascript | Self::EsJavascript | Self::CommonJavascript)
    }
}

/// The path of what a source is compiled to, in its own folder.
pub(super) fn compiled(path: &str) -> String {
    match ENDINGS.iter().find(|(ending, ..)| path.ends_with(ending)) {
        Some((ending, _, to)) => format!("{}{to}", &path[..path.len() - ending.len()]),
        None => path.to_owned(),
    }
}

/// The path that `relative` names in `folder`; none when it leads out of the tree.
pub(super) fn join(folder: &str, relative: &str) -> Option<String> {
    if relative.starts_with('/') || relative.contains(['\\', '\0']) {
        return None;
    }
    let mut segments: Vec<&str> = folder.split('/').filter(|segment| !segment.is_empty()).collect();
    for segment in relative.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop()?;
            }
            name => segments.push(name),
        }
    }
    Some(segments.join("/"))
}

/// The folder that a path lies in.
pub(super) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// What remains of `path` below `folder`.
pub(super) fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    if folder.is_empty() { Some(path) } else { path.strip_prefix(folder)?.strip_prefix('/') }
}

/// A pattern of `include` and `exclude`: `*` and `?` within a name, `**` for any number of folders.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Pattern(Vec<String>);

impl Pattern {
    /// A pattern below `folder`; none when it leads out of the tree.
    pub(super) fn below(folder: &str, text: &str) -> Option<Self> {
        let path = join(folder, text)?;
        Some(Self(path.split('/').filter(|segment| !segment.is_empty()).map(ToOwned::to_owned).collect()))
    }

    /// As it was written, without what changes nothing.
    #[cfg(test)]
    pub(super) fn shown(&self) -> String {
        self.0.join("/")
    }

    /// Whether a file is meant by it as an element of `include`, where a folder stands for all that is in it.
    pub(super) fn includes(&self, path: &str) -> bool {
        let names: Vec<&str> = path.split('/').collect();
        let whole_folder = self.0.last().is_none_or(|last| !last.contains(['*', '?', '.']));
        if whole_folder {
            let mut pattern = self.0.clone();
            pattern.extend(["**".to_owned(), "*".to_owned()]);
            matches(&pattern, &names, false)
        } else {
            matches(&self.0, &names, false)
        }
    }

    /// Whether a file is meant by it as an element of `exclude`: itself or a folder that it lies in.
    pub(super) fn excludes(&self, path: &str) -> bool {
        let names: Vec<&str> = path.split('/').collect();
        (1..=names.len()).any(|length| matches(&self.0, &names[..length], true))
    }
}

/// Whether the names of a path match the segments of a pattern, in time bounded by their product.
fn matches(pattern: &[String], names: &[&str], hidden: bool) -> bool {
    // Which lengths of the path are matched by what was read of the pattern.
    let mut reached = vec![false; names.len() + 1];
    reached[0] = true;
    for segment in pattern {
        let mut next = vec![false; names.len() + 1];
        if segment == "**" {
            let mut open = false;
            for at in 0..=names.len() {
                open = reached[at] || (open && at > 0 && (hidden || !names[at - 1].starts_with('.')));
                next[at] = open;
            }
        } else {
            for at in 0..names.len() {
                next[at + 1] = reached[at] && matches_name(segment, names[at], hidden);
            }
        }
        reached = next;
    }
    reached[names.len()]
}

fn matches_name(pattern: &str, name: &str, hidden: bool) -> bool {
    if !hidden && name.starts_with('.') && pattern.starts_with(['*', '?']) {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where the last star stood, and how much of the name it has taken.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some('?') => {
                p += 1;
                n += 1;
            }
            Some(char) if *char == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                p = at + 1;
                n = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|char| *char == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_the_tree() {
        let table = [
            ("", "./src", Some("src")),
            ("a/b", "../c", Some("a/c")),
            ("a", "../..", None),
            ("", "..", None),
            ("", "/etc/passwd", None),
            ("a", "..\\b", None),
            ("a", ".", Some("a")),
            ("a", "./b//c/", Some("a/b/c")),
        ];
        for (folder, relative, expected) in table {
            assert_eq!(join(folder, relative).as_deref(), expected, "for {folder} and {relative}");
        }
    }

    #[test]
    fn patterns_match_as_in_tsc() {
        let table = [
            ("src", "src/a/b.ts", true),
            ("src", "srcs/b.ts", false),
            ("./src/**/*", "src/b.ts", true),
            ("src/**/*.ts", "src/a/b.ts", true),
            ("src/*.ts", "src/a/b.ts", false),
            ("src/*", "src/b.ts", true),
            ("**/*", "a.ts", true),
            ("**/*", ".hidden/a.ts", false),
            ("*", ".a.ts", false),
            ("a?.ts", "ab.ts", true),
            ("src/index.ts", "src/index.ts", true),
            (".", "a/b.ts", true),
            ("**/test/*", "a/b/test/c.ts", true),
        ];
        for (pattern, path, expected) in table {
            assert_eq!(Pattern::below("", pattern).unwrap().includes(path), expected, "for {pattern} and {path}");
        }
        let table = [
            ("dist", "dist/a.ts", true),
            ("**/*.spec.ts", "src/a.spec.ts", true),
            ("node_modules", "a/node_modules/b.ts", false),
            ("**/node_modules", "a/node_modules/b.ts", true),
            ("src/test*", "src/tests/a.ts", true),
        ];
        for (pattern, path, expected) in table {
            assert_eq!(Pattern::below("", pattern).unwrap().excludes(path), expected, "for {pattern} and {path}");
        }
    }

    #[test]
    fn a_pattern_of_stars_takes_no_time() {
        let pattern = format!("{}x", "**/*a*a*a*".repeat(100));
        let path = format!("{}y", "aaaaaaaa/".repeat(100));
        assert!(!Pattern::below("", &pattern).unwrap().includes(&path));
    }
}
