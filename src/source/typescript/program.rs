//! The files that make up a program, what they stand for to each other, and where each is compiled to.
//!
//! As in `tsc`: what the configuration lists, and everything that is imported from there. Packages are not among the
//! sources; a name that leads into one stays open.

use std::collections::{BTreeMap, BTreeSet};

use super::analysis::{Analysis, Declared, Export, Import, Imported, Shape};
use super::config::{Module, Options};
use super::files::{Kind, below, compiled, folder, join};
use super::{Manifest, Reader, TypescriptError};

/// How far a name is followed from module to module.
const FARTHEST: usize = 64;

/// One file of a program.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) kind: Kind,
    pub(super) text: String,
    pub(super) analysis: Analysis,
    /// Where the modules that it names are, as far as they are sources.
    found: BTreeMap<String, String>,
}

/// All files of a program, by path.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    pub(super) files: BTreeMap<String, Source>,
    options: &'a Options,
    manifest: &'a Manifest,
}

impl<'a> Sources<'a> {
    /// Collects a program. `analyse` reads a number of files at once.
    pub(super) fn collect(
        reader: &Reader<'_>,
        options: &'a Options,
        manifest: &'a Manifest,
        mut analyse: impl FnMut(&[(String, Kind, String)]) -> Result<Vec<Analysis>, TypescriptError>,
    ) -> Result<Self, TypescriptError> {
        let mut files: BTreeMap<String, Source> = BTreeMap::new();
        let mut wanted: BTreeSet<String> = roots(reader, options)?;
        if wanted.is_empty() {
            return Err(TypescriptError::NoInputs { folder: options.folder.clone() });
        }
        while !wanted.is_empty() {
            let mut batch = Vec::new();
            for path in std::mem::take(&mut wanted) {
                let Some(kind) = Kind::of(&path) else { continue };
                if kind == Kind::Jsx {
                    return Err(TypescriptError::Jsx { path });
                }
                let text = reader.text(&path)?;
                batch.push((path, kind, text));
            }
            let analysed = analyse(&batch)?;
            for ((path, kind, text), analysis) in batch.into_iter().zip(analysed) {
                let mut found = BTreeMap::new();
                for request in &analysis.requests {
                    if let Some(target) = resolve(reader, options, &path, request) {
                        found.insert(request.clone(), target);
                    }
                }
                files.insert(path, Source { kind, text, analysis, found });
            }
            let named = files.values().flat_map(|source| source.found.values());
            wanted = named.filter(|path| !files.contains_key(*path)).cloned().collect();
        }
        Ok(Self { files, options, manifest })
    }

    /// Where each file is written to; declarations are not.
    pub(super) fn outputs(&self) -> Result<BTreeMap<String, String>, TypescriptError> {
        let emitted = || self.files.iter().filter(|(_, source)| source.kind != Kind::Declaration);
        let root = match &self.options.root_dir {
            Some(root) => root.clone(),
            None => common_folder(emitted().map(|(path, _)| path.as_str())),
        };
        let mut outputs = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for (path, source) in emitted() {
            let Some(rest) = below(path, &root) else {
                return Err(TypescriptError::OutsideRoot { path: path.clone(), root });
            };
            let target = match &self.options.out_dir {
                Some(out_dir) => join(out_dir, &compiled(rest)),
                // Without a folder for it, JSON stays where it is.
                None if source.kind == Kind::Json => continue,
                None => Some(compiled(path)),
            };
            let target = target.ok_or_else(|| TypescriptError::Outside { path: path.clone() })?;
            if self.files.contains_key(&target) || !taken.insert(target.clone()) {
                return Err(TypescriptError::Overwrites { path: target });
            }
            outputs.insert(path.clone(), target);
        }
        Ok(outputs)
    }

    /// Whether a file becomes a `CommonJS` module.
    pub(super) fn is_common_js(&self, kind: Kind) -> bool {
        match (self.options.module, kind) {
            (Module::Es, _) | (_, Kind::EsTypescript | Kind::EsJavascript) => false,
            (Module::CommonJs, _) | (_, Kind::CommonTypescript | Kind::CommonJavascript) => true,
            (Module::Node, _) => !self.manifest.is_module,
        }
    }

