//! Go sources outside of modules: the packages that a chaincode imports, directly and indirectly.
//!
//! A module of its own because Fabric asks the `go` command for them and this reads the files itself. Imports are looked
//! for in `vendor` folders and below the same import path root; the standard library is left out; what is nowhere is
//! an error, as the peer could not build it.
//!
//! Source: Fabric 3.1.5 `core/chaincode/platforms/golang/list.go`; Go 1.24 `cmd/go` in GOPATH mode.

use std::collections::BTreeSet;

use super::super::pack::PackError;
use super::super::sources::{
    SourceEntry, SourceError, SourceKind, below, check_path, join, resolve, resolve_file, split,
};
use super::super::{Limits, Sources};
use super::{Files, LONGEST_READ, build, refused, source};

/// The first elements of import paths that belong to the standard library.
const STANDARD: &[&str] = &[
    "archive",
    "bufio",
    "builtin",
    "bytes",
    "cmp",
    "compress",
    "container",
    "context",
    "crypto",
    "database",
    "debug",
    "embed",
    "encoding",
    "errors",
    "expvar",
    "flag",
    "fmt",
    "go",
    "hash",
    "html",
    "image",
    "index",
    "internal",
    "io",
    "iter",
    "log",
    "maps",
    "math",
    "mime",
    "net",
    "os",
    "path",
    "plugin",
    "reflect",
    "regexp",
    "runtime",
    "slices",
    "sort",
    "strconv",
    "strings",
    "structs",
    "sync",
    "syscall",
    "testing",
    "text",
    "time",
    "unicode",
    "unique",
    "unsafe",
    "weak",
];

/// How import paths and folders of the tree belong together.
pub(super) struct Gopath<'a> {
    sources: &'a Sources<'a>,
    /// An import path, and the folder that it is.
    import: String,
    folder: String,
}

/// What a folder holds as a Go package.
#[derive(Default)]
struct GoPackage {
    /// Names of the files that are packaged when it is imported.
    files: Vec<String>,
    imports: BTreeSet<String>,
    embeds: BTreeSet<String>,
    /// Whether anything is built or tested.
    any: bool,
}

impl<'a> Gopath<'a> {
    /// For sources whose import path is their `metadata_path`.
    pub(super) fn new(sources: &'a Sources<'a>) -> Result<Self, PackError> {
        let (mut import, mut folder) = (sources.metadata_path, sources.path);
        if import.is_empty() || check_path(import).is_err() {
            return Err(refused(format!("there is no go.mod, and {import:?} is no import path")));
        }
        while !folder.is_empty() && !import.is_empty() && split(import).1 == split(folder).1 {
            (import, folder) = (split(import).0, split(folder).0);
        }
        Ok(Self { sources, import: import.to_owned(), folder: folder.to_owned() })
    }

    /// What a folder of the tree is called in the package.
    fn name(&self, folder: &str) -> String {
        join("src", &join(&self.import, below(folder, &self.folder).unwrap_or_default()))
    }

    /// Adds the files of all packages that the one at `folder` needs, and its own.
    pub(super) fn collect(&self, folder: &str, limits: &Limits, files: &mut Files) -> Result<(), PackError> {
        let mut known = BTreeSet::from([folder.to_owned()]);
        let mut waiting = vec![folder.to_owned()];
        while let Some(folder) = waiting.pop() {
            let entries = self.entries(&folder)?;
            let package = self.package(&folder, &entries)?;
            if !package.any {
                return Err(refused(format!("no Go files in {folder}")));
            }
            let embedded = embedded(&package.embeds, &entries, &folder)?;
            for file in package.files.iter().chain(&embedded) {
                let found = resolve_file(self.sources.tree, &join(&folder, file))?;
                files.insert(join(&self.name(&folder), file), (found.path, found.size));
            }
            if files.len() > limits.entries {
                return Err(PackError::TooLarge { what: format!("{} files and folders", limits.entries) });
            }
            for import in &package.imports {
                if let Some(found) = self.find(&folder, import)?
                    && known.insert(found.clone())
                {
                    waiting.push(found);
                }
            }
        }
        Ok(())
    }

