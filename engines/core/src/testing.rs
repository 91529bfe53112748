//! What the tests of several crates ask of the machine that they run on, or put in its place.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// True if CROSSOVER_SLOW is 1: the slow tier, which takes longer and asks for more.
pub fn slow_tier() -> bool {
    std::env::var_os("CROSSOVER_SLOW").is_some_and(|value| value == "1")
}

/// Time for which a process's first thread was ready to run and others had the processors; none where the system does not tell.
pub fn queued_time(pid: u32) -> Duration {
    let status = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    Duration::from_nanos(status.split_whitespace().nth(1).and_then(|ns| ns.parse().ok()).unwrap_or(0))
}

/// Writes a file of a tree that stands for the system's, with the folders above it.
///
/// # Panics
/// If it cannot be written.
pub fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    let folder = path.parent().expect("a file lies in a folder");
    fs::create_dir_all(folder).and_then(|()| fs::write(&path, text)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
