//! TypeScript chaincode to JavaScript, without npm and without `tsc`.
//!
//! [`compile`] does to a tree of sources what `npm run build` would, where that is a call of `tsc`: it reads
//! `package.json` and `tsconfig.json`, compiles what they say, and hands out what it has written. Sources and output
//! together are what a packager packs for Node.js.
//!
//! Types are removed, not checked: a type error is not found here. What decorators see of types at run time is written
//! as `tsc` writes it, also where a name comes from another file; a name from a package is looked at when the program
//! runs, since packages are not among the sources.
//!
//! Invariant: sources are hostile. What they nest is measured before it is parsed, the compiler runs on a stack that is
//! large enough for what may pass, a panic in it is an error where the program is built to unwind, sizes and numbers
//! are limited, and no path leads out of the tree. Nothing is run, and nothing is read but the tree.

#![allow(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "as in `tsc`, which takes the endings as they are"
)]

mod analysis;
mod config;
mod elide;
mod emit;
mod files;
mod json;
mod metadata;
mod nesting;
mod program;
mod script;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::Value;

pub use nesting::NestingError;

use crate::fabric::package::sources::{
    MemoryTree, Overlay, SourceEntry, SourceError, SourceKind, SourceTree, resolve_file,
};
use crate::runtime::{StackError, on_stack};
use analysis::{Analysis, analyse};
use config::Options;
use emit::Manner;
use files::{Kind, Pattern, join};
use program::Sources;
use script::Step;

/// What swc needs at most for the deepest source that passes, with room to spare. Untouched, it costs nothing.
const STACK: usize = 1 << 30;

/// How much may be compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Files that are read.
    pub files: usize,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of all files together.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { files: 5_000, file_bytes: 4 << 20, bytes: 64 << 20 }
    }
}

/// Why sources are not compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TypescriptError {
    /// A file cannot be read.
    #[error("a source file cannot be read")]
    Source(#[from] SourceError),
    /// Something that is needed is not there.
    #[error("{path} is not there")]
    Missing {
        /// Where it should be.
        path: String,
    },
    /// `package.json` says nothing sensible.
    #[error("package.json {what}")]
    Manifest {
        /// What is wrong with it.
        what: String,
    },
    /// The build does more than a call of `tsc`.
    #[error("`{command}` of package.json {why}")]
    Script {
        /// The command that is in the way.
        command: String,
        /// What it does.
        why: &'static str,
    },
    /// A `tsconfig.json` asks for what cannot be done.
    #[error("{path} {what}")]
    Config {
        /// Which.
        path: String,
        /// What it says.
        what: String,
    },
    /// A path leads out of the sources.
    #[error("`{path}` lies outside of the sources")]
    Outside {
        /// As it was written.
        path: String,
    },
    /// A file lies outside of `rootDir`.
    #[error("{path} is not below `{root}`, the rootDir")]
    OutsideRoot {
        /// The file.
        path: String,
        /// The folder.
        root: String,
    },
    /// There is nothing to compile.
    #[error("no TypeScript is found for the configuration in `{folder}`")]
    NoInputs {
        /// Where it was looked for.
        folder: String,
    },
    /// Output would take the place of a source, or of other output.
    #[error("{path} would be written over")]
    Overwrites {
        /// What is there.
        path: String,
    },
    /// JSX.
    #[error("{path} holds JSX, which is not compiled")]
    Jsx {
        /// The file.
        path: String,
    },
    /// Decorators of the standard, which fabric-contract-api does not know.
    #[error("{path} has decorators, but experimentalDecorators is not set")]
    Decorators {
        /// The file.
        path: String,
    },
    /// A source is no TypeScript.
    #[error("{path}, line {line}: {what}")]
    Syntax {
        /// The file.
        path: String,
        /// Counted from one.
        line: usize,
        /// What the parser says.
        what: String,
    },
    /// A source is nested so deeply, or so oddly, that it is not parsed.
    #[error("{path} is not parsed")]
    Nesting {
        /// The file.
        path: String,
        /// Why.
        source: NestingError,
    },
    /// There is too much.
    #[error("sources are larger than {limit}")]
    TooLarge {
        /// The limit.
        limit: String,
    },
    /// The program that `package.json` names is not there after the build.
    #[error("{main}, the `main` of package.json, is neither among the sources nor made by the build")]
    Main {
        /// As it was written.
        main: String,
    },
    /// The compiler failed.
    #[error("the compiler failed: {what}")]
    Broken {
        /// What it said.
        what: String,
    },
    /// The compiler panicked, or could not be started.
    #[error("the compiler failed")]
    Stack(#[from] StackError),
}

impl TypescriptError {
    fn script(command: &str, why: &'static str) -> Self {
        let command = command.chars().filter(|char| !char.is_control()).take(120).collect();
        Self::Script { command, why }
    }
}

/// What a build has made of sources.
#[derive(Debug, Clone, Default)]
pub struct Compiled {
    written: BTreeMap<String, Bytes>,
    removed: Vec<Pattern>,
    skipped: Vec<String>,
}

impl Compiled {
    /// The files that were written, by path.
    pub fn written(&self) -> &BTreeMap<String, Bytes> {
        &self.written
    }

    /// Commands of the build script that were left out, since they change no output: linters and the like.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// `sources` without what the build removes before it compiles.
    pub fn remaining<'a>(&'a self, sources: &'a dyn SourceTree) -> Remaining<'a> {
        Remaining { sources, removed: &self.removed }
    }

    /// The output over what [remains](Self::remaining) of the sources: what is to be packaged.
    pub fn over<'a>(&self, remaining: &'a Remaining<'a>) -> Result<Overlay<'a>, SourceError> {
        let mut upper = MemoryTree::new();
        for (path, contents) in &self.written {
            upper.insert(path.clone(), contents.clone())?;
        }
        Ok(Overlay::new(remaining, upper))
    }
}

/// Sources without what a build removes.
pub struct Remaining<'a> {
    sources: &'a dyn SourceTree,
    removed: &'a [Pattern],
}

