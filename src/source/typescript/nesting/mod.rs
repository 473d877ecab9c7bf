//! How deeply a source is nested, told before it is parsed.
//!
//! The parser and every pass after it recurse over the syntax tree, and a stack that overflows ends the process. So a
//! source is measured first, by a scan that does not recurse. What it measures is a bound from above: every bracket that
//! is open, plus every token since the last point where a statement or an element of a list has ended (`!!!!a`,
//! `a=>b=>c`, `a+b+c` nest without any bracket). Sources that people write stay far below the limits.
//!
//! The bound holds only as long as this scan and the parser agree on what is code and what is text. They could differ
//! over a slash alone, which divides or opens a regular expression: where the tokens around it do not settle that, the
//! source is refused. So is what no parser accepts anyway, such as a string that is not closed.
//!
//! Two constructs make the parser read what follows them twice, and twice again what is nested in that: a conditional
//! whose first branch may be the parameters of an arrow function, and a type in front of an operand. They are counted
//! too, since a few dozen of them would take years.
//!
//! Source: the lexical grammar of ECMAScript (goal symbols of the slash) and of TypeScript.

/// Open brackets at a time.
const DEEPEST: usize = 200;

/// Tokens since the last separators, over all open brackets.
const LONGEST: usize = 10_000;

/// Places, one in the other, where the parser tries two ways.
const MOST_DOUBTS: usize = 14;

/// Why a source is not parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NestingError {
    /// Brackets in brackets.
    #[error("line {line} is nested in more than {DEEPEST} brackets")]
    Brackets {
        /// Counted from one.
        line: usize,
    },
    /// A chain of operators, or of statements without blocks.
    #[error("line {line} continues a statement of more than {LONGEST} tokens")]
    Chain {
        /// Counted from one.
        line: usize,
    },
    /// Conditionals with parentheses, or types in front of operands.
    #[error("line {line} has more than {MOST_DOUBTS} conditionals or type assertions, each in the other")]
    Doubts {
        /// Counted from one.
        line: usize,
    },
    /// A slash whose meaning depends on more than the tokens before it.
    #[error("line {line} has a slash that could divide or open a regular expression: put it in parentheses")]
    Slash {
        /// Counted from one.
        line: usize,
    },
    /// Something that is opened and not closed, or closed and not opened.
    #[error("line {line} has {what}")]
    Unbalanced {
        /// Counted from one.
        line: usize,
        /// What it is.
        what: &'static str,
    },
}

/// Measures a source.
pub(super) fn check(source: &str) -> Result<(), NestingError> {
    Scan { rest: source, line: 1, new_line: true, levels: vec![Level::default()], ..Scan::default() }.run()
}

/// What stands before the next token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Before {
    /// Nothing yet, an operator, an opening bracket: an operand follows, so that a slash opens a regular expression.
    #[default]
    Operator,
    /// An operand: a slash divides.
    Operand,
    /// The end of the head of `if`, `while`, `for` or `with`: a statement follows.
    Head,
    /// What may be either.
    Either,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Bracket {
    /// The file itself.
    #[default]
    None,
    Round {
        head: bool,
    },
    Square,
    Curly,
    /// `${` in a template.
    Substitution,
}

#[derive(Debug, Default)]
struct Level {
    bracket: Bracket,
    /// Tokens since the last separator.
    run: usize,
    /// The most that `run` was in this statement: an `else` goes on there.
    peak: usize,
    /// `<` among them: a comma may separate the arguments of types.
    angles: usize,
    /// Places in this statement where the parser tries two ways.
    doubts: usize,
}

#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own about what was read")]
struct Scan<'a> {
    rest: &'a str,
    line: usize,
    levels: Vec<Level>,
    /// The sum of all `run`.
    sum: usize,
    /// The sum of all `doubts`.
    doubts: usize,
    before: Before,
    /// The last token as a word, where it was one that may stand before the head of a statement.
    head_word: bool,
    /// The last token was a dot, so that a word is a name.
    after_dot: bool,
    /// A line ended since the last token.
    new_line: bool,
    /// The last token was a `}` that may have ended a statement.
    closed: bool,
    /// The last token was `;`, and the statement before it had this many tokens.
    ended: Option<usize>,
}

