//! Hands the compiler's version and the target to the program, for the build fingerprint in the records, and has the linker write a build id.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().ok();
    let version = version.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    println!("cargo:rustc-env=CROSSOVER_RUSTC={}", version.trim());
    // Most linkers do so unasked; what a build is known by is not left to their defaults.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo:rustc-link-arg=-Wl,--build-id=sha1");
    }
    for name in ["TARGET", "OPT_LEVEL", "CARGO_CFG_TARGET_FEATURE"] {
        println!("cargo:rustc-env=CROSSOVER_{name}={}", std::env::var(name).unwrap_or_default());
    }
}
