//! How the machine was while a batch was taken: stolen time, load, involuntary switches, frequency.
//!
//! Read from `/proc` and `/sys`. The clock rate that `/proc/cpuinfo` names is not taken for the frequency: in virtual machines it is a
//! constant.

use std::fs;
use std::path::{Path, PathBuf};

use crossover_core::load::{load_average, stolen_ns};
use crossover_protocol::Conditions;

use crate::processor;

/// The trees that are read.
pub struct Surroundings {
    root: PathBuf,
}

/// What only its change tells anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    stolen_ns: Option<u64>,
    switches: Option<u64>,
}

impl Surroundings {
    /// `/proc` and `/sys` below `root`.
    pub fn under(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The figures that this machine does not tell, and those that it does.
    pub fn absent(&self) -> [(&'static str, Option<String>); 4] {
        let missing = |found: bool, file: &str| (!found).then(|| format!("{file} is not there, or says nothing"));
        let now = self.read();
        [
            ("steal_ns", missing(now.stolen_ns.is_some(), "/proc/stat")),
            ("load_average", missing(load_average(&self.root).is_some(), "/proc/loadavg")),
            ("involuntary_switches", missing(now.switches.is_some(), "/proc/self/task")),
            ("frequency_khz", missing(self.frequency().is_some(), "cpufreq/scaling_cur_freq of the processor")),
        ]
    }

    /// The figures now.
    pub fn read(&self) -> Reading {
        Reading { stolen_ns: stolen_ns(&self.root), switches: self.switches() }
    }

    /// What has changed since, and how the machine is.
    pub fn since(&self, before: &Reading) -> Conditions {
        let now = self.read();
        // A thread that ended took its switches with it: a sum that shrinks says nothing.
        let gained = |before: Option<u64>, now: Option<u64>| now?.checked_sub(before?);
        Conditions {
            steal_ns: gained(before.stolen_ns, now.stolen_ns),
            load_average: load_average(&self.root),
            involuntary_switches: gained(before.switches, now.switches),
            frequency_khz: self.frequency(),
            ..Conditions::default()
        }
    }

    /// Of all threads of this process.
    fn switches(&self) -> Option<u64> {
        let of = |status: String| -> Option<u64> {
            status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"))?.trim().parse().ok()
        };
        let threads = fs::read_dir(self.root.join("proc/self/task")).ok()?.flatten();
        // A thread may end between the listing and the reading.
        let counts: Vec<u64> = threads.filter_map(|thread| of(fs::read_to_string(thread.path().join("status")).ok()?)).collect();
        (!counts.is_empty()).then(|| counts.iter().fold(0u64, |sum, count| sum.saturating_add(*count)))
    }

    /// Of the processor that this thread runs on.
    fn frequency(&self) -> Option<u64> {
        let file = format!("sys/devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq", processor::current());
        fs::read_to_string(self.root.join(file)).ok()?.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use crossover_core::testing::put;

    use super::*;

    #[test]
    fn what_has_changed_is_told_and_what_is_not_there_is_not() {
        let root = tempfile::tempdir().unwrap();
        let surroundings = Surroundings::under(root.path());
        assert_eq!(surroundings.since(&surroundings.read()), Conditions::default());
        assert!(surroundings.absent().iter().all(|(_, reason)| reason.is_some()));
        let busy = |stolen: u64, switches: u64| {
            put(root.path(), "proc/stat", &format!("cpu  50 0 20 20 0 0 0 {stolen} 0 0\n"));
            put(root.path(), "proc/loadavg", "1.5 1.0 1.0 1/1 1\n");
            for thread in ["7", "9"] {
                let status = format!("Name:\tx\nvoluntary_ctxt_switches:\t99\nnonvoluntary_ctxt_switches:\t{switches}\n");
                put(root.path(), &format!("proc/self/task/{thread}/status"), &status);
            }
            for core in 0..1024 {
                put(root.path(), &format!("sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq"), "2600000\n");
            }
        };
        busy(10, 4);
        let before = surroundings.read();
        busy(13, 6);
        let conditions = surroundings.since(&before);
        assert_eq!((conditions.steal_ns, conditions.involuntary_switches), (Some(30_000_000), Some(4)));
        assert_eq!((conditions.load_average, conditions.frequency_khz), (Some(1.5), Some(2_600_000)));
        assert!(surroundings.absent().iter().all(|(_, reason)| reason.is_none()));
        busy(13, 1);
        assert_eq!(surroundings.since(&before).involuntary_switches, None);
    }
}
