//! Cases: where they lie and how failures are collected.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde_json::Value;

/// One case of a family.
pub(crate) struct Case {
    pub(crate) folder: PathBuf,
    json: Value,
}

/// What a case finds: nothing, or what is wrong.
pub(crate) type Finding = Result<(), String>;

pub(crate) fn root() -> PathBuf {
    std::env::var_os("OPSSC_GOLDEN")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/golden"), PathBuf::from)
}

/// Runs `check` on every case of `family` and fails with all findings.
#[track_caller]
pub(crate) fn family(family: &str, check: impl Fn(&Case) -> Finding) {
    let folder = root().join(family);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("no family {}: {error}", folder.display()));
    let mut cases: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.join("case.json").is_file()).collect();
    cases.sort();
    assert!(!cases.is_empty(), "family {} has no cases", folder.display());
    let mut findings = Vec::new();
    for folder in &cases {
        let json = serde_json::from_slice(&fs::read(folder.join("case.json")).unwrap()).unwrap();
        let case = Case { folder: folder.clone(), json };
        let finding = catch_unwind(AssertUnwindSafe(|| check(&case))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            Err(format!("panicked: {}", text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("?")))
        });
        if let Err(finding) = finding {
            findings.push(format!("{}: {finding}", folder.file_name().unwrap_or_default().to_string_lossy()));
        }
    }
    assert!(findings.is_empty(), "{family}: {} of {} cases\n{}", findings.len(), cases.len(), findings.join("\n"));
}

impl Case {
    /// The value at a JSON pointer of case.json.
    pub(crate) fn get(&self, pointer: &str) -> &Value {
        self.json.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The text at a JSON pointer of case.json.
    #[track_caller]
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.get(pointer).as_str().unwrap_or_else(|| panic!("no text at {pointer}"))
    }

    /// Whether the tool accepted the input.
    #[track_caller]
    pub(crate) fn ok(&self) -> bool {
        self.get("/expected/ok").as_bool().expect("expected.ok")
    }

    /// The bytes of a file of the case.
    #[track_caller]
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let path = self.folder.join(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A JSON file of the case.
    #[track_caller]
    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.bytes(name)).unwrap()
    }

    /// Lays out the folder that a tree file describes.
    pub(crate) fn tree(&self, name: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        lay_out(folder.path(), &self.json(name));
        folder
    }

    /// A folder that holds the one that a tree file describes, under the name that it says.
    pub(crate) fn rooted_tree(&self, name: &str) -> tempfile::TempDir {
        let tree = self.json(name);
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join(tree["root"].as_str().expect("root"));
        fs::create_dir_all(&root).unwrap();
        lay_out(&root, &tree);
        folder
    }
}

fn lay_out(folder: &Path, tree: &Value) {
    for entry in tree["entries"].as_array().expect("entries") {
        let path = folder.join(entry["path"].as_str().expect("path"));
        fs::create_dir_all(path.parent().expect("a parent")).unwrap();
        match entry["type"].as_str().expect("type") {
            "dir" => fs::create_dir_all(&path).unwrap(),
            "symlink" => std::os::unix::fs::symlink(entry["target"].as_str().expect("target"), &path).unwrap(),
            _ => {
                fs::write(&path, contents(entry)).unwrap();
                if let Some(mode) = entry["mode"].as_str() {
                    let mode = u32::from_str_radix(mode, 8).expect("an octal mode");
                    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
                }
            }
        }
    }
}

fn contents(entry: &Value) -> Vec<u8> {
    match (entry["text"].as_str(), entry["base64"].as_str()) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(base64)) => base64::engine::general_purpose::STANDARD.decode(base64).unwrap(),
        (None, None) => Vec::new(),
    }
}

/// Bytes out of hexadecimal text.
#[track_caller]
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2) && text.is_ascii(), "not hex: {text:?}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// That both are equal, with what differs.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: &T, expected: &T) -> Finding {
    if ours == expected { Ok(()) } else { Err(format!("{what}: {ours:?} in place of {expected:?}")) }
}

/// That the bytes are those of a file.
pub(crate) fn same_file(path: &Path, ours: &[u8]) -> Finding {
    let expected = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if ours == expected {
        return Ok(());
    }
    let at = ours.iter().zip(&expected).take_while(|(a, b)| a == b).count();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Err(format!("{name}: {} bytes in place of {}, differing from byte {at}", ours.len(), expected.len()))
}

/// Acceptance and refusal: a result that has to be `Ok` exactly when the tool accepted. Gives the value when both did.
pub(crate) fn agree<T, E: std::fmt::Display>(result: Result<T, E>, accepted: bool) -> Result<Option<T>, String> {
    match (result, accepted) {
        (Ok(value), true) => Ok(Some(value)),
        (Err(_), false) => Ok(None),
        (Ok(_), false) => Err("accepted, but Fabric refuses it".to_owned()),
        (Err(error), true) => Err(format!("refused, but Fabric accepts it: {error}")),
    }
}
