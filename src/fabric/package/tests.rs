//! Packages of sources: the same everywhere, and within limits.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::sources::{DirectoryTree, MemoryTree};
use super::*;

fn label() -> Label {
    Label::parse("basic_1.0").unwrap()
}

fn of(language: Language, tree: &dyn SourceTree, path: &str) -> Result<Package, PackError> {
    let sources = Sources { tree, path, metadata_path: "example.com/a/repository" };
    package(language, &label(), &sources, &Limits::default())
}

/// Text that compresses as sources do, and other text for other numbers.
fn text(seed: u32, length: usize) -> String {
    let mut state = seed;
    let mut out = String::new();
    while out.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let words = ["func ", "return ", "err ", "if ", "{\n", "}\n", "stub.GetState("];
        out.push_str(words[(state >> 16) as usize % words.len()]);
        out.push_str(&(state >> 22).to_string());
    }
    out
}

/// A chaincode in each language, in one repository, with names of all kinds.
fn repository() -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> =
        (0..40).map(|at| (format!("js/lib/part{at}.js"), text(at, 20_000))).collect();
    let index = r#"{"index":{"fields":["owner"]},"ddoc":"d","name":"n","type":"json"}"#;
    for (path, contents) in [
        ("js/package.json", r#"{"name":"basic"}"#),
        ("js/META-INF/statedb/couchdb/indexes/owner.json", index),
        ("js/a/b.js", "1"),
        ("js/a.b", "2"),
        ("js/größe.js", "3"),
        ("js/empty", ""),
        ("go/go.mod", "module example.com/go\n"),
        ("go/chaincode/main.go", "package main\n"),
        ("go/chaincode/META-INF/statedb/couchdb/indexes/owner.json", index),
        ("go/vendor/modules.txt", "# none\n"),
        ("java/pom.xml", "<project/>"),
        ("java/src/main/java/A.java", "class A {}"),
    ] {
        files.push((path.to_owned(), contents.to_owned()));
    }
    files.push((format!("js/{}/deep.js", vec!["folder"; 30].join("/")), text(99, 1000)));
    files
}

fn write<'a>(root: &Path, files: impl Iterator<Item = &'a (String, String)>, mode: u32, time: u64) {
    for (path, contents) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(time)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
}

#[test]
fn two_clones_give_the_same_bytes() {
    let files = repository();
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let deeper = there.path().join("some/other place");
    write(here.path(), files.iter(), 0o644, 1_000_000_000);
    write(&deeper, files.iter().rev(), 0o700, 1_700_000_001);
    for (path, _) in &files {
        // Another user's clone, where this one may give files away.
        match std::os::unix::fs::chown(deeper.join(path), Some(12_345), Some(54_321)) {
            Err(error) if error.kind() != std::io::ErrorKind::PermissionDenied => panic!("{path}: {error}"),
            _ => {}
        }
    }
    let mut memory = MemoryTree::new();
    for (path, contents) in &files {
        memory.insert(path.clone(), contents.clone()).unwrap();
    }
    for (language, path) in [(Language::Node, "js"), (Language::Golang, "go/chaincode"), (Language::Java, "java")] {
        let one = of(language, &DirectoryTree::new(here.path()), path).unwrap();
        let other = of(language, &DirectoryTree::new(&deeper), path).unwrap();
        assert!(one.bytes() == other.bytes(), "{language:?}");
        assert!(one.bytes() == of(language, &memory, path).unwrap().bytes(), "{language:?}");
        let read = Package::read(one.bytes().clone()).unwrap();
        assert_eq!(read, one);
        assert_eq!((read.kind(), read.label()), (language.as_str(), &label()));
    }
}

#[test]
fn the_bytes_stay_the_same_from_version_to_version() {
    let mut tree = MemoryTree::new();
    for (path, contents) in repository() {
        tree.insert(path, contents).unwrap();
    }
    let ids = [(Language::Node, "js"), (Language::Golang, "go/chaincode"), (Language::Java, "java")]
        .map(|(language, path)| of(language, &tree, path).unwrap().id().to_string());
    // When these change, organizations with different versions of this program get different package IDs for the same
    // commit: an update of the compressor has to say so.
    let expected = [
        "basic_1.0:5be891837b4098822423bf1fd5e7ee8c6bde439cc510c65726573b75134f8319",
        "basic_1.0:c72d48b5bcc4e53925cd8173d7f285a85f2438a306a73c43c26f238ccfa5de81",
        "basic_1.0:a72cf4846f9add844e59e57974bccbbace57a06dabd0059ad6c8e4e1316f46cb",
    ];
    assert_eq!(ids, expected);
}

#[test]
fn what_leads_outside_is_refused() {
    let tree = |link: &str, target: &str| {
        let mut tree = MemoryTree::new();
        tree.insert("cc/package.json", "{}").unwrap();
        tree.insert("cc/go.mod", "module a\n").unwrap();
        tree.insert("cc/main.go", "package main\n").unwrap();
        tree.insert("cc/node_modules/x.js", "").unwrap();
        tree.insert("beside.js", "b").unwrap();
        tree.link(link, target).unwrap();
        tree
    };
    for language in [Language::Node, Language::Java, Language::Golang] {
        for (target, refused) in [
            ("../beside.js", false),
            ("../../outside.js", true),
            ("/etc/passwd", true),
            ("nothing", true),
            (".", true),
            ("node_modules", true),
            ("link.js", true),
        ] {
            let result = of(language, &tree("cc/link.js", target), "cc");
            assert_eq!(result.is_err(), refused, "{language:?}: {target}: {result:?}");
        }
    }
    // What is left out does not matter.
    assert!(of(Language::Node, &tree("cc/node_modules/link", "/etc/passwd"), "cc").is_ok());
    for path in ["../cc", "/cc", "cc/", "cc//", "./cc", "cc\0"] {
        assert!(matches!(of(Language::Node, &tree("l", "cc"), path), Err(PackError::Source(_))), "{path:?}");
    }
    // The folder of the chaincode may be reached by a link.
    let package = of(Language::Node, &tree("l", "cc"), "l").unwrap();
    assert!(package.code_files().unwrap().contains_key("src/package.json"));
}