    /// What the names of the module at `path` mean.
    pub(super) fn names<'b>(&'b self, path: &'b str) -> Names<'b> {
        Names { sources: self, path }
    }
}

/// What the configuration lists.
fn roots(reader: &Reader<'_>, options: &Options) -> Result<BTreeSet<String>, TypescriptError> {
    let mut roots = BTreeSet::new();
    for path in options.files.iter().flatten() {
        if !reader.has(path) {
            return Err(TypescriptError::Missing { path: path.clone() });
        }
        roots.insert(path.clone());
    }
    for path in reader.paths() {
        let wanted = match Kind::of(path) {
            Some(Kind::Json) | None => false,
            Some(kind) if kind.is_javascript() => options.allow_js && below(path, &options.folder).is_some(),
            Some(Kind::Jsx) => path.ends_with(".tsx") || options.allow_js,
            Some(_) => true,
        };
        if wanted
            && options.include.iter().any(|pattern| pattern.includes(path))
            && !options.exclude.iter().any(|pattern| pattern.excludes(path))
        {
            roots.insert(path.to_owned());
        }
    }
    // Of `a.ts` and the `a.js` or `a.d.ts` that was made of it, `tsc` takes the first.
    let sources: BTreeSet<String> = roots.iter().filter(|path| path.ends_with(".ts")).cloned().collect();
    roots.retain(|path| {
        let stem = path.strip_suffix(".d.ts").or_else(|| path.strip_suffix(".js"));
        stem.is_none_or(|stem| !sources.contains(&format!("{stem}.ts")))
    });
    Ok(roots)
}

/// The deepest folder that all paths lie in.
fn common_folder<'p>(paths: impl Iterator<Item = &'p str>) -> String {
    let mut common: Option<Vec<&str>> = None;
    for path in paths {
        let folders: Vec<&str> = folder(path).split('/').filter(|name| !name.is_empty()).collect();
        common = Some(match common {
            None => folders,
            Some(common) => common.into_iter().zip(folders).take_while(|(a, b)| a == b).map(|(a, _)| a).collect(),
        });
    }
    common.unwrap_or_default().join("/")
}

/// The source that a module is named by, if it is one.
fn resolve(reader: &Reader<'_>, options: &Options, from: &str, request: &str) -> Option<String> {
    let relative = request.starts_with("./") || request.starts_with("../") || request == "." || request == "..";
    if relative {
        return candidate(reader, options, &join(folder(from), request)?);
    }
    if request.starts_with('/') {
        return None;
    }
    let mapped = options.paths.iter().filter_map(|(pattern, targets)| {
        let (before, after) = pattern.split_once('*').unwrap_or((pattern, ""));
        let matched = if pattern.contains('*') {
            request.strip_prefix(before)?.strip_suffix(after)?
        } else {
            (request == pattern).then_some("")?
        };
        Some((before.len(), matched, targets))
    });
    // The longest pattern wins.
    if let Some((_, matched, targets)) = mapped.max_by_key(|(length, ..)| *length) {
        let found = targets.iter().find_map(|target| {
            let path = join("", &target.replacen('*', matched, 1))?;
            candidate(reader, options, &path)
        });
        if found.is_some() {
            return found;
        }
    }
    candidate(reader, options, &join(options.base_url.as_deref()?, request)?)
}

