//! What `npm run build` would do, as far as it can be done without npm: calls of `tsc`, what is removed before, and what
//! only looks at the sources.
//!
//! Nothing is run. A command line is taken apart into plain commands; a script that holds anything else is refused with
//! the command that is in the way, and then the operator may set a build command of their own.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::TypescriptError;
use super::files::Pattern;

/// Scripts that call scripts that call scripts …
const DEEPEST: usize = 8;

/// Commands of a build, over all scripts.
const MOST: usize = 64;

/// One thing that a build does to the files.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Removes what the pattern matches.
    Remove(Pattern),
    /// Compiles a project.
    Compile {
        /// A folder, or a configuration; without it the one in the root.
        project: Option<String>,
        /// Options over those of the configuration.
        flags: Map<String, Value>,
    },
}

/// What a build does.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// Commands that change no output and are left out.
    pub(super) skipped: Vec<String>,
    commands: usize,
}

/// Takes the script `build` apart, with those that npm runs around it. Without one, a build is plain `tsc`.
pub(super) fn plan(scripts: &BTreeMap<String, String>) -> Result<Plan, TypescriptError> {
    let mut plan = Plan::default();
    if scripts.contains_key("build") {
        plan.script(scripts, "build", "", 0)?;
    } else {
        plan.steps.push(Step::Compile { project: None, flags: Map::new() });
    }
    if plan.steps.iter().any(|step| matches!(step, Step::Compile { .. })) {
        Ok(plan)
    } else {
        Err(TypescriptError::Script { command: "build".to_owned(), why: "does not call tsc" })
    }
}

impl Plan {
    fn script(
        &mut self,
        scripts: &BTreeMap<String, String>,
        name: &str,
        arguments: &str,
        depth: usize,
    ) -> Result<(), TypescriptError> {
        let refuse = |why| TypescriptError::script(&format!("npm run {name}"), why);
        if depth > DEEPEST {
            return Err(refuse("calls itself, or too long a chain of scripts"));
        }
        let Some(text) = scripts.get(name) else { return Err(refuse("is no script")) };
        for (hook, arguments) in [(format!("pre{name}"), ""), (name.to_owned(), arguments), (format!("post{name}"), "")]
        {
            let text = if hook == name { Some(text) } else { scripts.get(&hook) };
            let Some(text) = text else { continue };
            for words in commands(&format!("{text}{arguments}"))? {
                self.command(scripts, &words, depth)?;
            }
        }
        Ok(())
    }

    fn command(
        &mut self,
        scripts: &BTreeMap<String, String>,
        words: &[String],
        depth: usize,
    ) -> Result<(), TypescriptError> {
        let shown = words.join(" ");
        let refuse = |why| TypescriptError::script(&shown, why);
        self.commands += 1;
        if self.commands > MOST {
            return Err(refuse("is one command too many"));
        }
        let words = unwrapped(words);
        let Some((program, arguments)) = words.split_first() else { return Ok(()) };
        let texts: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match (tool(program), texts.as_slice()) {
            ("tsc", _) => match compile(arguments).map_err(refuse)? {
                Some(step) => self.steps.push(step),
                None => self.skipped.push(shown),
            },
            ("node", [script, ..]) if tool(script) == "tsc" => {
                return self.command(scripts, &words[1..], depth);
            }
            ("npm" | "pnpm" | "yarn", ["run" | "run-script", name, rest @ ..]) => {
                let rest = if let ["--", rest @ ..] = rest { rest } else { rest };
                let mut arguments = String::new();
                for word in rest {
                    arguments.extend([" '", word, "'"]);
                }
                return self.script(scripts, name, &arguments, depth + 1);
            }
            ("npm" | "pnpm" | "yarn", ["install" | "ci" | "i", ..]) => self.skipped.push(shown),
            ("yarn" | "pnpm", [name]) if scripts.contains_key(*name) => {
                return self.script(scripts, name, "", depth + 1);
            }
            ("run-s" | "npm-run-all", names) if !names.is_empty() => {
                for name in names {
                    if name.starts_with('-') || name.contains('*') {
                        return Err(refuse("names its scripts by a pattern or an option"));
                    }
                    self.script(scripts, name, "", depth + 1)?;
                }
            }
            ("rimraf" | "rm" | "del" | "del-cli", paths) => {
                for path in paths.iter().filter(|path| !path.starts_with('-')) {
                    let pattern = Pattern::below("", path).filter(|pattern| *pattern != Pattern::default());
                    self.steps
                        .push(Step::Remove(pattern.ok_or_else(|| refuse("removes what is not below the sources"))?));
                }
            }
            ("shx", ["rm", ..]) => return self.command(scripts, &words[1..], depth),
            ("shx", ["mkdir" | "echo", ..])
            | ("mkdir" | "echo" | "true" | ":" | "eslint" | "tslint" | "prettier" | "npm-check", _) => {
                self.skipped.push(shown);
            }
            _ => return Err(refuse("is more than tsc")),
        }
        Ok(())
    }
}