impl std::fmt::Debug for Remaining<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remaining").field("removed", &self.removed).finish_non_exhaustive()
    }
}

impl Remaining<'_> {
    fn is_removed(&self, path: &str) -> bool {
        self.removed.iter().any(|pattern| pattern.excludes(path))
    }
}

impl SourceTree for Remaining<'_> {
    fn entry(&self, path: &str) -> Result<Option<SourceEntry>, SourceError> {
        if self.is_removed(path) { Ok(None) } else { self.sources.entry(path) }
    }

    fn entries(&self, folder: &str) -> Result<Vec<SourceEntry>, SourceError> {
        let mut entries = self.sources.entries(folder)?;
        entries.retain(|entry| !self.is_removed(&entry.path));
        Ok(entries)
    }

    fn read(&self, path: &str) -> Result<Bytes, SourceError> {
        if self.is_removed(path) {
            return Err(SourceError::Missing { path: path.to_owned() });
        }
        self.sources.read(path)
    }

    fn open(&self, path: &str) -> Result<Box<dyn std::io::Read + '_>, SourceError> {
        if self.is_removed(path) {
            return Err(SourceError::Missing { path: path.to_owned() });
        }
        self.sources.open(path)
    }
}

/// Does what `npm run build` would do to the sources of a Node.js chaincode, whose `package.json` is at the root.
///
/// This takes processor time, and a thread of its own while it lasts: call it where blocking is fine.
pub fn compile(tree: &dyn SourceTree, limits: &Limits) -> Result<Compiled, TypescriptError> {
    let reader = Reader::new(tree, *limits)?;
    let manifest = Manifest::read(&reader)?;
    let plan = script::plan(&manifest.scripts)?;
    let mut compiled = Compiled { skipped: plan.skipped, ..Compiled::default() };
    for step in plan.steps {
        match step {
            Step::Remove(pattern) => {
                compiled.written.retain(|path, _| !pattern.excludes(path));
                compiled.removed.push(pattern);
            }
            Step::Compile { project, flags } => {
                let config = reader.config(project.as_deref())?;
                let options = config::load(&reader, &config, &flags, manifest.typescript)?;
                for (path, contents) in build(&reader, &options, &manifest)? {
                    compiled.written.insert(path, contents);
                }
            }
        }
    }
    manifest.check_main(&reader, &compiled)?;
    Ok(compiled)
}