/// The file that is meant by a path without, or with another, ending.
fn candidate(reader: &Reader<'_>, options: &Options, path: &str) -> Option<String> {
    let mut tries = Vec::new();
    for (written, meant) in
        [(".js", &[".ts", ".tsx", ".d.ts"][..]), (".mjs", &[".mts", ".d.mts"]), (".cjs", &[".cts", ".d.cts"])]
    {
        if let Some(stem) = path.strip_suffix(written) {
            tries.extend(meant.iter().map(|ending| format!("{stem}{ending}")));
            if options.allow_js {
                tries.push(path.to_owned());
            }
        }
    }
    if path.ends_with(".json") {
        if options.resolve_json_module {
            tries.push(path.to_owned());
        }
    } else if matches!(Kind::of(path), Some(kind) if kind.is_typescript()) {
        tries.push(path.to_owned());
    }
    for stem in [path.to_owned(), join(path, "index")?] {
        if !stem.is_empty() {
            tries.extend([".ts", ".tsx", ".d.ts"].iter().map(|ending| format!("{stem}{ending}")));
            if options.allow_js {
                tries.push(format!("{stem}.js"));
            }
        }
    }
    tries.into_iter().find(|path| reader.has(path))
}

/// What a name of types stands for at run time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A class that can be named there.
    Class,
    /// Something with a shape.
    Plain(Shape),
    /// To be found out when the program runs.
    Unknown,
}

/// The names of one module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    sources: &'a Sources<'a>,
    path: &'a str,
}

/// Where a name leads to.
enum Found<'a> {
    Declared {
        module: &'a str,
        declared: &'a Declared,
        type_only: bool,
    },
    /// All that a module exports.
    Whole {
        module: &'a str,
        type_only: bool,
    },
    Package {
        source: &'a str,
        type_only: bool,
    },
    Nothing,
}

impl<'a> Names<'a> {
    pub(super) fn strict_null_checks(&self) -> bool {
        self.sources.options.strict_null_checks
    }

    /// What a type's name means.
    pub(super) fn meaning(&self, path: &[String]) -> Meaning {
        let Some((first, rest)) = path.split_first() else { return Meaning::Unknown };
        let (module, declared, type_only) = match self.follow(first, rest) {
            Found::Declared { module, declared, type_only } => (module, declared, type_only),
            Found::Package { source, type_only: false } if self.sources.manifest.provides(source) => {
                return Meaning::Unknown;
            }
            // Nothing that could be asked when the program runs.
            Found::Whole { .. } | Found::Package { .. } => return Meaning::Plain(Shape::Object),
            Found::Nothing if rest.is_empty() && matches!(first.as_str(), "Array" | "ReadonlyArray") => {
                return Meaning::Plain(Shape::Array);
            }
            Found::Nothing => return Meaning::Unknown,
        };
        match &declared.shape {
            _ if declared.class && type_only => Meaning::Plain(Shape::Function),
            _ if declared.class => Meaning::Class,
            Some(shape) => Meaning::Plain(Names { path: module, ..*self }.flat(shape)),
            None => Meaning::Plain(Shape::Object),
        }
    }

    /// Whether what a module exports under a name is known to be no more than a type.
    pub(super) fn is_type(&self, request: &str, name: &str) -> bool {
        let import = Import { source: request.to_owned(), what: Imported::Named(name.to_owned()), type_only: false };
        let found = self.import(&import, &mut BTreeSet::new());
        found.is_type()
    }

    /// Whether a name of the module itself is known to be no more than a type.
    pub(super) fn is_local_type(&self, name: &str) -> bool {
        self.local(name, &mut BTreeSet::new()).is_type()
    }

    /// A shape without names.
    pub(super) fn flat(&self, shape: &Shape) -> Shape {
        self.flat_within(shape, FARTHEST)
    }

    fn flat_within(&self, shape: &Shape, left: usize) -> Shape {
        let Some(left) = left.checked_sub(1) else { return Shape::Object };
        match shape {
            Shape::Union(of) => {
                let mut flat: Vec<Shape> = of.iter().map(|shape| self.flat_within(shape, left)).collect();
                flat.retain(|shape| *shape != Shape::Never);
                if !self.strict_null_checks() && flat.iter().any(|shape| *shape != Shape::Void) {
                    flat.retain(|shape| *shape != Shape::Void);
                }
                flat.dedup();
                if flat.is_empty() {
                    Shape::Never
                } else {
                    flat.pop().filter(|_| flat.is_empty()).unwrap_or(Shape::Object)
                }
            }
            Shape::Intersection(of) => {
                let mut flat = of.iter().map(|shape| self.flat_within(shape, left));
                flat.find(|shape| *shape != Shape::Object).unwrap_or(Shape::Object)
            }
            Shape::Named(path) => self.named(path, left),
            other => other.clone(),
        }
    }