/// The name of a program that npm finds among the packages.
fn tool(program: &str) -> &str {
    let program = program.strip_prefix("./").unwrap_or(program);
    let program = program.strip_prefix("node_modules/").unwrap_or(program);
    let program = program.strip_prefix(".bin/").unwrap_or(program);
    program.strip_prefix("typescript/bin/").unwrap_or(program)
}

/// A command without what only says how it is run.
fn unwrapped(mut words: &[String]) -> &[String] {
    let assigns = |word: &String| {
        word.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
        })
    };
    loop {
        words = match words {
            [first, rest @ ..] if assigns(first) || matches!(first.as_str(), "cross-env" | "npx") => rest,
            [first, second, rest @ ..]
                if matches!(first.as_str(), "npm" | "pnpm" | "yarn") && matches!(second.as_str(), "exec" | "dlx") =>
            {
                rest
            }
            // Options of npx; its packages are those of the project.
            [flag, rest @ ..] if matches!(flag.as_str(), "--yes" | "-y" | "--no-install" | "--") => rest,
            [flag, _, rest @ ..] if matches!(flag.as_str(), "-p" | "--package") => rest,
            [first, rest @ ..]
                if matches!(first.as_str(), "yarn" | "pnpm")
                    && rest.first().is_some_and(|word| tool(word) == "tsc") =>
            {
                rest
            }
            _ => return words,
        };
    }
}

/// What a call of `tsc` does to the files; nothing where it only checks.
fn compile(arguments: &[String]) -> Result<Option<Step>, &'static str> {
    let (mut project, mut flags) = (None, Map::new());
    let mut words = arguments.iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
            return Err("names files, or an option that is not known");
        };
        let lower = flag.to_lowercase();
        match lower.as_str() {
            "p" | "project" => project = Some(words.next().ok_or("names no project")?.to_owned()),
            "b" | "build" => project = words.next_if(|word| !word.starts_with('-')).map(ToOwned::to_owned),
            "w" | "watch" => return Err("watches its files and does not end"),
            "init" | "version" | "v" | "help" | "h" | "showconfig" | "listfilesonly" | "clean" | "dry" => {
                return Err("compiles nothing");
            }
            _ => {
                let valued = VALUED.iter().find(|name| {
                    name.to_lowercase() == lower
                        || (**name == "target" && lower == "t")
                        || (**name == "module" && lower == "m")
                });
                let (name, value) = if let Some(name) = valued {
                    (*name, Value::from(words.next().ok_or("has an option without a value")?))
                } else {
                    let value =
                        words.next_if(|word| matches!(*word, "true" | "false")).is_none_or(|word| word == "true");
                    (
                        SWITCHES.iter().find(|name| name.to_lowercase() == lower).copied().unwrap_or(flag),
                        Value::from(value),
                    )
                };
                flags.insert(name.to_owned(), value);
            }
        }
    }
    let only_checks = ["noEmit", "emitDeclarationOnly"].iter().any(|name| flags.get(*name) == Some(&Value::from(true)));
    Ok((!only_checks).then_some(Step::Compile { project, flags }))
}

/// Options of `tsc` that are followed by a value.
const VALUED: &[&str] = &[
    "target",
    "module",
    "outDir",
    "rootDir",
    "baseUrl",
    "declarationDir",
    "moduleResolution",
    "moduleDetection",
    "lib",
    "jsx",
    "types",
    "typeRoots",
    "rootDirs",
    "newLine",
    "sourceRoot",
    "mapRoot",
    "tsBuildInfoFile",
    "outFile",
    "customConditions",
    "ignoreDeprecations",
    "locale",
];

/// Options without a value whose spelling matters here: `tsc` takes any case.
const SWITCHES: &[&str] = &[
    "experimentalDecorators",
    "emitDecoratorMetadata",
    "esModuleInterop",
    "useDefineForClassFields",
    "allowJs",
    "resolveJsonModule",
    "removeComments",
    "strict",
    "alwaysStrict",
    "strictNullChecks",
    "verbatimModuleSyntax",
    "noEmit",
    "emitDeclarationOnly",
    "composite",
];