/// Compiles one project.
fn build(reader: &Reader<'_>, options: &Options, manifest: &Manifest) -> Result<Vec<(String, Bytes)>, TypescriptError> {
    let sources = Sources::collect(reader, options, manifest, |batch| {
        on_stack(STACK, || batch.iter().map(|(path, kind, text)| read_module(path, *kind, text)).collect())?
    })?;
    let undeclared = |(_, source): &(&String, &program::Source)| {
        source.analysis.decorated && source.kind != Kind::Declaration && !options.experimental_decorators
    };
    if let Some((path, _)) = sources.files.iter().find(undeclared) {
        return Err(TypescriptError::Decorators { path: path.clone() });
    }
    let outputs = sources.outputs()?;
    on_stack(STACK, || {
        let written =
            outputs.iter().map(|(path, target)| Ok((target.clone(), Bytes::from(write(&sources, options, path)?))));
        written.collect()
    })?
}

fn read_module(path: &str, kind: Kind, text: &str) -> Result<Analysis, TypescriptError> {
    if kind == Kind::Json {
        return Ok(Analysis::default());
    }
    emit::with_tables(|| Ok(analyse(&emit::parse(path, kind, text)?.program)))
}

/// What a file is compiled to.
fn write(sources: &Sources<'_>, options: &Options, path: &str) -> Result<String, TypescriptError> {
    let Some(source) = sources.files.get(path) else {
        return Err(TypescriptError::Missing { path: path.to_owned() });
    };
    if source.kind == Kind::Json {
        return Ok(source.text.clone());
    }
    let manner = Manner { options, kind: source.kind, common_js: sources.is_common_js(source.kind) };
    let names = sources.names(path);
    emit::with_tables(|| {
        let parsed = emit::parse(path, source.kind, &source.text)?;
        emit::emit(parsed, manner, |program, unresolved| {
            if source.analysis.decorated {
                metadata::write(program, &names, unresolved, options.emit_decorator_metadata);
            }
            if !options.verbatim_module_syntax {
                elide::mark_types(program, &names);
            }
        })
    })
}

/// Reads files of a tree, within limits.
struct Reader<'a> {
    tree: &'a dyn SourceTree,
    paths: BTreeSet<String>,
    limits: Limits,
    files: Cell<usize>,
    bytes: Cell<u64>,
}

impl<'a> Reader<'a> {
    fn new(tree: &'a dyn SourceTree, limits: Limits) -> Result<Self, TypescriptError> {
        let entries = tree.entries("")?.into_iter();
        let files = entries.filter(|entry| matches!(entry.kind, SourceKind::File | SourceKind::Symlink { .. }));
        // What was installed is no source, and a package does not hold it either.
        let own = files.filter(|entry| entry.path.split('/').all(|name| name != "node_modules"));
        let paths = own.map(|entry| entry.path).collect();
        Ok(Self { tree, paths, limits, files: Cell::new(0), bytes: Cell::new(0) })
    }

    fn has(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    fn text(&self, path: &str) -> Result<String, TypescriptError> {
        if !self.has(path) {
            return Err(TypescriptError::Missing { path: path.to_owned() });
        }
        let entry = resolve_file(self.tree, path)?;
        let (files, bytes) = (self.files.get() + 1, self.bytes.get().saturating_add(entry.size));
        let limit = |limit: String| Err(TypescriptError::TooLarge { limit });
        if entry.size > self.limits.file_bytes {
            return limit(format!("{} bytes in one file, as {path} is", self.limits.file_bytes));
        }
        if bytes > self.limits.bytes {
            return limit(format!("{} bytes in all", self.limits.bytes));
        }
        if files > self.limits.files {
            return limit(format!("{} files", self.limits.files));
        }
        self.files.set(files);
        self.bytes.set(bytes);
        let contents = self.tree.read(&entry.path)?;
        let contents = contents.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&contents);
        Ok(String::from_utf8_lossy(contents).into_owned())
    }

