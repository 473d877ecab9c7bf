//! Which Go files are built: by their names and by the conditions at their heads.
//!
//! Judged for Linux on amd64 with cgo, whatever machine packages, or packages would differ from machine to machine. Of a
//! file that is not built for it nothing is lost (it is packaged as well), but its imports are not followed.
//!
//! Source: Go 1.24 `go/build`, `go/build/constraint`.

const SYSTEMS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "wasip1",
    "windows",
    "zos",
];
const ARCHITECTURES: &[&str] = &[
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "armbe",
    "arm64",
    "arm64be",
    "loong64",
    "mips",
    "mipsle",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

/// Whether a condition of this name holds.
fn holds(tag: &str) -> bool {
    // Any version of Go: the peer's builder is newer than what sources ask for, or nothing can be built.
    let version = tag.strip_prefix("go1.").is_some_and(|minor| minor.bytes().all(|byte| byte.is_ascii_digit()));
    version || matches!(tag, "linux" | "amd64" | "unix" | "gc" | "cgo" | "amd64.v1")
}

/// Whether a file of this name is built.
pub(super) fn name_fits(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    let mut parts: Vec<&str> = stem.split('_').skip(1).collect();
    if parts.last() == Some(&"test") {
        parts.pop();
    }
    let architecture = |part: &str| ARCHITECTURES.contains(&part);
    let system = |part: &str| SYSTEMS.contains(&part);
    match parts.as_slice() {
        [.., os, arch] if system(os) && architecture(arch) => holds(os) && holds(arch),
        [.., one] if system(one) || architecture(one) => holds(one),
        _ => true,
    }
}

/// Whether the conditions at the head of a file hold.
pub(super) fn conditions_hold(text: &str) -> Result<bool, &'static str> {
    let mut condition = None;
    let mut older = Vec::new();
    let mut pending = Vec::new();
    let mut in_comment = false;
    let mut ended = false;
    for line in text.lines() {
        let mut line = line.trim();
        if line.is_empty() && !ended {
            // Conditions of the older form count when an empty line follows.
            older.append(&mut pending);
            continue;
        }
        if !line.starts_with("//") {
            ended = true;
        }
        if !in_comment
            && let Some(rest) = line.strip_prefix("//go:build")
            && rest.starts_with([' ', '\t'])
        {
            if condition.replace(rest).is_some() {
                return Err("more than one line of go:build");
            }
        } else if !ended && let Some(rest) = line.strip_prefix("//").map(str::trim_start) {
            pending.extend(rest.strip_prefix("+build").filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t'])));
        }
        loop {
            if in_comment {
                let Some((_, rest)) = line.split_once("*/") else { break };
                in_comment = false;
                line = rest.trim();
            } else if line.is_empty() || line.starts_with("//") {
                break;
            } else if let Some(rest) = line.strip_prefix("/*") {
                in_comment = true;
                line = rest;
            } else {
                // Code: what follows is no head any more.
                return judge(condition, &older);
            }
        }
    }
    judge(condition, &older)
}

fn judge(condition: Option<&str>, older: &[&str]) -> Result<bool, &'static str> {
    if let Some(condition) = condition {
        return Expression::evaluate(condition);
    }
    // Every line has to hold; in a line one word has to, of a word all parts.
    let part = |part: &str| part.strip_prefix('!').map_or_else(|| holds(part), |tag| !holds(tag));
    Ok(older.iter().all(|line| line.split_whitespace().any(|word| word.split(',').all(part))))
}

/// A condition of `//go:build`.
struct Expression<'a> {
    rest: &'a str,
    depth: usize,
}

const DEEPEST: usize = 100;
const BROKEN: &str = "a line of go:build cannot be read";

impl<'a> Expression<'a> {
    fn evaluate(text: &'a str) -> Result<bool, &'static str> {
        let text = text.split_once("//").map_or(text, |(code, _)| code);
        let mut expression = Self { rest: text.trim(), depth: 0 };
        let value = expression.any()?;
        if expression.rest.is_empty() { Ok(value) } else { Err(BROKEN) }
    }

    fn accept(&mut self, sign: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(sign) else { return false };
        self.rest = rest.trim_start();
        true
    }

    fn any(&mut self) -> Result<bool, &'static str> {
        let mut value = self.all()?;
        while self.accept("||") {
            value |= self.all()?;
        }
        Ok(value)
    }

    fn all(&mut self) -> Result<bool, &'static str> {
        let mut value = self.not()?;
        while self.accept("&&") {
            value &= self.not()?;
        }
        Ok(value)
    }

    fn not(&mut self) -> Result<bool, &'static str> {
        if self.accept("!") {
            if self.rest.starts_with('!') {
                return Err(BROKEN);
            }
            return self.not().map(|value| !value);
        }
        if self.accept("(") {
            self.depth += 1;
            if self.depth > DEEPEST {
                return Err(BROKEN);
            }
            let value = self.any()?;
            self.depth -= 1;
            return if self.accept(")") { Ok(value) } else { Err(BROKEN) };
        }
        let word = |char: char| char.is_alphanumeric() || matches!(char, '_' | '.');
        let end = self.rest.find(|char| !word(char)).unwrap_or(self.rest.len());
        if end == 0 {
            return Err(BROKEN);
        }
        let (tag, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        Ok(holds(tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_where_they_are_built() {
        for (name, fits) in [
            ("a.go", true),
            ("linux.go", true),
            ("windows.go", true),
            ("a_linux.go", true),
            ("a_windows.go", false),
            ("a_windows_test.go", false),
            ("a_linux_amd64.go", true),
            ("a_linux_arm64.go", false),
            ("a_windows_amd64.go", false),
            ("a_unix.go", true),
            ("a_arm64.s", false),
            ("a_windows_x.go", true),
        ] {
            assert_eq!(name_fits(name), fits, "{name}");
        }
    }

    #[test]
    fn conditions_are_those_of_go() {
        let check = |text: &str, expected: Result<bool, ()>| {
            assert_eq!(conditions_hold(text).map_err(|_| ()), expected, "for {text:?}");
        };
        check("package a", Ok(true));
        check("//go:build linux\npackage a", Ok(true));
        check("//go:build windows\n\npackage a", Ok(false));
        check("//go:build !windows && (arm64 || go1.21)\n\npackage a", Ok(true));
        check("//go:build ignore\n\npackage a", Ok(false));
        check("/* x */ /*\n//go:build windows\n*/\npackage a", Ok(true));
        check("package a\n//go:build windows", Ok(true));
        check("// +build windows\n\npackage a", Ok(false));
        check("// +build windows\npackage a", Ok(true));
        check("// +build windows linux\n// +build amd64,!cgo amd64\n\npackage a", Ok(true));
        check("// +build windows\n\n//go:build linux\n\npackage a", Ok(true));
        check("//go:build linux\n//go:build linux\n\npackage a", Err(()));
        check("//go:build linux ||\n\npackage a", Err(()));
        check(&format!("//go:build {}linux\n", "(".repeat(100_000)), Err(()));
        check(&format!("//go:build {}linux\n", "!".repeat(100_000)), Err(()));
    }
}
