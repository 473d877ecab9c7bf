//! What a Go file says before its code: its package, its imports, and what it embeds.
//!
//! Only as much of the language is read as that takes. Whatever the bytes are, the scan ends.
//!
//! Source: the Go specification (lexical elements, source files), `go/build`, `embed`.

/// The head of a Go file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Source {
    /// The name in the package clause.
    pub(super) package: String,
    pub(super) imports: Vec<String>,
    /// Patterns of `//go:embed`, when the file imports `embed`.
    pub(super) embeds: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    /// A string without its quotes.
    Text(String),
    Sign(char),
    /// A comment that runs to the end of its line, without the slashes.
    Comment(String),
}

struct Scanner<'a> {
    rest: &'a str,
}

impl Scanner<'_> {
    /// The next token; comments between slashes and stars are passed over.
    fn next(&mut self) -> Result<Option<Token>, &'static str> {
        loop {
            self.rest = self.rest.trim_start();
            let Some(first) = self.rest.chars().next() else { return Ok(None) };
            if let Some(comment) = self.rest.strip_prefix("//") {
                let (comment, rest) = comment.split_once('\n').unwrap_or((comment, ""));
                self.rest = rest;
                return Ok(Some(Token::Comment(comment.to_owned())));
            }
            if let Some(comment) = self.rest.strip_prefix("/*") {
                self.rest = comment.split_once("*/").ok_or("a comment does not end")?.1;
                continue;
            }
            if first == '`' {
                let (text, rest) = self.rest[1..].split_once('`').ok_or("a string does not end")?;
                self.rest = rest;
                return Ok(Some(Token::Text(text.to_owned())));
            }
            if matches!(first, '"' | '\'') {
                return self.quoted(first).map(Some);
            }
            let word = |char: char| char.is_alphanumeric() || char == '_';
            let end = self.rest.find(|char| !word(char)).unwrap_or(self.rest.len());
            if end > 0 {
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                return Ok(Some(Token::Word(word.to_owned())));
            }
            self.rest = &self.rest[first.len_utf8()..];
            return Ok(Some(Token::Sign(first)));
        }
    }

    /// A string or character in quotes. What its escapes mean does not matter in import paths.
    fn quoted(&mut self, quote: char) -> Result<Token, &'static str> {
        let mut escaped = false;
        for (at, char) in self.rest.char_indices().skip(1) {
            match char {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                char if char == quote => {
                    let text = self.rest[1..at].to_owned();
                    self.rest = &self.rest[at + 1..];
                    return Ok(Token::Text(text));
                }
                _ => {}
            }
        }
        Err("a string does not end")
    }

    /// As [`next`](Self::next), without comments.
    fn code(&mut self) -> Result<Option<Token>, &'static str> {
        loop {
            match self.next()? {
                Some(Token::Comment(_)) => {}
                other => return Ok(other),
            }
        }
    }
}

/// Reads the head of a file.
pub(super) fn parse(text: &str) -> Result<Source, &'static str> {
    let mut scanner = Scanner { rest: text.strip_prefix('\u{feff}').unwrap_or(text) };
    let (Some(Token::Word(keyword)), Some(Token::Word(package))) = (scanner.code()?, scanner.code()?) else {
        return Err("no package clause");
    };
    if keyword != "package" {
        return Err("no package clause");
    }
    let mut source = Source { package, ..Source::default() };
    loop {
        // The comments before the first declaration count below.
        let here = scanner.rest;
        match scanner.code()? {
            Some(Token::Sign(';')) => {}
            Some(Token::Word(word)) if word == "import" => imports(&mut scanner, &mut source.imports)?,
            _ => {
                scanner.rest = here;
                break;
            }
        }
    }
    if source.imports.iter().any(|import| import == "embed") {
        while let Some(token) = scanner.next()? {
            if let Token::Comment(comment) = token
                && let Some(patterns) = comment.strip_prefix("go:embed")
                && patterns.starts_with([' ', '\t'])
            {
                source.embeds.extend(words(patterns)?);
            }
        }
    }
    Ok(source)
}

/// What follows `import`: one path or several in parentheses, each with a name before it or none.
fn imports(scanner: &mut Scanner<'_>, imports: &mut Vec<String>) -> Result<(), &'static str> {
    let mut several = false;
    loop {
        match scanner.code()?.ok_or("an import does not end")? {
            Token::Sign('(') if !several => several = true,
            Token::Sign(')') if several => return Ok(()),
            // A name, or what stands in place of one.
            Token::Word(_) | Token::Sign('.' | ';') => {}
            Token::Text(path) => {
                imports.push(path);
                if !several {
                    return Ok(());
                }
            }
            _ => return Err("an import cannot be read"),
        }
    }
}

/// Words between blanks, some of them in quotes.
fn words(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (word, after) = if rest.starts_with(['"', '`']) {
            let mut scanner = Scanner { rest };
            let Some(Token::Text(word)) = scanner.next()? else { return Err("a pattern cannot be read") };
            (word, scanner.rest)
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            (rest[..end].to_owned(), &rest[end..])
        };
        words.push(word);
        rest = after.trim_start();
    }
    Ok(words)
}

