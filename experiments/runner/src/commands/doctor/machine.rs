//! What Linux tells about the machine's fitness for measuring. A file that is absent or unreadable gives "unknown".

use std::fs;
use std::path::Path;

use crossover_core::load::{load_average, stolen_share};
use crossover_core::memory::available;

use super::Finding;
use crate::commands::processors;
use crate::commands::text::counted;

/// Looks at the machine whose `/proc` and `/sys` are below `root`.
pub(super) fn examine(root: &Path) -> Vec<Finding> {
    let read = |path: &str| fs::read_to_string(root.join(path)).ok().map(|text| text.trim().to_owned());
    vec![
        cores(read("sys/devices/system/cpu/smt/active"), read("sys/devices/system/cpu/cpu0/topology/thread_siblings_list")),
        governor(read("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        turbo(read("sys/devices/system/cpu/intel_pstate/no_turbo"), read("sys/devices/system/cpu/cpufreq/boost")),
        load(load_average(root)),
        steal(stolen_share(root)),
        throttling(root),
        super::quota::examine(root),
        memory(available(root)),
    ]
}

/// The first core's siblings are a list such as `0,64` or `0-1`; itself is one of them.
fn cores(smt: Option<String>, siblings: Option<String>) -> Finding {
    let found = format!("{} for this process", counted(u64::from(processors()), "processor"));
    let shared = siblings.map(|list| if list.contains([',', '-']) { "1" } else { "0" });
    match smt.as_deref().or(shared) {
        Some("1") => {
            let advice = "simultaneous multithreading is on: two threads of one core disturb each other";
            Finding::note("cores", found, advice)
        }
        Some("0") => Finding::good("cores", found + ", no simultaneous multithreading"),
        _ => Finding::good("cores", found + ", simultaneous multithreading unknown"),
    }
}

fn governor(governor: Option<String>) -> Finding {
    match governor {
        None => Finding::unknown("governor"),
        Some(name) if name == "performance" => Finding::good("governor", name),
        Some(name) => Finding::note("governor", name, "`cpupower frequency-set -g performance` keeps the frequency up"),
    }
}

fn turbo(no_turbo: Option<String>, boost: Option<String>) -> Finding {
    let is_on = match (no_turbo.as_deref(), boost.as_deref()) {
        (Some("1"), _) | (None, Some("0")) => false,
        (Some("0"), _) | (None, Some("1")) => true,
        _ => return Finding::unknown("turbo"),
    };
    match is_on {
        true => {
            Finding::note("turbo", "on", "the frequency depends on the temperature; interleaving evens it out, switching it off removes it")
        }
        false => Finding::good("turbo", "off"),
    }
}

fn load(load: Option<f64>) -> Finding {
    let Some(load) = load else { return Finding::unknown("load") };
    let found = format!("{load:.2} over the last minute");
    match load > 0.5 * f64::from(processors()) {
        true => Finding::note("load", found, "other programs compete for the cores: end them, or expect wide intervals"),
        false => Finding::good("load", found),
    }
}

fn steal(share: Option<f64>) -> Finding {
    let Some(share) = share.map(|share| 100.0 * share) else { return Finding::unknown("steal") };
    let found = format!("{share:.2} % of the time since boot");
    match share > 1.0 {
        true => Finding::note(
            "steal",
            found,
            "other guests share this processor: samples that they disturb are marked, and intervals are wider",
        ),
        false => Finding::good("steal", found),
    }
}

fn throttling(root: &Path) -> Finding {
    let Ok(cpus) = root.join("sys/devices/system/cpu").read_dir() else { return Finding::unknown("throttling") };
    let counts: Vec<u64> = cpus
        .flatten()
        .filter_map(|cpu| fs::read_to_string(cpu.path().join("thermal_throttle/core_throttle_count")).ok()?.trim().parse().ok())
        .collect();
    match counts.iter().fold(0u64, |sum, count| sum.saturating_add(*count)) {
        _ if counts.is_empty() => Finding::unknown("throttling"),
        0 => Finding::good("throttling", "none since boot"),
        times => {
            Finding::note("throttling", format!("{times} times since boot"), "the processor gets too hot: better cooling, or fewer threads")
        }
    }
}

fn memory(available: Option<u64>) -> Finding {
    const TIGHT: u64 = 2 << 30;
    const TOO_LITTLE: u64 = 128 << 20;
    let Some(bytes) = available else { return Finding::unknown("memory") };
    let found = format!("{:.1} GiB available", bytes as f64 / (1u64 << 30) as f64);
    match bytes {
        ..TOO_LITTLE => Finding::problem("memory", found, "end other programs: even small cells would be killed"),
        TOO_LITTLE..TIGHT => Finding::note("memory", found, "large cells may be out of memory; they become rows that say so"),
        _ => Finding::good("memory", found),
    }
}

#[cfg(test)]
mod tests {
    use crossover_core::testing::put;

    use super::super::Verdict;
    use super::*;

    fn machine(files: &[(&str, &str)]) -> Vec<Finding> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            put(root.path(), path, text);
        }
        examine(root.path())
    }

    fn verdict(findings: &[Finding], subject: &str) -> (Verdict, String) {
        let finding = findings.iter().find(|finding| finding.subject == subject).unwrap();
        (finding.verdict, finding.found.clone())
    }

    #[test]
    fn a_machine_that_tells_nothing_is_unknown_and_not_a_problem() {
        let findings = machine(&[]);
        assert!(findings.iter().all(|finding| finding.verdict == Verdict::Good), "{findings:?}");
        for subject in ["governor", "turbo", "load", "steal", "throttling", "quota", "memory"] {
            assert_eq!(verdict(&findings, subject).1, "unknown");
        }
    }

    #[test]
    fn a_noisy_machine_gets_notes() {
        let findings = machine(&[
            ("sys/devices/system/cpu/smt/active", "1\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n"),
            ("sys/devices/system/cpu/intel_pstate/no_turbo", "0\n"),
            ("proc/loadavg", "99.50 1.0 1.0 1/1 1\n"),
            ("proc/stat", "cpu  50 0 20 20 0 0 0 10 0 0\ncpu0 1 2 3\n"),
            ("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "3\n"),
            ("sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count", "4\n"),
            ("proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable:    1048576 kB\n"),
        ]);
        for (subject, found) in [
            ("governor", "powersave"),
            ("turbo", "on"),
            ("load", "99.50 over the last minute"),
            ("steal", "10.00 % of the time since boot"),
            ("throttling", "7 times since boot"),
            ("memory", "1.0 GiB available"),
        ] {
            assert_eq!(verdict(&findings, subject), (Verdict::Note, found.to_owned()));
        }
        assert_eq!(verdict(&findings, "cores").0, Verdict::Note);
    }

    #[test]
    fn a_core_with_a_sibling_is_told_by_its_topology_too() {
        let with = |list: &str| verdict(&machine(&[("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", list)]), "cores").0;
        assert_eq!((with("0,64\n"), with("0-1\n"), with("0\n")), (Verdict::Note, Verdict::Note, Verdict::Good));
    }

    #[test]
    fn a_quiet_machine_is_good() {
        let findings = machine(&[
            ("sys/devices/system/cpu/smt/active", "0"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance"),
            ("sys/devices/system/cpu/cpufreq/boost", "0"),
            ("proc/loadavg", "0.01 1.0 1.0 1/1 1"),
            ("proc/stat", "cpu  50 0 20 20 0 0 0 0"),
            ("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "0"),
            ("proc/meminfo", "MemAvailable: 4194304 kB"),
        ]);
        assert!(findings.iter().all(|finding| finding.verdict == Verdict::Good && finding.advice.is_empty()), "{findings:?}");
    }

    #[test]
    fn garbage_in_the_files_is_unknown() {
        let findings = machine(&[
            ("proc/stat", "cpu x"),
            ("proc/loadavg", ""),
            ("proc/meminfo", "MemAvailable: lots"),
            ("sys/devices/system/cpu/cpufreq/boost", "maybe"),
        ]);
        for subject in ["steal", "load", "memory", "turbo"] {
            assert_eq!(verdict(&findings, subject).1, "unknown");
        }
    }
}
