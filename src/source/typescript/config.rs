//! `tsconfig.json`: the options that decide what is emitted, and where.
//!
//! Options that only say which type errors are wanted have no effect here and are read over. Those that ask for an
//! output that cannot be made are refused.
//!
//! Source: the reference of `TSConfig`, version 5, and what version 6 made the default.

use serde_json::{Map, Value};

use super::files::{Pattern, folder, join};
use super::{Reader, TypescriptError, json};

/// A file that extends one that extends one …
const LONGEST_CHAIN: usize = 16;

/// How modules are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Module {
    CommonJs,
    Es,
    /// As Node.js takes each file: by its ending, or by `type` of `package.json`.
    Node,
}

impl Module {
    pub(super) fn is_node(self) -> bool {
        self == Self::Node
    }
}

/// What `tsc` was told, as far as it matters for what it emits.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "they are switches, and named as in the file")]
pub(super) struct Options {
    /// Where the project is.
    pub(super) folder: String,
    pub(super) out_dir: Option<String>,
    pub(super) root_dir: Option<String>,
    /// The year of the standard; `u16::MAX` is the newest.
    pub(super) target: u16,
    pub(super) module: Module,
    pub(super) experimental_decorators: bool,
    pub(super) emit_decorator_metadata: bool,
    pub(super) es_module_interop: bool,
    pub(super) use_define_for_class_fields: Option<bool>,
    pub(super) allow_js: bool,
    pub(super) resolve_json_module: bool,
    pub(super) remove_comments: bool,
    pub(super) always_strict: bool,
    pub(super) strict_null_checks: bool,
    pub(super) verbatim_module_syntax: bool,
    pub(super) base_url: Option<String>,
    /// Patterns with at most one star, each with what to try instead, as paths of the tree.
    pub(super) paths: Vec<(String, Vec<String>)>,
    pub(super) files: Option<Vec<String>>,
    pub(super) include: Vec<Pattern>,
    pub(super) exclude: Vec<Pattern>,
}

impl Options {
    /// Whether fields of classes are defined as the standard says, instead of assigned.
    pub(super) fn define_fields(&self) -> bool {
        self.use_define_for_class_fields.unwrap_or(self.target >= 2022)
    }
}

/// Reads the configuration at `path`, with all that it extends, under what the command line says over it.
pub(super) fn load(
    reader: &Reader<'_>,
    path: &str,
    flags: &Map<String, Value>,
    major: u64,
) -> Result<Options, TypescriptError> {
    let mut merged = Merged::default();
    merged.read(reader, path, folder(path), 0)?;
    for (name, value) in flags {
        merged.set(path, "", name, value)?;
    }
    merged.options(path, major)
}

/// Configurations on top of each other. What names a path was made a path of the tree.
#[derive(Debug, Default)]
struct Merged {
    options: Map<String, Value>,
    paths_base: String,
    files: Option<Vec<String>>,
    include: Option<Vec<Pattern>>,
    exclude: Option<Vec<Pattern>>,
}

impl Merged {
    /// Puts a file over what was read so far, after the files that it extends.
    fn read(&mut self, reader: &Reader<'_>, path: &str, top: &str, depth: usize) -> Result<(), TypescriptError> {
        let refuse = |what: String| TypescriptError::Config { path: path.to_owned(), what };
        if depth > LONGEST_CHAIN {
            return Err(refuse("extends too long a chain of files".to_owned()));
        }
        let text = reader.text(path)?;
        let value = json::parse(&text).map_err(|error| refuse(error.to_string()))?;
        let Value::Object(config) = value else { return Err(refuse("is no object".to_owned())) };
        let bases = match config.get("extends") {
            None => Vec::new(),
            Some(Value::String(base)) => vec![base.as_str()],
            Some(Value::Array(bases)) => bases.iter().filter_map(Value::as_str).collect(),
            Some(_) => return Err(refuse("extends something that is no path".to_owned())),
        };
        for base in bases {
            self.extend(reader, path, top, base, depth)?;
        }
        if config.get("references").and_then(Value::as_array).is_some_and(|list| !list.is_empty()) {
            return Err(refuse("references other projects, which are not built".to_owned()));
        }
        let here = folder(path);
        if let Some(Value::Object(options)) = config.get("compilerOptions") {
            for (name, value) in options {
                self.set_at(path, here, top, name, value)?;
            }
        }
        let list = |name: &str| match config.get(name) {
            None => Ok(None),
            Some(Value::Array(items)) => {
                let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
                texts.map(Some).ok_or_else(|| refuse(format!("has something else than texts in `{name}`")))
            }
            Some(_) => Err(refuse(format!("has no list as `{name}`"))),
        };
        let patterns = |items: Vec<&str>| -> Result<Vec<Pattern>, TypescriptError> {
            let made = items.into_iter().map(|item| {
                let (base, item) = based(item, here, top);
                // What lies outside the tree is not in it: nothing matches.
                Ok(Pattern::below(base, item))
            });
            made.filter_map(Result::transpose).collect()
        };
        if let Some(items) = list("files")? {
            let paths = items.into_iter().map(|item| {
                let (base, item) = based(item, here, top);
                join(base, item).ok_or_else(|| TypescriptError::Outside { path: item.to_owned() })
            });
            self.files = Some(paths.collect::<Result<_, _>>()?);
        }
        if let Some(items) = list("include")? {
            self.include = Some(patterns(items)?);
        }
        if let Some(items) = list("exclude")? {
            self.exclude = Some(patterns(items)?);
        }
        Ok(())
    }

