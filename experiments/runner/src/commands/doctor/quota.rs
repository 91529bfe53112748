//! Whether the control group of this process may stop it in the middle of a sample: a quota of processor time, as containers have it.

use std::fs;
use std::path::Path;

use crossover_core::control_groups::own_and_above;

use super::Finding;
use crate::commands::text::counted;

/// Looks at the groups whose `/proc` and `/sys` are below `root`.
pub(super) fn examine(root: &Path) -> Finding {
    let groups = own_and_above(root, "cpu");
    let Some((group, share)) = groups.iter().find_map(|group| Some((group, quota(group)?))) else {
        return match groups.iter().any(|group| group.join("cpu.stat").is_file()) {
            true => Finding::good("quota", "none: this control group may use the processors all the time"),
            false => Finding::unknown("quota"),
        };
    };
    let throttled = throttled(group).map_or_else(String::new, |times| format!(", throttled {} so far", counted(times, "time")));
    let advice =
        "a program that has used up its quota is stopped, in the middle of a sample too: run outside of the container, or raise it";
    Finding::note("quota", format!("{share:.2} processors{throttled}"), advice)
}

/// Processors' worth of time that a group may use, where it is bounded.
fn quota(group: &Path) -> Option<f64> {
    let read = |file: &str| fs::read_to_string(group.join(file)).ok();
    let microseconds = |text: &str| text.trim().parse::<f64>().ok().filter(|time| *time > 0.0);
    let (quota, period) = match read("cpu.max") {
        Some(both) => {
            let (quota, period) = both.trim().split_once(' ')?;
            (microseconds(quota)?, microseconds(period)?)
        }
        // Without a quota this is -1.
        None => (microseconds(&read("cpu.cfs_quota_us")?)?, microseconds(&read("cpu.cfs_period_us")?)?),
    };
    Some(quota / period)
}

fn throttled(group: &Path) -> Option<u64> {
    let text = fs::read_to_string(group.join("cpu.stat")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("nr_throttled "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use crossover_core::testing::put;

    use super::super::Verdict;
    use super::*;

    fn found(files: &[(&str, &str)]) -> (Verdict, String) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            put(root.path(), path, text);
        }
        let finding = examine(root.path());
        (finding.verdict, finding.found)
    }

    const GROUP: (&str, &str) = ("proc/self/cgroup", "0::/a/b\n");

    #[test]
    fn a_quota_is_found_wherever_it_stands_above() {
        let quota = ("sys/fs/cgroup/a/cpu.max", "150000 100000\n");
        let stat = ("sys/fs/cgroup/a/cpu.stat", "nr_periods 9\nnr_throttled 7\n");
        let own = ("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
        let expected = (Verdict::Note, "1.50 processors, throttled 7 times so far".to_owned());
        assert_eq!(found(&[GROUP, own, quota, stat]), expected);
    }

    #[test]
    fn the_first_version_has_a_quota_of_its_own() {
        let group = ("proc/self/cgroup", "3:cpuset:/\n2:cpu,cpuacct:/x\n0::/\n");
        let folder = "sys/fs/cgroup/cpu,cpuacct/x";
        let (quota, period) = (format!("{folder}/cpu.cfs_quota_us"), format!("{folder}/cpu.cfs_period_us"));
        assert_eq!(found(&[group, (&quota, "50000\n"), (&period, "100000\n")]), (Verdict::Note, "0.50 processors".to_owned()));
        let stat = format!("{folder}/cpu.stat");
        let (verdict, text) = found(&[group, (&quota, "-1\n"), (&period, "100000\n"), (&stat, "nr_throttled 0\n")]);
        assert_eq!(verdict, Verdict::Good);
        assert!(text.starts_with("none"), "{text}");
    }

    #[test]
    fn what_is_not_there_or_is_garbage_is_unknown() {
        for files in [&[][..], &[GROUP], &[GROUP, ("sys/fs/cgroup/a/b/cpu.max", "lots")], &[("proc/self/cgroup", "x")]] {
            assert_eq!(found(files), (Verdict::Good, "unknown".to_owned()), "{files:?}");
        }
    }
}