/// A command line as the words of its commands, which run one after the other.
fn commands(text: &str) -> Result<Vec<Vec<String>>, TypescriptError> {
    let refuse = |why| TypescriptError::script(text, why);
    let (mut commands, mut words, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            ' ' | '\t' => words.extend(word.take()),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some(next) if next == char => break,
                        Some('$' | '`') if char == '"' => return Err(refuse("has the shell put something in")),
                        Some('\\') if char == '"' => word.extend(chars.next()),
                        Some(next) => word.push(next),
                        None => return Err(refuse("has a quote that is not closed")),
                    }
                }
            }
            '&' if chars.next_if_eq(&'&').is_some() => {
                words.extend(word.take());
                commands.push(std::mem::take(&mut words));
            }
            ';' => {
                words.extend(word.take());
                commands.push(std::mem::take(&mut words));
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            '|' | '&' | '<' | '>' | '$' | '`' | '(' | ')' | '\n' | '\r' | '~' | '!' => {
                return Err(refuse("needs a shell"));
            }
            _ => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    commands.push(words);
    commands.retain(|words| !words.is_empty());
    Ok(commands)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(scripts: &[(&str, &str)]) -> String {
        let scripts = scripts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        match plan(&scripts) {
            Err(error) => format!("error: {error}"),
            Ok(plan) => {
                let steps = plan.steps.iter().map(|step| match step {
                    Step::Remove(pattern) => format!("remove {}", pattern.shown()),
                    Step::Compile { project, flags } => {
                        format!("compile {} {}", project.as_deref().unwrap_or("."), Value::Object(flags.clone()))
                    }
                });
                steps.collect::<Vec<_>>().join(", ")
            }
        }
    }

    #[track_caller]
    fn check(scripts: &[(&str, &str)], expected: &str) {
        assert_eq!(shown(scripts), expected, "for {scripts:?}");
    }

    #[test]
    fn plain_builds_are_understood() {
        let plain = "compile . {}";
        check(&[], plain);
        check(&[("start", "fabric-chaincode-node start")], plain);
        for build in [
            "tsc",
            "npx tsc",
            "npx -p typescript tsc",
            "./node_modules/.bin/tsc",
            "node node_modules/typescript/bin/tsc",
            "NODE_ENV=production tsc",
            "cross-env A=b tsc",
            "tsc ",
            "eslint . --ext .ts && tsc",
            "npm install && tsc",
            "tsc --noEmit && tsc",
            "yarn tsc",
            "echo 'a && b | c'; tsc",
        ] {
            check(&[("build", build)], plain);
        }
        check(&[("build", "tsc -p tsconfig.build.json")], "compile tsconfig.build.json {}");
        check(
            &[("build", "tsc --project . --outDir lib --sourceMap")],
            r#"compile . {"outDir":"lib","sourceMap":true}"#,
        );
        check(&[("build", "tsc --OUTDIR lib --STRICT false")], r#"compile . {"outDir":"lib","strict":false}"#);
        check(&[("build", "tsc -t es2020 -m commonjs")], r#"compile . {"module":"commonjs","target":"es2020"}"#);
        check(&[("build", "tsc -b")], plain);
        check(&[("build", "rimraf dist && tsc")], "remove dist, compile . {}");
        check(&[("build", "rm -rf ./dist lib/* && tsc")], "remove dist, remove lib/*, compile . {}");
    }

    #[test]
    fn scripts_call_scripts() {
        let scripts = [
            ("prebuild", "npm run clean"),
            ("clean", "rimraf dist"),
            ("build", "npm run lint && npm run compile -- --outDir 'out dir'"),
            ("lint", "eslint src"),
            ("compile", "tsc -p ."),
            ("postbuild", "echo done"),
        ];
        check(&scripts, r#"remove dist, compile . {"outDir":"out dir"}"#);
        check(&[("build", "run-s clean tsc"), ("clean", "rm -r dist"), ("tsc", "tsc")], "remove dist, compile . {}");
        check(
            &[("build", "npm run build")],
            "error: `npm run build` of package.json calls itself, or too long a chain of scripts",
        );
        check(&[("build", "npm run none")], "error: `npm run none` of package.json is no script");
    }

    #[test]
    fn more_than_tsc_is_refused() {
        for (build, reason) in [
            ("webpack", "is more than tsc"),
            ("tsc && cp -r assets dist", "is more than tsc"),
            ("tsc && tsc-alias", "is more than tsc"),
            ("tsc > log", "needs a shell"),
            ("tsc || true", "needs a shell"),
            ("$(tsc)", "needs a shell"),
            ("tsc --outDir \"$OUT\"", "has the shell put something in"),
            ("tsc --watch", "watches its files and does not end"),
            ("tsc index.ts", "names files, or an option that is not known"),
            ("rimraf / && tsc", "removes what is not below the sources"),
            ("rimraf .. && tsc", "removes what is not below the sources"),
            ("rm -rf . && tsc", "removes what is not below the sources"),
            ("eslint .", "does not call tsc"),
            ("tsc 'a", "has a quote that is not closed"),
        ] {
            let text = shown(&[("build", build)]);
            assert!(text.starts_with("error: ") && text.ends_with(reason), "for {build}: {text}");
        }
        let many = "npm run a && ".repeat(100) + "tsc";
        assert!(shown(&[("build", &many), ("a", "echo")]).ends_with("is one command too many"));
        let wide: Vec<(String, String)> =
            (0..8).map(|index| (format!("s{index}"), format!("npm run s{0} && npm run s{0}", index + 1))).collect();
        let mut scripts: Vec<(&str, &str)> = wide.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        scripts.extend([("build", "npm run s0"), ("s8", "tsc")]);
        assert!(shown(&scripts).starts_with("error: "));
    }
}