/// Whether `name` matches a pattern of one path element, as `path.Match` does; a broken pattern matches nothing.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // Where to go on when what followed the last star did not match: one character further.
    let mut back: Option<(usize, usize)> = None;
    let (mut at, mut of) = (0, 0);
    loop {
        if pattern.get(at) == Some(&'*') {
            at += 1;
            back = Some((at, of));
            continue;
        }
        let one = name.get(of).and_then(|char| single(&pattern[at..], *char));
        if let Some(length) = one {
            at += length;
            of += 1;
        } else if at == pattern.len() && of == name.len() {
            return true;
        } else if let Some((star, from)) = back.filter(|(_, from)| *from < name.len()) {
            back = Some((star, from + 1));
            (at, of) = (star, from + 1);
        } else {
            return false;
        }
    }
}

/// How long the beginning of a pattern is that matches this one character.
fn single(pattern: &[char], char: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['\\', literal, ..] => (*literal == char).then_some(2),
        ['[', ..] => {
            let negated = pattern.get(1) == Some(&'^');
            let mut at = if negated { 2 } else { 1 };
            let start = at;
            let mut found = false;
            while at == start || pattern.get(at) != Some(&']') {
                let (low, next) = literal(pattern, at)?;
                let (high, next) =
                    if pattern.get(next) == Some(&'-') { literal(pattern, next + 1)? } else { (low, next) };
                found |= (low..=high).contains(&char);
                at = next;
            }
            (found != negated).then_some(at + 1)
        }
        [literal, ..] => (*literal == char).then_some(1),
        [] => None,
    }
}

/// A character of a class, which a backslash may precede, and where the next is.
fn literal(pattern: &[char], at: usize) -> Option<(char, usize)> {
    match (pattern.get(at)?, pattern.get(at + 1)) {
        ('\\', next) => next.map(|next| (*next, at + 2)),
        ('-' | ']', _) => None,
        (char, _) => Some((*char, at + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_heads() {
        let check = |text: &str, package: &str, imports: &[&str]| {
            let source = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(
                (source.package.as_str(), source.imports),
                (package, imports.iter().map(|i| (*i).into()).collect())
            );
        };
        check("package main", "main", &[]);
        check("\u{feff}// c\n/* import \"no\" */\npackage a // import \"no\"\nimport \"x\"", "a", &["x"]);
        check(
            "package a; import b \"x\"; import . `y`; import _ \"z\"; var s = `import \"no\"`",
            "a",
            &["x", "y", "z"],
        );
        check(
            "package a\nimport (\n\t\"x\" // c\n\tb \"y\"; \"w\"\n)\nimport()\nfunc f() {}\nimport \"no\"",
            "a",
            &["x", "y", "w"],
        );
        for broken in
            ["", "func main() {}", "package", "package a\nimport (\"x\"", "package a\nimport \"x\n", "/* package a"]
        {
            assert!(parse(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn reads_what_is_embedded() {
        let text = "package a\nimport _ \"embed\"\n//go:embed a.txt \"b c.txt\" all:d\nvar x string\n\
                    var s = `\n//go:embed no`\n/*\n//go:embed no\n*/\n// go:embed no\n//go:embedded no\n";
        assert_eq!(parse(text).unwrap().embeds, ["a.txt", "b c.txt", "all:d"]);
        assert_eq!(parse(&text.replace("\"embed\"", "\"e\"")).unwrap().embeds, Vec::<String>::new());
    }

    #[test]
    fn patterns_match_as_those_of_go() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(matches(pattern, name), expected, "{pattern} for {name}");
        };
        check("abc", "abc", true);
        check("*", "", true);
        check("*", "abc", true);
        check("*c", "abcc", true);
        check("a*b?c*x", "abxbbxdbxebxczzx", true);
        check("a*b?c*x", "abxbbxdbxebxczzy", false);
        check("ab[b-d]", "abc", true);
        check("ab[^b-d]", "abc", false);
        check("ab[^e-g]", "abc", true);
        check("a\\*b", "a*b", true);
        check("a\\*b", "ab", false);
        check("[\\]a]", "]", true);
        check("[", "a", false);
        check("[a", "a", false);
        check("[-]", "-", false);
        check("a", "", false);
        check("", "", true);
    }
}