    /// The configuration of a project, which is named by itself or by its folder.
    fn config(&self, project: Option<&str>) -> Result<String, TypescriptError> {
        let outside = |path: &str| TypescriptError::Outside { path: path.to_owned() };
        let named = project.map(|path| join("", path).ok_or_else(|| outside(path))).transpose()?.unwrap_or_default();
        if self.has(&named) {
            return Ok(named);
        }
        let path = join(&named, "tsconfig.json").ok_or_else(|| outside(&named))?;
        if self.has(&path) { Ok(path) } else { Err(TypescriptError::Missing { path }) }
    }
}

/// What matters of `package.json`.
#[derive(Debug, Default)]
struct Manifest {
    main: Option<String>,
    is_module: bool,
    scripts: BTreeMap<String, String>,
    /// Packages that are there when the chaincode runs.
    packages: BTreeSet<String>,
    /// The major version of TypeScript that the sources were written for.
    typescript: u64,
}

impl Manifest {
    fn read(reader: &Reader<'_>) -> Result<Self, TypescriptError> {
        let refuse = |what: String| TypescriptError::Manifest { what };
        let text = reader.text("package.json")?;
        let value: Value = serde_json::from_str(&text).map_err(|error| refuse(format!("is no JSON: {error}")))?;
        let texts = |name: &str| -> BTreeMap<String, String> {
            let entries = value.get(name).and_then(Value::as_object).into_iter().flatten();
            entries.filter_map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned()))).collect()
        };
        let names = ["dependencies", "peerDependencies", "optionalDependencies"];
        let packages = names.iter().flat_map(|name| texts(name)).map(|(name, _)| name).collect();
        let version = ["devDependencies", "dependencies"].iter().find_map(|name| texts(name).remove("typescript"));
        let digits = version.as_deref().unwrap_or_default().trim_start_matches(|char: char| !char.is_ascii_digit());
        let major = digits.split(|char: char| !char.is_ascii_digit()).next().unwrap_or_default();
        Ok(Self {
            main: value.get("main").and_then(Value::as_str).map(ToOwned::to_owned),
            is_module: value.get("type").and_then(Value::as_str) == Some("module"),
            scripts: texts("scripts"),
            packages,
            typescript: major.parse().unwrap_or(5),
        })
    }

    /// Whether a module can be had when the chaincode runs.
    fn provides(&self, module: &str) -> bool {
        let mut names = module.splitn(3, '/');
        let first = names.next().unwrap_or_default();
        let package = match names.next() {
            Some(second) if first.starts_with('@') => format!("{first}/{second}"),
            _ => first.to_owned(),
        };
        self.packages.contains(&package) || package.starts_with("node:") || BUILT_IN.contains(&first)
    }

    /// Whether the program that is started is there.
    fn check_main(&self, reader: &Reader<'_>, compiled: &Compiled) -> Result<(), TypescriptError> {
        let Some(main) = &self.main else { return Ok(()) };
        let path = join("", main).ok_or_else(|| TypescriptError::Outside { path: main.clone() })?;
        let there = |path: &str| {
            compiled.written.contains_key(path)
                || (reader.has(path) && !compiled.removed.iter().any(|pattern| pattern.excludes(path)))
        };
        let index = join(&path, "index.js").unwrap_or_default();
        let tries = [path.clone(), format!("{path}.js"), format!("{path}.json"), index];
        if tries.iter().any(|path| there(path)) { Ok(()) } else { Err(TypescriptError::Main { main: main.clone() }) }
    }
}

/// Modules that Node.js brings.
const BUILT_IN: &[&str] = &[
    "assert",
    "async_hooks",
    "buffer",
    "child_process",
    "cluster",
    "console",
    "constants",
    "crypto",
    "dgram",
    "diagnostics_channel",
    "dns",
    "domain",
    "events",
    "fs",
    "http",
    "http2",
    "https",
    "inspector",
    "module",
    "net",
    "os",
    "path",
    "perf_hooks",
    "process",
    "punycode",
    "querystring",
    "readline",
    "repl",
    "stream",
    "string_decoder",
    "timers",
    "tls",
    "tty",
    "url",
    "util",
    "v8",
    "vm",
    "wasi",
    "worker_threads",
    "zlib",
];
