//! Repositories for tests, made by the machine's git: with files, links, submodules and tags, and broken on purpose.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A repository that is written to in a working tree and served out of a bare one.
pub(crate) struct Repo {
    work: PathBuf,
    bare: PathBuf,
}

impl Repo {
    /// An empty one, served as `NAME.git` in `root`.
    pub(crate) fn new(root: &Path, name: &str) -> Self {
        let (work, bare) = (root.join("work").join(name), root.join(format!("{name}.git")));
        fs::create_dir_all(&work).unwrap();
        let repo = Self { work, bare };
        repo.git(&["init", "-q", "-b", "main", "."]);
        run(Command::new("git").args(["init", "-q", "--bare", "-b", "main"]).arg(&repo.bare), &[]);
        repo
    }

    /// Where one writes.
    pub(crate) fn work(&self) -> &Path {
        &self.work
    }

    /// Writes a file.
    pub(crate) fn file(&self, path: &str, contents: impl AsRef<[u8]>) -> &Self {
        let path = self.work.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
        self
    }

    /// Makes a link.
    pub(crate) fn link(&self, path: &str, target: &str) -> &Self {
        std::os::unix::fs::symlink(target, self.work.join(path)).unwrap();
        self
    }

    /// Commits everything and serves it: the commit's hash.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A", "-f"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.serve();
        self.git(&["rev-parse", "HEAD"])
    }

    /// Serves all branches and tags.
    pub(crate) fn serve(&self) {
        let bare = self.bare.to_str().unwrap();
        self.git(&["push", "-q", "--force", "--all", bare]);
        self.git(&["push", "-q", "--force", "--tags", bare]);
    }

    /// Runs git in the working tree: what it printed.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        run(Command::new("git").current_dir(&self.work).args(arguments), &[])
    }

    /// Writes an object that git itself would refuse to make: its hash.
    pub(crate) fn object(&self, kind: &str, bytes: &[u8]) -> String {
        let arguments = ["hash-object", "--literally", "-w", "-t", kind, "--stdin"];
        run(Command::new("git").current_dir(&self.bare).args(arguments), bytes)
    }

    /// Makes a tree of raw entries the end of branch `name`: the commit's hash.
    pub(crate) fn branch_of_tree(&self, name: &str, entries: &[(&str, &[u8], &str)]) -> String {
        let mut tree = Vec::new();
        for (mode, name, id) in entries {
            tree.extend_from_slice(mode.as_bytes());
            tree.push(b' ');
            tree.extend_from_slice(name);
            tree.push(0);
            tree.extend((0..40).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).unwrap()));
        }
        let tree = self.object("tree", &tree);
        let commit = run(Command::new("git").current_dir(&self.bare).args(["commit-tree", &tree, "-m", "raw"]), &[]);
        let branch = format!("refs/heads/{name}");
        run(Command::new("git").current_dir(&self.bare).args(["update-ref", &branch, &commit]), &[]);
        commit
    }
}

fn run(command: &mut Command, input: &[u8]) -> String {
    command
        .env_remove("GIT_DIR")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_NAME", "Tester")
        .env("GIT_AUTHOR_EMAIL", "tester@example.com")
        .env("GIT_COMMITTER_NAME", "Tester")
        .env("GIT_COMMITTER_EMAIL", "tester@example.com")
        .env("GIT_AUTHOR_DATE", "2024-01-01T00:00:00Z")
        .env("GIT_COMMITTER_DATE", "2024-01-01T00:00:00Z")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "protocol.file.allow")
        .env("GIT_CONFIG_VALUE_0", "always")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut program = command.spawn().expect("these tests need git");
    program.stdin.take().unwrap().write_all(input).unwrap();
    let output = program.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
