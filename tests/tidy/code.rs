//! Rust text without what is no code: comments, the insides of literals, and test modules.

/// Which part of a Rust text is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Code,
    LineComment,
    /// How deep: block comments nest.
    BlockComment(usize),
    Text,
    /// How many `#` close it.
    RawText(usize),
}

/// The same text with comments and the insides of literals blanked, so that lines and columns stay.
pub fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut part = Part::Code;
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let (next, taken, shown) = step(part, rest, at.checked_sub(1).map(|before| chars[before]));
        for &char in &rest[..taken] {
            out.push(if char == '\n' || shown { char } else { ' ' });
        }
        part = next;
        at += taken;
    }
    out
}

/// What follows: the part after it, how many characters it takes, and whether they are code.
fn step(part: Part, rest: &[char], before: Option<char>) -> (Part, usize, bool) {
    let starts = |text: &str| text.chars().enumerate().all(|(index, char)| rest.get(index) == Some(&char));
    match part {
        Part::Code if starts("//") => (Part::LineComment, 2, false),
        Part::Code if starts("/*") => (Part::BlockComment(1), 2, false),
        Part::Code if starts("\"") => (Part::Text, 1, true),
        Part::Code if rest[0] == 'r' && !before.is_some_and(|char| char.is_alphanumeric() && char != 'b') => {
            let hashes = rest[1..].iter().take_while(|&&char| char == '#').count();
            if rest.get(1 + hashes) == Some(&'"') {
                (Part::RawText(hashes), 2 + hashes, true)
            } else {
                (Part::Code, 1, true)
            }
        }
        Part::Code if starts("'") => (Part::Code, character_literal(rest), true),
        Part::LineComment if starts("\n") => (Part::Code, 1, false),
        Part::BlockComment(1) if starts("*/") => (Part::Code, 2, false),
        Part::BlockComment(depth) if starts("*/") => (Part::BlockComment(depth - 1), 2, false),
        Part::BlockComment(depth) if starts("/*") => (Part::BlockComment(depth + 1), 2, false),
        Part::Text if starts("\\") => (Part::Text, rest.len().min(2), false),
        Part::Text if starts("\"") => (Part::Code, 1, true),
        Part::RawText(hashes) if closes(rest, hashes) => (Part::Code, 1 + hashes, true),
        Part::Code => (Part::Code, 1, true),
        other => (other, 1, false),
    }
}

fn closes(rest: &[char], hashes: usize) -> bool {
    rest[0] == '"' && rest[1..].iter().take(hashes).filter(|&&char| char == '#').count() == hashes
}

/// How long the literal is that starts with this quote; one for the quote of a lifetime.
fn character_literal(rest: &[char]) -> usize {
    match rest {
        [_, '\\', _, tail @ ..] => tail.iter().position(|&char| char == '\'').map_or(1, |index| index + 4),
        [_, _, '\'', ..] => 3,
        _ => 1,
    }
}

/// The code of a text: blanked, and without modules that are built for tests only.
pub fn of(text: &str) -> String {
    let mut code = blank(text);
    while let Some(start) = code.find("#[cfg(test)]") {
        let end = item_end(&code, start);
        let blanked: String = code[start..end].chars().map(|char| if char == '\n' { '\n' } else { ' ' }).collect();
        code.replace_range(start..end, &blanked);
    }
    code
}

/// Where the item ends that starts here: at its `;`, or at the brace that closes its first one.
fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, char) in code[start..].char_indices() {
        match char {
            ';' if depth == 0 => return start + offset + 1,
            '{' => depth += 1,
            '}' if depth <= 1 => return start + offset + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// Whether a file is Rust that is built for tests only.
pub fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// Whether a file is Rust of the crate itself.
pub fn is_source(path: &str) -> bool {
    is_rust(path) && path.starts_with("src/") && !is_test(path)
}

/// Whether a file is Rust written by hand.
pub fn is_rust(path: &str) -> bool {
    path.ends_with(".rs") && !path.starts_with("proto/gen/")
}

/// The lines of a text, counted from one.
pub fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// Whether `word` stands in `line` as a word, or a path, of its own.
pub fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let joins = |char: char| char.is_alphanumeric() || char == '_';
        let ends = word.ends_with(joins) && line[at + word.len()..].starts_with(joins);
        let starts = word.starts_with(joins) && line[..at].ends_with(joins);
        !starts && !ends
    })
}

#[test]
fn blanks_what_is_no_code() {
    let table = [
        ("let a = 1; // b", "let a = 1;     "),
        ("a /* b /* c */ d */ e", "a                   e"),
        ("f(\"x\\\"y\") // z", "f(\"    \")     "),
        ("r#\"a\"b\"# c", "r#\"   \"# c"),
        ("br\"a\" c", "br\" \" c"),
        ("let c = '\"'; x", "let c = '\"'; x"),
        ("let c = '\\''; // x", "let c = '\\'';     "),
        ("fn f<'a>(a: &'a str) {}", "fn f<'a>(a: &'a str) {}"),
        ("for x in y {}", "for x in y {}"),
        ("\"a\nb\" c", "\" \n \" c"),
    ];
    for (text, expected) in table {
        assert_eq!(blank(text), expected);
    }
}

#[test]
fn leaves_test_modules_out() {
    let table: &[(&str, &[&str])] = &[
        ("a\n#[cfg(test)]\nmod tests {\n  fn f() { b }\n}\nc", &["a", "", "", "", "", "c"]),
        ("#[cfg(test)]\nmod tests;\na", &["", "", "a"]),
        ("#[cfg(feature = \"x\")]\nmod a;", &["#[cfg(feature = \" \")]", "mod a;"]),
    ];
    for (text, expected) in table {
        let code = of(text);
        assert_eq!(code.lines().map(str::trim).collect::<Vec<_>>(), *expected);
    }
}

#[test]
fn finds_words() {
    assert!(has_word("unsafe {", "unsafe"));
    assert!(!has_word("unsafe_code", "unsafe"));
    assert!(has_word("std::env::var", "env::"));
    assert!(!has_word("my_env::var", "env::"));
}