    fn named(&self, path: &[String], left: usize) -> Shape {
        let Some((first, rest)) = path.split_first() else { return Shape::Object };
        match self.follow(first, rest) {
            Found::Declared { module, declared: Declared { class: false, shape: Some(shape), .. }, .. } => {
                Names { path: module, ..*self }.flat_within(shape, left)
            }
            Found::Nothing if rest.is_empty() && matches!(first.as_str(), "Array" | "ReadonlyArray") => Shape::Array,
            _ => Shape::Object,
        }
    }

    fn follow(&self, first: &str, rest: &[String]) -> Found<'a> {
        let mut found = self.local(first, &mut BTreeSet::new());
        for name in rest {
            found = match found {
                Found::Declared { module, declared, type_only } => match declared.members.get(name) {
                    Some(declared) => Found::Declared { module, declared, type_only },
                    None => Found::Nothing,
                },
                Found::Whole { module, type_only } => {
                    let names = Names { path: module, ..*self };
                    names.exported(name, &mut BTreeSet::new()).unwrap_or(Found::Nothing).or_type_only(type_only)
                }
                package @ Found::Package { .. } => package,
                Found::Nothing => Found::Nothing,
            };
        }
        found
    }

    fn source(&self) -> Option<&'a Source> {
        self.sources.files.get(self.path)
    }

    /// A name as the module itself sees it.
    fn local(&self, name: &str, seen: &mut BTreeSet<(&'a str, String)>) -> Found<'a> {
        let Some(source) = self.source() else { return Found::Nothing };
        if let Some(declared) = source.analysis.declared.get(name) {
            return Found::Declared { module: self.path, declared, type_only: false };
        }
        match source.analysis.imports.get(name) {
            Some(import) => self.import(import, seen),
            None => Found::Nothing,
        }
    }

    fn import<'i>(&self, import: &'i Import, seen: &mut BTreeSet<(&'a str, String)>) -> Found<'a>
    where
        'a: 'i,
    {
        let Some(source) = self.source() else { return Found::Nothing };
        let Some(target) = source.found.get(&import.source) else {
            let relative = import.source.starts_with('.');
            let known = source.analysis.requests.iter().find(|request| **request == import.source);
            return match known {
                Some(source) if !relative => Found::Package { source, type_only: import.type_only },
                _ => Found::Nothing,
            };
        };
        let names = Names { path: target, ..*self };
        match &import.what {
            Imported::Whole => Found::Whole { module: target, type_only: import.type_only },
            Imported::Named(name) => {
                names.exported(name, seen).unwrap_or(Found::Nothing).or_type_only(import.type_only)
            }
        }
    }

    /// What the module exports under a name.
    fn exported(&self, name: &str, seen: &mut BTreeSet<(&'a str, String)>) -> Option<Found<'a>> {
        if seen.len() > FARTHEST * 16 || !seen.insert((self.path, name.to_owned())) {
            return None;
        }
        let source = self.source()?;
        match source.analysis.exports.get(name) {
            Some(Export::Local(local)) => return Some(self.local(local, seen)),
            Some(Export::From(import)) => return Some(self.import(import, seen)),
            None => {}
        }
        if name == "default" {
            return None;
        }
        source.analysis.stars.iter().find_map(|star| {
            let path = source.found.get(star)?;
            Names { path, ..*self }.exported(name, seen)
        })
    }
}

impl Found<'_> {
    fn is_type(&self) -> bool {
        matches!(self, Self::Declared { declared, .. } if !declared.value && declared.shape.is_some())
    }

    fn or_type_only(mut self, only: bool) -> Self {
        if let Self::Declared { type_only, .. } | Self::Whole { type_only, .. } | Self::Package { type_only, .. } =
            &mut self
        {
            *type_only |= only;
        }
        self
    }
}
