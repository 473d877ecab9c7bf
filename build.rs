//! Links the shipped program so that what it runs while it waits lies together: see `src/idle.ld`.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/idle.ld");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|set| set == value);
    // Of all profiles the one that ships is the one that is optimized for size. Linkers elsewhere know no such scripts.
    let ships = is("OPT_LEVEL", "s") && is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    let layout = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/idle.ld");
    if ships && layout.exists() {
        println!("cargo::rustc-link-arg-bin=opssc-agent=-T");
        println!("cargo::rustc-link-arg-bin=opssc-agent={}", layout.display());
    }
}
