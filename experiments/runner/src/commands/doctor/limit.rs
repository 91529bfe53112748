//! How `memory_limit_mb` would hold a worker here: by a control group, which counts what it takes, or by a limit on its addresses.

use std::path::Path;

use super::Finding;
use crate::worker::control_group::ControlGroups;

/// Looks at the groups whose `/proc` and `/sys` are below `root`. What a run would do is done, and taken back.
pub(super) fn examine(root: &Path) -> Finding {
    match ControlGroups::take_over(root) {
        Some(_) => Finding::good("limit", "on what a worker takes: each gets a control group"),
        None => {
            let advice = "an engine that reserves more memory than it takes is out of it early; where systemd runs, \
                          `systemd-run --user --scope -p Delegate=yes` before the command hands control groups over";
            Finding::note("limit", "on what a worker reserves: no control group is handed over to this process", advice)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Verdict;
    use super::*;

    #[test]
    fn the_limit_that_a_run_would_set_is_told() {
        let root = tempfile::tempdir().unwrap();
        let (proc, group) = (root.path().join("proc/self"), root.path().join("sys/fs/cgroup/run.scope"));
        for folder in [&proc, &group] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(proc.join("cgroup"), "0::/run.scope\n").unwrap();
        fs::write(group.join("memory.max"), "max\n").unwrap();
        fs::write(group.join("cgroup.controllers"), "cpu pids\n").unwrap();
        let told = || {
            let finding = examine(root.path());
            (finding.verdict, finding.found.split(':').next().unwrap().to_owned())
        };
        assert_eq!(told(), (Verdict::Note, "on what a worker reserves".into()));
        fs::write(group.join("cgroup.controllers"), "cpu memory\n").unwrap();
        assert_eq!(told(), (Verdict::Good, "on what a worker takes".into()));
        assert_eq!(fs::read_to_string(group.join("cgroup.subtree_control")).unwrap(), "-memory", "it was taken back");
    }
}