    fn extend(
        &mut self,
        reader: &Reader<'_>,
        path: &str,
        top: &str,
        base: &str,
        depth: usize,
    ) -> Result<(), TypescriptError> {
        if !base.starts_with('.') && !base.starts_with('/') {
            let known = known(base).ok_or_else(|| TypescriptError::Config {
                path: path.to_owned(),
                what: format!("extends `{base}`, a package that is not among the sources"),
            })?;
            for (name, value) in known {
                self.options.insert(name, value);
            }
            return Ok(());
        }
        let outside = || TypescriptError::Outside { path: base.to_owned() };
        let target = join(folder(path), base).ok_or_else(outside)?;
        let found = if reader.has(&target) || target.ends_with(".json") { target } else { format!("{target}.json") };
        self.read(reader, &found, top, depth + 1)
    }

    fn set(&mut self, path: &str, here: &str, name: &str, value: &Value) -> Result<(), TypescriptError> {
        self.set_at(path, here, folder(path), name, value)
    }

    fn set_at(&mut self, path: &str, here: &str, top: &str, name: &str, value: &Value) -> Result<(), TypescriptError> {
        let value = match (name, value) {
            ("outDir" | "rootDir" | "baseUrl" | "declarationDir", Value::String(text)) => {
                let (base, text) = based(text, here, top);
                let joined = join(base, text).ok_or_else(|| TypescriptError::Outside { path: text.to_owned() })?;
                Value::String(joined)
            }
            ("paths", Value::Object(_)) => {
                here.clone_into(&mut self.paths_base);
                value.clone()
            }
            ("outDir" | "rootDir" | "baseUrl" | "target" | "module" | "paths", Value::Null) => {
                self.options.remove(name);
                return Ok(());
            }
            ("target" | "module", Value::String(_)) => value.clone(),
            ("outDir" | "rootDir" | "baseUrl" | "target" | "module" | "paths", _) => {
                let what = format!("has nothing sensible as `{name}`");
                return Err(TypescriptError::Config { path: path.to_owned(), what });
            }
            _ => value.clone(),
        };
        self.options.insert(name.to_owned(), value);
        Ok(())
    }

