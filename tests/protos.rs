//! The protobuf definitions: the checked-in code is what they generate, and they are what Fabric speaks.

use std::path::{Path, PathBuf};

/// Where the definitions lie and what is generated from them.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn definitions(below: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(below).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            definitions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    found.sort();
}

/// Compiles `fabric-protos` and compares with `proto/gen`; with `UPDATE=1` rewrites it.
#[test]
fn generated_code_is_current() {
    let protos = root().join("fabric-protos");
    let mut files = Vec::new();
    definitions(&protos, &mut files);
    let set = protox::compile(&files, [&protos]).unwrap();
    let out = tempfile::tempdir().unwrap();
    let mut config = tonic_prost_build::Config::new();
    config.btree_map(["."]).bytes(["."]);
    tonic_prost_build::configure()
        .build_transport(false)
        .out_dir(out.path())
        .compile_fds_with_config(set, config)
        .unwrap();
    let generated = root().join("proto/gen");
    let update = std::env::var_os("UPDATE").is_some();
    let names = |folder: &Path| {
        let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    for name in names(out.path()) {
        let fresh = std::fs::read_to_string(out.path().join(&name)).unwrap();
        let path = generated.join(&name);
        if update {
            std::fs::write(&path, &fresh).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == fresh, "{} is stale: run UPDATE=1 cargo test --test protos", path.display());
    }
    assert_eq!(names(&generated), names(out.path()), "proto/gen holds files that nothing generates");
}