impl Scan<'_> {
    fn run(mut self) -> Result<(), NestingError> {
        if self.rest.starts_with("#!") {
            self.skip_line();
        }
        while let Some(char) = self.rest.chars().next() {
            match char {
                '\n' | '\r' | '\u{2028}' | '\u{2029}' => {
                    self.line += usize::from(char == '\n');
                    self.new_line = true;
                    self.advance(char.len_utf8());
                }
                _ if char.is_whitespace() || char == '\u{feff}' => self.advance(char.len_utf8()),
                '/' if self.rest.starts_with("//") => self.skip_line(),
                '/' if self.rest.starts_with("/*") => self.skip_comment()?,
                _ => self.token(char)?,
            }
        }
        Ok(())
    }

    fn token(&mut self, char: char) -> Result<(), NestingError> {
        let operand = |scan: &mut Self| scan.counted(Before::Operand);
        match char {
            '\'' | '"' => {
                self.resume(None);
                self.string(char)?;
                operand(self)
            }
            '`' => {
                self.resume(Some("`"));
                operand(self)?;
                self.advance(1);
                self.template()
            }
            '(' | '[' | '{' => {
                self.resume(Some("("));
                let bracket = match char {
                    '(' => Bracket::Round { head: self.head_word },
                    '[' => Bracket::Square,
                    _ => Bracket::Curly,
                };
                self.counted(Before::Operator)?;
                self.advance(1);
                self.open(bracket)
            }
            ')' | ']' | '}' => self.close(char),
            ';' => {
                self.separated(true);
                self.advance(1);
                Ok(())
            }
            ',' => {
                self.separated(false);
                self.advance(1);
                Ok(())
            }
            '/' => self.slash(),
            _ if is_word(char) => self.word(),
            _ => self.operator(char),
        }
    }

    /// Counts a token.
    fn counted(&mut self, before: Before) -> Result<(), NestingError> {
        let level = self.level();
        level.run += 1;
        level.peak = level.peak.max(level.run);
        self.sum += 1;
        self.before = before;
        self.head_word = false;
        self.after_dot = false;
        self.new_line = false;
        if self.sum > LONGEST { Err(NestingError::Chain { line: self.line }) } else { Ok(()) }
    }

    /// Before a token: whether it goes on with the statement that a brace or a semicolon seems to have ended.
    fn resume(&mut self, word: Option<&str>) {
        if std::mem::take(&mut self.closed) && !word.is_some_and(continues) {
            self.forget(0);
        }
        if let Some(ended) = self.ended.take()
            && matches!(word, Some("else" | "while"))
        {
            self.sum += ended;
            let level = self.level();
            level.run = ended;
            level.peak = ended;
        }
    }

    /// Takes back the tokens of this level but for `kept`.
    fn forget(&mut self, kept: usize) {
        let level = self.level();
        let run = std::mem::replace(&mut level.run, kept);
        let doubts = std::mem::take(&mut level.doubts);
        if kept == 0 {
            level.peak = 0;
            level.angles = 0;
        }
        self.sum = self.sum - run + kept;
        self.doubts -= doubts;
    }

    /// A semicolon or a comma.
    fn separated(&mut self, statement: bool) {
        self.closed = false;
        let level = self.level();
        let (peak, angles) = (level.peak, level.angles);
        if statement {
            self.forget(0);
            self.ended = Some(peak);
        } else {
            // What is nested in `<` goes on after the comma.
            self.ended = None;
            self.forget(angles);
        }
        self.before = Before::Operator;
        self.head_word = false;
        self.after_dot = false;
        self.new_line = false;
    }

    fn open(&mut self, bracket: Bracket) -> Result<(), NestingError> {
        if self.levels.len() > DEEPEST {
            return Err(NestingError::Brackets { line: self.line });
        }
        self.levels.push(Level { bracket, ..Level::default() });
        Ok(())
    }

    fn close(&mut self, char: char) -> Result<(), NestingError> {
        let last = self.levels.pop().unwrap_or_default();
        let before = match (last.bracket, char) {
            (Bracket::Round { head: true }, ')') => Before::Head,
            (Bracket::Round { head: false }, ')') | (Bracket::Square, ']') | (Bracket::Substitution, '}') => {
                Before::Operand
            }
            (Bracket::Curly, '}') => Before::Either,
            _ => return Err(self.unbalanced("a bracket that was not opened")),
        };
        self.sum -= last.run;
        self.doubts -= last.doubts;
        self.ended = None;
        self.counted(before)?;
        self.closed = last.bracket == Bracket::Curly;
        self.advance(1);
        if last.bracket == Bracket::Substitution { self.template() } else { Ok(()) }
    }

    /// The text of a template, up to its end or to the next `${`.
    fn template(&mut self) -> Result<(), NestingError> {
        let mut chars = self.rest.char_indices();
        while let Some((at, char)) = chars.next() {
            match char {
                '\\' => self.line += usize::from(chars.next().is_some_and(|(_, char)| char == '\n')),
                '\n' => self.line += 1,
                '`' => {
                    self.advance(at + 1);
                    self.before = Before::Operand;
                    return Ok(());
                }
                '$' if self.rest[at..].starts_with("${") => {
                    self.advance(at + 2);
                    self.before = Before::Operator;
                    return self.open(Bracket::Substitution);
                }
                _ => {}
            }
        }
        Err(self.unbalanced("a template that is not closed"))
    }

    fn string(&mut self, quote: char) -> Result<(), NestingError> {
        let mut chars = self.rest.char_indices().skip(1).peekable();
        while let Some((at, char)) = chars.next() {
            match char {
                // The two characters of one end of line are escaped together.
                '\\' => match (chars.next(), chars.peek()) {
                    (Some((_, '\r')), Some((_, '\n'))) => {
                        chars.next();
                        self.line += 1;
                    }
                    (Some((_, '\n')), _) => self.line += 1,
                    _ => {}
                },
                '\n' | '\r' => break,
                _ if char == quote => {
                    self.advance(at + 1);
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(self.unbalanced("a string that is not closed"))
    }

    fn slash(&mut self) -> Result<(), NestingError> {
        let before = match self.before {
            // An operand before the end of a line may end a statement there, or not.
            Before::Operand if self.new_line => Before::Either,
            before => before,
        };
        match before {
            Before::Either => Err(NestingError::Slash { line: self.line }),
            Before::Operand => {
                self.resume(Some("/"));
                self.advance(1);
                self.counted(Before::Operator)
            }
            Before::Operator | Before::Head => {
                self.resume(None);
                self.regular_expression()?;
                self.counted(Before::Operand)
            }
        }
    }

    fn regular_expression(&mut self) -> Result<(), NestingError> {
        let (mut class, mut escaped) = (false, false);
        for (at, char) in self.rest.char_indices().skip(1) {
            match char {
                '\n' | '\r' | '\u{2028}' | '\u{2029}' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '[' => class = true,
                ']' => class = false,
                '/' if !class => {
                    self.advance(at + 1);
                    let flags = self.rest.find(|char| !is_word(char)).unwrap_or(self.rest.len());
                    self.advance(flags);
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(self.unbalanced("a regular expression that is not closed"))
    }

    /// A name, a keyword or a number.
    fn word(&mut self) -> Result<(), NestingError> {
        let number = self.rest.starts_with(|char: char| char.is_ascii_digit());
        let mut end = 0;
        while let Some(char) = self.rest[end..].chars().next() {
            if self.rest[end..].starts_with("\\u{") {
                // The braces of an escape are none.
                end += self.rest[end..].find('}').map_or(self.rest.len() - end, |at| at + 1);
            } else if is_word(char) || (number && char == '.') {
                end += char.len_utf8();
            } else {
                break;
            }
        }
        let word = &self.rest[..end];
        let name = self.after_dot;
        self.resume(Some(word));
        let ended = self.new_line && matches!(self.before, Before::Operand | Before::Either);
        if ended && !name && begins(word) {
            self.forget(0);
        }
        let before = match word {
            _ if name => Before::Operand,
            "return" | "typeof" | "instanceof" | "in" | "new" | "delete" | "void" | "throw" | "case" | "do"
            | "else" | "default" | "extends" => Before::Operator,
            "of" | "yield" | "await" => Before::Either,
            _ => Before::Operand,
        };
        // `for await (`
        let head = matches!(word, "if" | "while" | "for" | "with") || (word == "await" && self.head_word);
        self.advance(end);
        self.counted(before)?;
        self.head_word = head && !name;
        Ok(())
    }

    fn operator(&mut self, char: char) -> Result<(), NestingError> {
        // What a scanner skips at the start of a line, up to its end.
        let marks = ["<<<<<<<", ">>>>>>>", "-->"];
        if self.rest.starts_with("<!--") || (self.new_line && marks.iter().any(|mark| self.rest.starts_with(mark))) {
            return Err(self.unbalanced("a mark of a merge, or of HTML"));
        }
        self.resume(if matches!(char, '@' | '#') { None } else { Some("+") });
        let (length, before) = match char {
            _ if self.rest.starts_with("++") || self.rest.starts_with("--") => {
                // After an operand on the same line it ends one.
                let postfix = self.before == Before::Operand && !self.new_line;
                (2, if postfix || self.before == Before::Operator { self.before } else { Before::Either })
            }
            _ if self.rest.starts_with("=>") => (2, Before::Operator),
            '!' if self.before == Before::Operand && !self.new_line && !self.rest.starts_with("!=") => {
                (1, Before::Operand)
            }
            // An argument of a type, an assertion, or a comparison.
            '<' | '>' => (1, Before::Either),
            _ => (char.len_utf8(), Before::Operator),
        };
        let dot = char == '.' && !self.rest.starts_with("...");
        let doubtful = match char {
            '<' => self.before != Before::Operand,
            '?' => {
                let next = self.rest[1..].trim_start_matches(['\n', '\r', '\t', ' ']);
                next.starts_with(['(', '<', '/']) || next.starts_with("async")
            }
            _ => false,
        };
        if doubtful {
            self.level().doubts += 1;
            self.doubts += 1;
            if self.doubts > MOST_DOUBTS {
                return Err(NestingError::Doubts { line: self.line });
            }
        }
        self.advance(length);
        self.counted(before)?;
        self.after_dot = dot;
        if char == '<' {
            self.level().angles += 1;
        }
        Ok(())
    }

    fn skip_line(&mut self) {
        let end = self.rest.find(['\n', '\r', '\u{2028}', '\u{2029}']).unwrap_or(self.rest.len());
        self.advance(end);
    }

    fn skip_comment(&mut self) -> Result<(), NestingError> {
        let end = self.rest[2..].find("*/").ok_or_else(|| self.unbalanced("a comment that is not closed"))? + 4;
        let lines = self.rest[..end].matches('\n').count();
        self.line += lines;
        self.new_line |= lines > 0 || self.rest[..end].contains(['\r', '\u{2028}', '\u{2029}']);
        self.advance(end);
        Ok(())
    }

    fn level(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
        let last = self.levels.len() - 1;
        &mut self.levels[last]
    }

    fn advance(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    fn unbalanced(&self, what: &'static str) -> NestingError {
        NestingError::Unbalanced { line: self.line, what }
    }
}

fn is_word(char: char) -> bool {
    char.is_ascii_alphanumeric()
        || matches!(char, '_' | '$' | '\\')
        || (!char.is_ascii() && !char.is_whitespace() && char != '\u{feff}')
}

/// Whether a word begins a statement wherever it follows an operand on a new line.
fn begins(word: &str) -> bool {
    matches!(
        word,
        "const"
            | "let"
            | "var"
            | "return"
            | "if"
            | "for"
            | "throw"
            | "import"
            | "export"
            | "class"
            | "function"
            | "try"
    )
}

/// Whether a word or a sign after `}` goes on with what the brace is a part of. Other words begin something new there.
fn continues(word: &str) -> bool {
    match word {
        "else" | "while" | "catch" | "finally" | "as" | "satisfies" | "in" | "instanceof" | "of" | "is" | "extends"
        | "implements" | "from" | "with" | "assert" | "asserts" => true,
        _ => !word.starts_with(is_word),
    }
}

#[cfg(test)]
mod tests;
