//! How busy the machine is, as Linux tells it: for what a run says of its own conditions.
//!
//! Everything is read below a root, so that tests can bring a tree of their own. What is not there, or reads as something else, is absent.

use std::fs;
use std::path::Path;

/// One tick of `/proc/stat`: a hundredth of a second on every Linux, whatever the kernel's own clock.
const TICK_NS: u64 = 10_000_000;

/// Nanoseconds that the hypervisor gave to others since boot, all cores together, in steps of ten milliseconds.
pub fn stolen_ns(root: &Path) -> Option<u64> {
    // cpu user nice system idle iowait irq softirq steal ..
    let text = fs::read_to_string(root.join("proc/stat")).ok()?;
    let ticks: u64 = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace().nth(7)?.parse().ok()?;
    ticks.checked_mul(TICK_NS)
}

/// Threads that ran or waited for a processor, averaged over the last minute.
pub fn load_average(root: &Path) -> Option<f64> {
    let load: f64 = fs::read_to_string(root.join("proc/loadavg")).ok()?.split(' ').next()?.parse().ok()?;
    load.is_finite().then_some(load)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_where_they_stand() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!((stolen_ns(root.path()), load_average(root.path())), (None, None));
        fs::create_dir(root.path().join("proc")).unwrap();
        fs::write(root.path().join("proc/stat"), "cpu  50 0 20 20 0 0 0 10 0 0\ncpu0 1 2 3\n").unwrap();
        fs::write(root.path().join("proc/loadavg"), "0.25 1.0 1.0 1/1 1\n").unwrap();
        assert_eq!((stolen_ns(root.path()), load_average(root.path())), (Some(100_000_000), Some(0.25)));
        fs::write(root.path().join("proc/stat"), "cpu x").unwrap();
        fs::write(root.path().join("proc/loadavg"), "inf").unwrap();
        assert_eq!((stolen_ns(root.path()), load_average(root.path())), (None, None));
    }
}
