//! Hands the compiler's version and the target to the program, for the build fingerprint in the records.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().ok();
    let version = version.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    println!("cargo:rustc-env=CROSSOVER_RUSTC={}", version.trim());
    for name in ["TARGET", "OPT_LEVEL", "CARGO_CFG_TARGET_FEATURE"] {
        println!("cargo:rustc-env=CROSSOVER_{name}={}", std::env::var(name).unwrap_or_default());
    }
}
