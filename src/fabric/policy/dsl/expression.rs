//! The expressions that policies are written in: calls, texts, numbers.
//!
//! The parts of Fabric's two expression languages that can come out as a policy; their operators and conditions are
//! refused. Bounded in depth and size, because the text may come from anyone.
//!
//! Source: Fabric 3.1.5 `vendor/github.com/expr-lang/expr`, Fabric 2.5.16 `vendor/github.com/Knetic/govaluate`.

use super::PolicyError;

/// An expression and where it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) expression: Expression,
    pub(super) column: usize,
}

#[derive(Debug)]
pub(super) enum Expression {
    Text(String),
    /// Numbers with a fraction lose it, as they do in the peer CLI.
    Number(i64),
    Name(String),
    Call(String, Vec<Node>),
    /// Several in parentheses, of which nothing comes unless a gate takes them for its own.
    List(Vec<Node>),
}

/// Which language a text is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// That of the peer CLI since 3.0: comments, a comma after the last argument, texts in three kinds of quotes.
    Peer,
    /// The same with `and` and `or` as names, which the peer CLI takes for operators.
    Opssc,
    /// That of profiles, and of everything before 3.0: `and` and `or` are names, either quote ends a text, a backslash
    /// stands for nothing and spares what follows it; no comments, no comma after the last argument.
    Profile,
}

impl Node {
    pub(super) fn kind(&self) -> &'static str {
        match self.expression {
            Expression::Text(_) => "text",
            Expression::Number(_) => "number",
            Expression::Name(_) => "name",
            Expression::Call(..) => "gate",
            Expression::List(_) => "list",
        }
    }
}

/// More than the peer CLI takes.
const MOST_BYTES: usize = 1 << 20;
const MOST_NODES: usize = 10_000;
const DEEPEST: usize = 200;

