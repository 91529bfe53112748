//! How much memory there is to be had, as Linux tells it: before anything is started that could take more.
//!
//! Everything is read below a root, so that tests can bring a tree of their own. What is not there, or reads as something else, is absent.

use std::fs;
use std::path::Path;

use crate::control_groups::own_and_above;

/// Memory that could be had right now without swapping, on the machine whose `/proc` and `/sys` are below `root`: what the kernel
/// estimates, or less where a control group of this process, such as a container's, leaves less.
pub fn available(root: &Path) -> Option<u64> {
    let machine = kibibytes(&fs::read_to_string(root.join("proc/meminfo")).ok()?, "MemAvailable")?;
    own_and_above(root, "memory").iter().filter_map(|group| room(group)).chain([machine]).min()
}

/// What is left of a group's limit, in the files of either version. Pages of files that nobody has used lately are counted as free, as the
/// kernel gives them up first.
fn room(group: &Path) -> Option<u64> {
    let read = |file: &str| fs::read_to_string(group.join(file)).ok();
    // Without a limit this is no number, or one beyond any machine.
    let figure = |files: [&str; 2]| files.into_iter().find_map(read)?.trim().parse::<u64>().ok();
    let limit = figure(["memory.max", "memory.limit_in_bytes"])?;
    let used = figure(["memory.current", "memory.usage_in_bytes"])?;
    let statistics = read("memory.stat").unwrap_or_default();
    let of = |field: &str| statistics.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(' ')?.parse::<u64>().ok());
    // The first version counts the groups below apart.
    let idle = of("total_inactive_file").or_else(|| of("inactive_file")).unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(idle)))
}

/// Bytes of one field of `/proc/meminfo` or of a process's `status`: lines such as `MemTotal:  16303400 kB`.
pub fn kibibytes(text: &str, field: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    value.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use crate::testing::put;

    use super::*;

    #[test]
    fn fields_are_read_by_their_whole_name() {
        let text = "MemTotalish: 1 kB\nMemTotal:       16303400 kB\nHugePages_Total: 3\nHuge: 99999999999999999999 kB\n";
        assert_eq!(kibibytes(text, "MemTotal"), Some(16_303_400 * 1024));
        for field in ["Mem", "HugePages_Total", "Huge", "MemFree"] {
            assert_eq!(kibibytes(text, field), None, "{field}");
        }
    }

    #[test]
    fn what_is_available_is_the_containers_where_that_is_less() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        assert_eq!(available(root), None);
        put(root, "proc/meminfo", "MemTotal: 16000 kB\nMemAvailable:   8000 kB\n");
        assert_eq!(available(root), Some(8_192_000), "no groups");
        put(root, "proc/self/cgroup", "0::/\n");
        put(root, "sys/fs/cgroup/memory.max", "max\n");
        put(root, "sys/fs/cgroup/memory.current", "5000000\n");
        assert_eq!(available(root), Some(8_192_000), "no limit");
        put(root, "sys/fs/cgroup/memory.max", "6000000\n");
        assert_eq!(available(root), Some(1_000_000));
        put(root, "sys/fs/cgroup/memory.stat", "anon 3000000\ninactive_file 1500000\n");
        assert_eq!(available(root), Some(2_500_000));
        put(root, "sys/fs/cgroup/memory.max", "60000000\n");
        assert_eq!(available(root), Some(8_192_000), "the machine has less than the container may have");
    }

    #[test]
    fn the_tightest_of_the_groups_that_this_process_lies_in_counts() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        put(root, "proc/meminfo", "MemAvailable:   8000 kB\n");
        put(root, "proc/self/cgroup", "0::/run.slice/own.scope\n");
        for (group, limit, used) in [("run.slice", "5000000", "3000000"), ("run.slice/own.scope", "4000000", "1000000")] {
            put(root, &format!("sys/fs/cgroup/{group}/memory.max"), limit);
            put(root, &format!("sys/fs/cgroup/{group}/memory.current"), used);
        }
        assert_eq!(available(root), Some(2_000_000), "others in the slice have taken more than the scope has left");
        put(root, "sys/fs/cgroup/run.slice/memory.max", "max\n");
        assert_eq!(available(root), Some(3_000_000));
    }

    #[test]
    fn the_first_versions_files_are_read_too() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        put(root, "proc/meminfo", "MemAvailable:   8000 kB\n");
        put(root, "proc/self/cgroup", "4:memory:/x\n0::/\n");
        put(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        put(root, "sys/fs/cgroup/memory/memory.usage_in_bytes", "5000000\n");
        put(root, "sys/fs/cgroup/memory/x/memory.limit_in_bytes", "3000000\n");
        put(root, "sys/fs/cgroup/memory/x/memory.usage_in_bytes", "2000000\n");
        assert_eq!(available(root), Some(1_000_000));
        put(root, "sys/fs/cgroup/memory/x/memory.stat", "inactive_file 1\ntotal_inactive_file 500000\n");
        assert_eq!(available(root), Some(1_500_000));
    }
}
