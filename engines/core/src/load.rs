//! How busy the machine is, as Linux tells it: for what a run says of its own conditions.
//!
//! Everything is read below a root, so that tests can bring a tree of their own. What is not there, or reads as something else, is absent.

use std::fs;
use std::path::Path;

/// One tick of `/proc/stat`: a hundredth of a second on every Linux, whatever the kernel's own clock.
const TICK_NS: u64 = 10_000_000;

/// Nanoseconds that the hypervisor gave to others since boot, all cores together, in steps of ten milliseconds.
pub fn stolen_ns(root: &Path) -> Option<u64> {
    ticks(root)?[STEAL].checked_mul(TICK_NS)
}

/// The share of all cores' time since boot that the hypervisor gave to others.
pub fn stolen_share(root: &Path) -> Option<f64> {
    let ticks = ticks(root)?;
    let total = ticks.iter().fold(0u64, |sum, count| sum.saturating_add(*count)).max(1);
    Some(ticks[STEAL] as f64 / total as f64)
}

/// user nice system idle iowait irq softirq steal; guest time, which follows, is counted in user.
const KINDS: usize = 8;
const STEAL: usize = 7;

/// What all cores together have spent on each kind of work.
fn ticks(root: &Path) -> Option<[u64; KINDS]> {
    let text = fs::read_to_string(root.join("proc/stat")).ok()?;
    let mut fields = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace().map(str::parse);
    let mut ticks = [0; KINDS];
    for count in &mut ticks {
        *count = fields.next()?.ok()?;
    }
    Some(ticks)
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
        assert_eq!(stolen_share(root.path()), Some(0.1));
        fs::write(root.path().join("proc/stat"), "cpu  0 0 0 0 0 0 0 0\n").unwrap();
        assert_eq!(stolen_share(root.path()), Some(0.0), "just booted");
        fs::write(root.path().join("proc/stat"), "cpu x").unwrap();
        fs::write(root.path().join("proc/loadavg"), "inf").unwrap();
        assert_eq!((stolen_ns(root.path()), load_average(root.path())), (None, None));
        fs::write(root.path().join("proc/stat"), "cpu  1 2 3 4 5 6 7\n").unwrap();
        assert_eq!((stolen_ns(root.path()), stolen_share(root.path())), (None, None), "too old a kernel to tell");
    }
}