    fn options(self, path: &str, major: u64) -> Result<Options, TypescriptError> {
        let refuse = |what: String| TypescriptError::Config { path: path.to_owned(), what };
        // What version 6 made the default.
        let recent = major >= 6;
        let text = |name: &str| self.options.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
        let given = |name: &str| self.options.get(name).and_then(Value::as_bool);
        let on = |name: &str| given(name).unwrap_or(false);
        for (name, why) in [
            ("noEmit", "emits nothing"),
            ("emitDeclarationOnly", "emits declarations only"),
            ("rewriteRelativeImportExtensions", "rewrites the endings of imports, which is not supported"),
        ] {
            if on(name) {
                return Err(refuse(format!("has `{name}`: it {why}")));
            }
        }
        if text("outFile").or_else(|| text("out")).is_some() {
            return Err(refuse("has `outFile`: output in one file is not supported".to_owned()));
        }
        let module_name = text("module").map(|name| name.to_lowercase());
        let node_target = module_name.as_deref().and_then(|name| match name {
            "node16" | "node18" => Some(2022),
            "node20" => Some(2023),
            "nodenext" => Some(u16::MAX),
            _ => None,
        });
        let target = match text("target") {
            None => node_target.unwrap_or(if recent { 2025 } else { 2015 }),
            Some(name) => year(&name).ok_or_else(|| refuse(format!("has `{name}` as target")))?,
        };
        let module = match module_name.as_deref() {
            None if recent => Module::Es,
            // Without a target `tsc` writes ES5, and then CommonJS.
            None if text("target").is_some_and(|name| !matches!(name.to_lowercase().as_str(), "es3" | "es5")) => {
                Module::Es
            }
            None | Some("commonjs" | "none") => Module::CommonJs,
            Some("es6" | "es2015" | "es2020" | "es2022" | "esnext" | "preserve") => Module::Es,
            Some("node16" | "node18" | "node20" | "nodenext") => Module::Node,
            Some(other) => return Err(refuse(format!("has `{other}` as module, which Node.js does not load"))),
        };
        let strict = given("strict").unwrap_or(recent);
        let base_url = text("baseUrl");
        let paths = self.paths(base_url.as_deref());
        let mut exclude = self.exclude.unwrap_or_else(|| {
            let names = ["node_modules", "bower_components", "jspm_packages"];
            names.iter().filter_map(|name| Pattern::below(folder(path), name)).collect()
        });
        let out_dir = text("outDir").filter(|path| !path.is_empty());
        for made in [out_dir.clone(), text("declarationDir")].into_iter().flatten() {
            exclude.extend(Pattern::below("", &made).filter(|_| !made.is_empty()));
        }
        let include = match (&self.files, self.include) {
            (_, Some(include)) => include,
            (Some(_), None) => Vec::new(),
            (None, None) => Pattern::below(folder(path), "**/*").into_iter().collect(),
        };
        let root_dir = text("rootDir").or_else(|| (recent || on("composite")).then(|| folder(path).to_owned()));
        let interop = recent || module.is_node() || module_name.as_deref() == Some("preserve");
        Ok(Options {
            folder: folder(path).to_owned(),
            out_dir,
            root_dir,
            target,
            module,
            experimental_decorators: on("experimentalDecorators"),
            emit_decorator_metadata: on("emitDecoratorMetadata"),
            es_module_interop: given("esModuleInterop").unwrap_or(interop),
            use_define_for_class_fields: given("useDefineForClassFields"),
            allow_js: on("allowJs"),
            resolve_json_module: on("resolveJsonModule"),
            remove_comments: on("removeComments"),
            always_strict: given("alwaysStrict").unwrap_or(strict),
            strict_null_checks: given("strictNullChecks").unwrap_or(strict),
            verbatim_module_syntax: on("verbatimModuleSyntax"),
            base_url,
            paths,
            files: self.files,
            include,
            exclude,
        })
    }

    fn paths(&self, base_url: Option<&str>) -> Vec<(String, Vec<String>)> {
        let Some(Value::Object(paths)) = self.options.get("paths") else { return Vec::new() };
        let base = base_url.unwrap_or(&self.paths_base);
        let entries = paths.iter().map(|(pattern, targets)| {
            let targets = targets.as_array().into_iter().flatten().filter_map(Value::as_str);
            (pattern.clone(), targets.filter_map(|target| join(base, target)).collect())
        });
        entries.collect()
    }
}

/// What a path of a configuration is relative to.
fn based<'a>(text: &'a str, here: &'a str, top: &'a str) -> (&'a str, &'a str) {
    match text.strip_prefix("${configDir}") {
        Some(rest) => (top, rest.trim_start_matches('/')),
        None => (here, text),
    }
}

fn year(target: &str) -> Option<u16> {
    match target.to_lowercase().as_str() {
        // Older than anything that runs chaincode: written as the oldest that is made.
        "es3" | "es5" | "es6" => Some(2015),
        "esnext" => Some(u16::MAX),
        name => name.strip_prefix("es")?.parse().ok().filter(|year| (2015..=2099).contains(year)),
    }
}

/// The packages that configurations extend most: what they say about the output.
fn known(package: &str) -> Option<Map<String, Value>> {
    let name = package.strip_prefix("@tsconfig/")?;
    let name = name.strip_suffix("/tsconfig.json").or_else(|| name.strip_suffix("/tsconfig")).unwrap_or(name);
    let (target, module) = match name {
        "recommended" => ("es2016", "commonjs"),
        "node10" => ("es2018", "commonjs"),
        "node12" => ("es2019", "node16"),
        "node14" => ("es2020", "node16"),
        "node16" => ("es2021", "node16"),
        "node18" => ("es2022", "node16"),
        "node20" | "node22" => ("es2022", "nodenext"),
        "node24" => ("es2024", "nodenext"),
        _ => return None,
    };
    let options = [
        ("target", Value::from(target)),
        ("module", Value::from(module)),
        ("strict", Value::from(true)),
        ("esModuleInterop", Value::from(true)),
    ];
    Some(options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
