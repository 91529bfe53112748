//! One core for both processes of a pair.
//!
//! The cores of a shared machine are not equally fast: each has neighbours of its own, which come and go within hundredths of a second. A process on one core
//! and a process on another meet different ones, so rounds in which both take turns do not meet the same disturbance after all. On one core they do, and what they
//! hand to each other does not wait for another core to wake up. So while a pair of one-threaded workers is measured, this thread stays on one core, drawn by lot, and with it
//! the processes that it starts: what a thread may run on is inherited.
//!
//! [`super::pair`] has what it brings. Workers of more threads need more cores and go where they are put.

#[cfg(target_os = "linux")]
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::schedule::random::Random;

/// While this lives, its thread and the processes and threads that this one starts stay on one core.
#[cfg(target_os = "linux")]
pub struct OneCore {
    before: CpuSet,
}

#[cfg(target_os = "linux")]
impl OneCore {
    /// On one of the cores that this thread may use; none where the system does not let it choose, which makes pairs noisier and no less right.
    pub fn stay(random: &mut Random) -> Option<Self> {
        let before = sched_getaffinity(None).ok()?;
        let allowed: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| before.is_set(*core)).collect();
        let mut only = CpuSet::new();
        only.set(*allowed.get(random.below(allowed.len().max(1)))?);
        sched_setaffinity(None, &only).ok().map(|()| Self { before })
    }
}

#[cfg(target_os = "linux")]
impl Drop for OneCore {
    fn drop(&mut self) {
        // Cores that were taken away in the meantime are left out by the system.
        let _ = sched_setaffinity(None, &self.before);
    }
}

/// Other systems do not say which core runs what.
#[cfg(not(target_os = "linux"))]
pub struct OneCore;

#[cfg(not(target_os = "linux"))]
impl OneCore {
    /// Nowhere.
    pub fn stay(_random: &mut Random) -> Option<Self> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::collections::BTreeSet;
    use std::process::{Command, Stdio};

    use super::*;

    /// As the kernel tells a process that is started now.
    fn cores_of_a_child() -> String {
        let told = Command::new("grep").args(["Cpus_allowed_list", "/proc/self/status"]).stdout(Stdio::piped()).output().unwrap();
        String::from_utf8(told.stdout).unwrap().split_whitespace().nth(1).unwrap().to_owned()
    }

    /// On a machine of one core this cannot fail.
    #[test]
    fn children_stay_on_one_core_and_later_ones_do_not() {
        let (before, mut random) = (cores_of_a_child(), Random::new(1));
        let mut drawn = BTreeSet::new();
        for _ in 0..40 {
            let _one = OneCore::stay(&mut random).unwrap();
            drawn.insert(cores_of_a_child());
        }
        assert!(drawn.iter().all(|core| core.parse::<usize>().is_ok()), "{drawn:?}");
        assert!(drawn.len() > 1 || before == *drawn.first().unwrap(), "{drawn:?} of {before}");
        assert_eq!(cores_of_a_child(), before);
    }
}