pub(super) fn parse(text: &str, dialect: Dialect) -> Result<Node, PolicyError> {
    if text.len() > MOST_BYTES {
        return Err(PolicyError::invalid(format!("{} bytes are too many", text.len())));
    }
    let mut parser = Parser { chars: text.chars().collect(), at: 0, nodes: 0, dialect };
    let node = parser.expression(0)?;
    parser.skip()?;
    if parser.peek().is_some() {
        return Err(parser.unexpected());
    }
    Ok(node)
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    nodes: usize,
    dialect: Dialect,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn error(&self, reason: impl Into<String>) -> PolicyError {
        PolicyError::Syntax { reason: reason.into(), column: self.at + 1 }
    }

    fn unexpected(&self) -> PolicyError {
        match self.peek() {
            Some(c) => self.error(format!("unexpected {c:?}")),
            None => self.error("unexpected end"),
        }
    }

    /// Passes over blanks and comments.
    fn skip(&mut self) -> Result<(), PolicyError> {
        loop {
            match (self.peek(), self.chars.get(self.at + 1)) {
                (Some(c), _) if c.is_whitespace() => self.at += 1,
                _ if self.dialect == Dialect::Profile => return Ok(()),
                (Some('/'), Some('/')) => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                (Some('/'), Some('*')) => {
                    let end = self.chars[self.at + 2..].windows(2).position(|pair| pair == ['*', '/']);
                    self.at += end.ok_or_else(|| self.error("comment without an end"))? + 4;
                }
                _ => return Ok(()),
            }
        }
    }

    fn expression(&mut self, depth: usize) -> Result<Node, PolicyError> {
        self.nodes += 1;
        if depth > DEEPEST || self.nodes > MOST_NODES {
            return Err(self.error("more than can be followed"));
        }
        self.skip()?;
        let column = self.at + 1;
        let node = |expression| Node { expression, column };
        match self.peek() {
            Some('\'' | '"') if self.dialect == Dialect::Profile => Ok(node(Expression::Text(self.loose_text()?))),
            Some('`' | '+') if self.dialect == Dialect::Profile => Err(self.unexpected()),
            Some(quote @ ('\'' | '"' | '`')) => Ok(node(Expression::Text(self.text(quote)?))),
            Some('0'..='9') => Ok(node(Expression::Number(self.number()?))),
            Some('.') if self.chars.get(self.at + 1).is_some_and(char::is_ascii_digit) => {
                Ok(node(Expression::Number(self.number()?)))
            }
            Some(sign @ ('+' | '-')) => {
                self.at += 1;
                // Profiles' language takes signs in a row for one that it does not know.
                if self.dialect == Dialect::Profile && matches!(self.peek(), Some('-' | '.')) {
                    return Err(self.unexpected());
                }
                match self.expression(depth + 1)?.expression {
                    Expression::Number(number) if sign == '-' => {
                        Ok(node(Expression::Number(number.checked_neg().unwrap_or(i64::MAX))))
                    }
                    // A plus changes neither numbers nor what gates come to.
                    same @ (Expression::Number(_) | Expression::Call(..)) if sign == '+' => Ok(node(same)),
                    _ => Err(self.error(format!("{sign:?} before what is no number"))),
                }
            }
            Some('(') => {
                self.at += 1;
                if self.dialect == Dialect::Profile {
                    let mut inner = self.arguments(depth + 1)?;
                    return match inner.len() {
                        0 => Err(self.error("nothing in parentheses")),
                        1 => Ok(inner.remove(0)),
                        _ => Ok(node(Expression::List(inner))),
                    };
                }
                let inner = self.expression(depth + 1)?;
                self.skip()?;
                self.expect(')')?;
                Ok(inner)
            }
            Some(c) if is_letter(c) => {
                let name = self.name();
                let operator = match name.as_str() {
                    "and" | "or" => self.dialect == Dialect::Peer,
                    "in" => true,
                    "not" | "let" | "if" | "else" => self.dialect != Dialect::Profile,
                    _ => false,
                };
                if operator {
                    return Err(PolicyError::Syntax { reason: format!("{name:?} is no gate"), column });
                }
                self.skip()?;
                if self.peek() != Some('(') {
                    return Ok(node(Expression::Name(name)));
                }
                self.at += 1;
                Ok(node(Expression::Call(name, self.arguments(depth + 1)?)))
            }
            _ => Err(self.unexpected()),
        }
    }

    fn expect(&mut self, wanted: char) -> Result<(), PolicyError> {
        if self.peek() != Some(wanted) {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(())
    }

    /// What stands between parentheses, the first of which has been passed. A comma may follow the last, but not in
    /// profiles; there, a list that comes first is as if its parentheses were not there.
    fn arguments(&mut self, depth: usize) -> Result<Vec<Node>, PolicyError> {
        let mut arguments = Vec::new();
        loop {
            self.skip()?;
            if self.peek() == Some(')') {
                break;
            }
            if !arguments.is_empty() {
                self.expect(',')?;
                self.skip()?;
                if self.peek() == Some(')') && self.dialect != Dialect::Profile {
                    break;
                }
            }
            match self.expression(depth)? {
                Node { expression: Expression::List(list), .. } if arguments.is_empty() => arguments = list,
                argument => arguments.push(argument),
            }
        }
        self.at += 1;
        Ok(arguments)
    }

    fn name(&mut self) -> String {
        let start = self.at;
        while self.peek().is_some_and(|c| is_letter(c) || c.is_numeric()) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    /// A quoted text, with Go's escapes but for raw ones, in which a doubled quote stands for one.
    fn text(&mut self, quote: char) -> Result<String, PolicyError> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let Some(c) = self.peek() else { return Err(self.error("text without an end")) };
            self.at += 1;
            match c {
                _ if c == quote => {
                    if quote != '`' || self.peek() != Some('`') {
                        return Ok(text);
                    }
                    self.at += 1;
                    text.push('`');
                }
                '\n' if quote != '`' => return Err(self.error("text without an end")),
                '\\' if quote != '`' => text.push(self.escape(quote)?),
                _ => text.push(c),
            }
        }
    }

    /// A quoted text of profiles.
    fn loose_text(&mut self) -> Result<String, PolicyError> {
        let mut text = String::new();
        loop {
            self.at += 1;
            match self.peek() {
                None => return Err(self.error("text without an end")),
                Some('\'' | '"') => break,
                Some('\\') => {
                    self.at += 1;
                    text.push(self.peek().ok_or_else(|| self.error("text without an end"))?);
                }
                Some(c) => text.push(c),
            }
        }
        self.at += 1;
        Ok(text)
    }

    fn escape(&mut self, quote: char) -> Result<char, PolicyError> {
        let Some(c) = self.peek() else { return Err(self.error("text without an end")) };
        self.at += 1;
        let (digits, radix) = match c {
            'a' => return Ok('\x07'),
            'b' => return Ok('\x08'),
            'f' => return Ok('\x0c'),
            'n' => return Ok('\n'),
            'r' => return Ok('\r'),
            't' => return Ok('\t'),
            'v' => return Ok('\x0b'),
            _ if c == '\\' || c == quote => return Ok(c),
            'x' => (2, 16),
            'u' => (4, 16),
            'U' => (8, 16),
            '0'..='7' => {
                self.at -= 1;
                (3, 8)
            }
            _ => return Err(self.error(format!("unknown escape {c:?}"))),
        };
        let mut value = 0_u32;
        for _ in 0..digits {
            let digit = self.peek().and_then(|c| c.to_digit(radix)).ok_or_else(|| self.error("broken escape"))?;
            value = value.checked_mul(radix).and_then(|value| value.checked_add(digit)).unwrap_or(u32::MAX);
            self.at += 1;
        }
        char::from_u32(value).ok_or_else(|| self.error("an escape that is no character"))
    }

    fn number(&mut self) -> Result<i64, PolicyError> {
        if self.dialect == Dialect::Profile {
            return self.plain_number();
        }
        let start = self.at;
        let mut exponent = false;
        let hex = matches!(self.chars[start..], ['0', 'x' | 'X', ..]);
        while let Some(c) = self.peek() {
            let sign = matches!(c, '+' | '-') && exponent;
            if !(c.is_alphanumeric() || matches!(c, '_' | '.') || sign) {
                break;
            }
            exponent = matches!(c, 'e' | 'E') && !hex;
            self.at += 1;
        }
        let text: String = self.chars[start..self.at].iter().filter(|c| **c != '_').collect::<String>().to_lowercase();
        let broken = || PolicyError::Syntax { reason: format!("broken number {text:?}"), column: start + 1 };
        let radix = |digits: &str, radix| i64::from_str_radix(digits, radix).map_err(|_| broken());
        // An underscore may stand between digits, not inside the prefix.
        let prefix: String = self.chars[start..self.at].iter().take(2).collect::<String>().to_lowercase();
        match prefix.as_str() {
            "0x" => radix(&text[2..], 16),
            _ if text.contains(['.', 'e']) => text.parse().map(truncated).map_err(|_| broken()),
            "0b" => radix(&text[2..], 2),
            "0o" => radix(&text[2..], 8),
            _ => radix(&text, 10),
        }
    }

    /// A number of profiles: digits and dots, or hexadecimal.
    fn plain_number(&mut self) -> Result<i64, PolicyError> {
        let start = self.at;
        let hex = matches!(self.chars[start..], ['0', 'x', ..]);
        self.at += if hex { 2 } else { 0 };
        let digits = self.at;
        while self.peek().is_some_and(|c| if hex { c.is_ascii_hexdigit() } else { c.is_ascii_digit() || c == '.' }) {
            self.at += 1;
        }
        let text: String = self.chars[digits..self.at].iter().collect();
        let value = if hex { i64::from_str_radix(&text, 16).ok() } else { text.parse::<f64>().ok().map(truncated) };
        let reason = || PolicyError::Syntax { reason: format!("broken number {text:?}"), column: start + 1 };
        value.ok_or_else(reason)
    }
}

/// What lies beyond is no threshold anyway; the cast saturates.
#[allow(clippy::cast_possible_truncation)]
fn truncated(value: f64) -> i64 {
    value as i64
}

fn is_letter(c: char) -> bool {
    c.is_alphabetic() || c == '_' || c == '$'
}