#[test]
fn limits_hold_for_what_is_packed() {
    let mut tree = MemoryTree::new();
    for at in 0..10 {
        tree.insert(format!("{at}.js"), vec![0; 1000]).unwrap();
        tree.insert(format!("node_modules/{at}.js"), vec![0; 1000]).unwrap();
    }
    let within = |bytes, entries| {
        let sources = Sources { tree: &tree, path: "", metadata_path: "" };
        package(Language::Node, &label(), &sources, &Limits { bytes, entries })
    };
    assert!(within(10_000, 10).is_ok());
    assert!(matches!(within(9_999, 10), Err(PackError::TooLarge { .. })));
    assert!(matches!(within(10_000, 9), Err(PackError::TooLarge { .. })));
}

#[test]
fn a_file_that_changes_is_noticed() {
    /// Says that every file has another length than it has.
    struct Lying(MemoryTree, i64);

    impl SourceTree for Lying {
        fn entry(&self, path: &str) -> Result<Option<sources::SourceEntry>, sources::SourceError> {
            let entry = self.0.entry(path)?;
            Ok(entry.map(|entry| sources::SourceEntry { size: entry.size.saturating_add_signed(self.1), ..entry }))
        }

        fn entries(&self, folder: &str) -> Result<Vec<sources::SourceEntry>, sources::SourceError> {
            self.0.entries(folder)
        }

        fn read(&self, path: &str) -> Result<Bytes, sources::SourceError> {
            self.0.read(path)
        }
    }

    for by in [-1, 1] {
        let mut tree = MemoryTree::new();
        tree.insert("a.js", "12345").unwrap();
        let result = of(Language::Node, &Lying(tree, by), "");
        assert!(matches!(result, Err(PackError::Changed { .. })), "{result:?}");
    }
}

#[test]
fn gopath_takes_what_is_imported() {
    let mut tree = MemoryTree::new();
    for (path, contents) in [
        ("cc/main.go", "package main\nimport (\"fmt\"; \"example.com/a/repository/lib\"; \"other.org/dep\")"),
        ("cc/main_test.go", "package main_test\nimport \"nowhere.org/x\""),
        ("cc/unused/u.go", "package unused"),
        ("lib/lib.go", "package lib\nimport _ \"embed\"\n//go:embed data/*.txt tmpl\nvar x string"),
        ("lib/lib_test.go", "package lib\nimport \"nowhere.org/x\""),
        ("lib/lib_windows.go", "package lib\nimport \"nowhere.org/x\""),
        ("lib/lib_windows_test.go", "package lib"),
        ("lib/tagged.go", "//go:build ignore\n\npackage main\nimport \"nowhere.org/x\""),
        ("lib/lib.h", ""),
        ("lib/lib_arm64.s", ""),
        ("lib/notes.md", ""),
        ("lib/_x.go", ""),
        ("lib/data/a.txt", "a"),
        ("lib/data/a.md", "a"),
        ("lib/tmpl/x/y", "a"),
        ("lib/tmpl/.x", "a"),
        ("vendor/other.org/dep/dep.go", "package dep\nimport \"other.org/deep\""),
        ("vendor/other.org/deep/deep.go", "package deep"),
        ("vendor/other.org/not/not.go", "package not"),
    ] {
        tree.insert(path, contents).unwrap();
    }
    let gopath = |tree: &MemoryTree| {
        let sources = Sources { tree, path: "cc", metadata_path: "example.com/a/repository/cc" };
        package(Language::Golang, &label(), &sources, &Limits::default())
    };
    let package = gopath(&tree).unwrap();
    assert_eq!(package.path(), "example.com/a/repository/cc");
    let names: Vec<String> = listed(&package).into_iter().filter(|name| !name.ends_with('/')).collect();
    let expected = [
        "cc/main.go",
        "cc/main_test.go",
        "lib/data/a.txt",
        "lib/lib.go",
        "lib/lib.h",
        "lib/lib_windows.go",
        "lib/lib_windows_test.go",
        "lib/tagged.go",
        "lib/tmpl/x/y",
        "vendor/other.org/deep/deep.go",
        "vendor/other.org/dep/dep.go",
    ];
    assert_eq!(names, expected.map(|name| format!("src/example.com/a/repository/{name}")));
    tree.insert("vendor/other.org/deep/deep.go", "package deep\nimport \"nowhere.org/x\"").unwrap();
    assert!(gopath(&tree).unwrap_err().to_string().contains("nowhere.org/x"));
}

/// The names in the code of a package, directories too.
fn listed(package: &Package) -> Vec<String> {
    let mut names = Vec::new();
    let code = package.code().unwrap();
    let mut archive = ::tar::Archive::new(flate2::read::GzDecoder::new(&code[..]));
    for entry in archive.entries().unwrap() {
        names.push(String::from_utf8(entry.unwrap().path_bytes().into_owned()).unwrap());
    }
    names
}
