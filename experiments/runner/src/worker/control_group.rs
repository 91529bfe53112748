//! A control group for each worker, where the system has handed a part of its tree over to this process (version 2 of Linux's).
//!
//! The kernel then counts what a worker and its descendants really hold, where a limit on addresses counts what they only reserve. One that
//! goes beyond is killed with all its descendants; the group remembers that, so that its `oom` row can name the limit.
//!
//! A group with limited children must have no processes itself, so the runner first moves into a child of its own, and back at the end.
//! Where any of that is refused (another version, nothing delegated, other processes in the group), there are no groups, and the limit is
//! one on addresses.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use crossover_core::control_groups::own_and_above;

/// The part of the tree that is ours.
#[derive(Debug)]
pub struct ControlGroups {
    home: PathBuf,
    own: PathBuf,
}

impl ControlGroups {
    /// The group of this process on the machine whose `/proc` and `/sys` are below `root`, prepared for limited children; `None` where
    /// that cannot be.
    pub fn take_over(root: &Path) -> Option<Self> {
        let home = own_and_above(root, "memory").into_iter().next()?;
        // The top of the tree has no limit of its own: it is the system's, and nobody delegates it.
        let is_limitable = home.join("memory.max").exists();
        let controllers = fs::read_to_string(home.join("cgroup.controllers")).ok()?;
        if !is_limitable || !controllers.split_whitespace().any(|name| name == "memory") {
            return None;
        }
        let own = home.join(format!("crossover-{}", process::id()));
        make(&own).ok()?;
        let groups = Self { home, own };
        // Dropped, it takes back what it could do.
        groups.enter().ok().map(|()| groups)
    }

    fn enter(&self) -> io::Result<()> {
        join(&self.own, process::id())?;
        fs::write(self.home.join("cgroup.subtree_control"), "+memory")
    }

    /// Puts a worker that has just been started into a group of its own, with so many bytes.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn limit(&self, worker: u32, bytes: u64) -> io::Result<ControlGroup> {
        let path = self.home.join(format!("crossover-{}-worker-{worker}", process::id()));
        make(&path)?;
        let group = ControlGroup { path, bytes };
        fs::write(group.path.join("memory.max"), bytes.to_string())?;
        fs::write(group.path.join("memory.oom.group"), "1")?;
        // A kernel without swap has no such file.
        let _ = fs::write(group.path.join("memory.swap.max"), "0");
        join(&group.path, worker)?;
        Ok(group)
    }
}

impl Drop for ControlGroups {
    fn drop(&mut self) {
        // In this order, or the kernel refuses. What it refuses all the same goes with the group that was delegated.
        let _ = fs::write(self.home.join("cgroup.subtree_control"), "-memory");
        let _ = join(&self.home, process::id());
        let _ = fs::remove_dir(&self.own);
    }
}

/// One worker's group. Drop it when the worker and its descendants have been reaped.
#[derive(Debug)]
pub struct ControlGroup {
    path: PathBuf,
    bytes: u64,
}

impl ControlGroup {
    /// The limit, where the kernel has killed for it.
    pub fn limit_that_killed(&self) -> Option<u64> {
        let events = fs::read_to_string(self.path.join("memory.events")).ok()?;
        let times = |event: &str| events.lines().find_map(|line| line.strip_prefix(event)?.strip_prefix(' ')?.parse::<u64>().ok());
        // `oom_kill` alone may be for want of memory on the whole machine, `oom` is about this group's limit.
        let has = |event| times(event).is_some_and(|times| times > 0);
        (has("oom") && has("oom_kill")).then_some(self.bytes)
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // Somebody who left the worker's process group may still be in it; then the group stays, with its limit.
        let _ = fs::remove_dir(&self.path);
    }
}

/// Makes a group. One of that name may be left from a runner that was killed: the kernel removes it where nobody is in it any more.
fn make(group: &Path) -> io::Result<()> {
    match fs::create_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::remove_dir(group).and_then(|()| fs::create_dir(group)),
        made => made,
    }
}

fn join(group: &Path, process: u32) -> io::Result<()> {
    fs::write(group.join("cgroup.procs"), process.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree of plain files. The kernel's own behaves otherwise in that a group can be removed with its files in it.
    fn tree(own: &str, controllers: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("sys/fs/cgroup/user/run.scope");
        fs::create_dir_all(&home).unwrap();
        fs::create_dir_all(root.path().join("proc/self")).unwrap();
        fs::write(root.path().join("proc/self/cgroup"), own).unwrap();
        fs::write(home.join("cgroup.controllers"), controllers).unwrap();
        fs::write(home.join("memory.max"), "max\n").unwrap();
        root
    }

    #[test]
    fn each_worker_gets_a_group_with_its_limit_and_the_runner_one_without() {
        let root = tree("1:name=systemd:/\n0::/user/run.scope\n", "cpu memory pids\n");
        let home = root.path().join("sys/fs/cgroup/user/run.scope");
        let read = |path: &str| fs::read_to_string(home.join(path)).unwrap();
        let groups = ControlGroups::take_over(root.path()).unwrap();
        let own = format!("crossover-{}", process::id());
        assert_eq!(read(&format!("{own}/cgroup.procs")), process::id().to_string());
        assert_eq!(read("cgroup.subtree_control"), "+memory");
        let worker = groups.limit(77, 1 << 30).unwrap();
        let figures =
            ["memory.max", "memory.oom.group", "memory.swap.max", "cgroup.procs"].map(|file| read(&format!("{own}-worker-77/{file}")));
        assert_eq!(figures, ["1073741824", "1", "0", "77"]);
        assert!(groups.limit(77, 1).is_err(), "one worker, one group");
        fs::create_dir(home.join(format!("{own}-worker-78"))).unwrap();
        assert!(groups.limit(78, 1).is_ok(), "what a killed runner left is taken over");
        assert_eq!(worker.limit_that_killed(), None, "the kernel does not tell");
        for (events, limit) in [
            ("low 0\noom 0\noom_kill 1\noom_group_kill 1\n", None),
            ("max 9\noom 1\noom_kill 0\n", None),
            ("max 9\noom 1\noom_kill 3\n", Some(1 << 30)),
        ] {
            fs::write(home.join(format!("{own}-worker-77/memory.events")), events).unwrap();
            assert_eq!(worker.limit_that_killed(), limit, "{events}");
        }
        drop(worker);
        drop(groups);
        assert_eq!((read("cgroup.subtree_control"), read("cgroup.procs")), ("-memory".to_owned(), process::id().to_string()));
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        for (own, controllers) in
            [("4:memory:/user/run.scope\n", "memory"), ("0::/user/run.scope\n", "cpu pids"), ("0::/\n", "memory"), ("0::/gone\n", "memory")]
        {
            let root = tree(own, controllers);
            assert!(ControlGroups::take_over(root.path()).is_none(), "{own}");
            let entries = fs::read_dir(root.path().join("sys/fs/cgroup/user/run.scope")).unwrap().count();
            assert_eq!(entries, 2, "{own}: nothing was made");
        }
        assert!(ControlGroups::take_over(&tempfile::tempdir().unwrap().path().join("nothing")).is_none());
    }
}