    /// What is below a folder, which may be reached by a link.
    fn entries(&self, folder: &str) -> Result<Vec<SourceEntry>, PackError> {
        let real = resolve(self.sources.tree, folder)?;
        let mut entries = self.sources.tree.entries(&real.path)?;
        for entry in &mut entries {
            let inside = below(&entry.path, &real.path).unwrap_or_default();
            entry.path = join(folder, inside);
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    /// The folder of an import; `None` for the standard library.
    fn find(&self, importer: &str, import: &str) -> Result<Option<String>, PackError> {
        if matches!(import, "C" | "unsafe") {
            return Ok(None);
        }
        if check_path(import).is_err() || import.is_empty() {
            return Err(refused(format!("{importer} imports {import:?}, which is no import path")));
        }
        let mut folder = importer;
        loop {
            let vendored = join(&join(folder, "vendor"), import);
            if self.is_package(&vendored)? {
                return Ok(Some(vendored));
            }
            if folder == self.folder || folder.is_empty() {
                break;
            }
            folder = split(folder).0;
        }
        if STANDARD.contains(&import.split('/').next().unwrap_or_default()) {
            return Ok(None);
        }
        let inside = below(import, &self.import).map(|inside| join(&self.folder, inside));
        match inside {
            Some(inside) if self.is_package(&inside)? => Ok(Some(inside)),
            _ => Err(refused(format!("{importer} imports {import:?}, which is not among the sources"))),
        }
    }

    /// Whether there is a folder with Go files.
    fn is_package(&self, folder: &str) -> Result<bool, PackError> {
        match resolve(self.sources.tree, folder) {
            Ok(found) if found.kind == SourceKind::Directory => {}
            Ok(_) | Err(SourceError::Missing { .. } | SourceError::Kind { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let entries = self.entries(folder)?;
        let go = |path: &str| path.strip_suffix(".go").is_some();
        Ok(entries.iter().any(|entry| split(&entry.path).0 == folder && go(&entry.path)))
    }

    /// Reads the files of a folder.
    fn package(&self, folder: &str, entries: &[SourceEntry]) -> Result<GoPackage, PackError> {
        let mut package = GoPackage::default();
        let mut name: Option<String> = None;
        let (mut in_c, mut assembly, mut with_cgo) = (false, Vec::new(), false);
        for entry in entries {
            let (parent, file) = split(&entry.path);
            if parent != folder || file.starts_with(['_', '.']) || !self.is_file(entry)? {
                continue;
            }
            let extension = file.rfind('.').map_or("", |at| &file[at..]);
            let go = extension == ".go";
            if !go && !matches!(extension, ".c" | ".h" | ".hh" | ".hpp" | ".hxx" | ".s" | ".S" | ".sx") {
                continue;
            }
            let broken = |reason: &str| refused(format!("{}: {reason}", entry.path));
            let text = self.text(&entry.path)?;
            if !build::name_fits(file) || !build::conditions_hold(&text).map_err(broken)? {
                if go {
                    package.files.push(file.to_owned());
                }
                continue;
            }
            if !go {
                match extension {
                    ".S" | ".sx" => assembly.push(file.to_owned()),
                    _ => package.files.push(file.to_owned()),
                }
                in_c |= extension == ".c";
                continue;
            }
            let source = source::parse(&text).map_err(broken)?;
            if source.package == "documentation" {
                package.files.push(file.to_owned());
                continue;
            }
            package.any = true;
            let test = file.ends_with("_test.go");
            let own = if test { source.package.trim_end_matches("_test") } else { &source.package };
            let expected = name.get_or_insert_with(|| own.to_owned());
            if expected != own && *expected != source.package {
                return Err(broken(&format!("belongs to package {own}, others to {expected}")));
            }
            if !test {
                with_cgo |= source.imports.iter().any(|import| import == "C");
                package.files.push(file.to_owned());
                package.imports.extend(source.imports);
                package.embeds.extend(source.embeds);
            }
        }
        if with_cgo {
            package.files.append(&mut assembly);
        } else if in_c {
            return Err(refused(format!("{folder} holds C sources and does not use cgo")));
        }
        Ok(package)
    }

    /// Whether an entry is a file, or a link to one.
    fn is_file(&self, entry: &SourceEntry) -> Result<bool, PackError> {
        match entry.kind {
            SourceKind::Symlink { .. } => Ok(resolve(self.sources.tree, &entry.path)?.kind == SourceKind::File),
            SourceKind::File => Ok(true),
            _ => Ok(false),
        }
    }

    fn text(&self, path: &str) -> Result<String, PackError> {
        let file = resolve_file(self.sources.tree, path)?;
        if file.size > LONGEST_READ {
            return Err(refused(format!("{path} is too large")));
        }
        let bytes = self.sources.tree.read(&file.path)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Fails when there is nothing that Go would take for a package at `folder`.
pub(super) fn check_package(sources: &Sources<'_>, folder: &str) -> Result<(), PackError> {
    let gopath = Gopath { sources, import: String::new(), folder: String::new() };
    if gopath.package(folder, &gopath.entries(folder)?)?.any {
        return Ok(());
    }
    Err(refused(format!("no Go files in {:?}", sources.path)))
}

/// The files that patterns of `//go:embed` mean, from the folder of the package.
fn embedded(patterns: &BTreeSet<String>, entries: &[SourceEntry], folder: &str) -> Result<Vec<String>, PackError> {
    let mut found = Vec::new();
    for pattern in patterns {
        let (glob, hidden) = pattern.strip_prefix("all:").map_or((pattern.as_str(), false), |glob| (glob, true));
        let globs: Vec<&str> = glob.split('/').collect();
        let before = found.len();
        for entry in entries.iter().filter(|entry| entry.kind == SourceKind::File) {
            let inside = below(&entry.path, folder).unwrap_or_default();
            let names: Vec<&str> = inside.split('/').collect();
            let meant = globs == ["."] || globs.iter().zip(&names).all(|(glob, name)| source::matches(glob, name));
            let deeper = names.get(if globs == ["."] { 0 } else { globs.len() }..);
            // Of a folder that is meant, hidden files are not; a file that is meant itself may be hidden.
            let shown = deeper.is_some_and(|names| hidden || !names.iter().any(|name| name.starts_with(['.', '_'])));
            if meant && shown {
                found.push(inside.to_owned());
            }
        }
        if found.len() == before {
            return Err(refused(format!("{folder} embeds {pattern:?}, which matches no file")));
        }
    }
    Ok(found)
}
