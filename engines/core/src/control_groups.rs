//! The control groups that this process is in: who is in one is bound by its limits and by those of all that it lies in.
//!
//! Both versions of Linux's groups are read, below a root, so that tests can bring a tree of their own. What a limit means is its
//! reader's business.

use std::fs;
use std::path::{Path, PathBuf};

/// The folders of the groups that hold this process to what `controller` counts: its own first, then those that it lies in, up to the top
/// of what is mounted. None where the system has no groups or does not tell.
pub fn own_and_above(root: &Path, controller: &str) -> Vec<PathBuf> {
    let Some((mounted, own)) = own(root, controller) else { return Vec::new() };
    own.ancestors().take_while(|group| group.starts_with(&mounted)).map(Path::to_path_buf).collect()
}

/// Where the tree is mounted and where this process is in it: that of the first version's controller, else that of the second version.
fn own(root: &Path, controller: &str) -> Option<(PathBuf, PathBuf)> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let lines = || text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let first = lines().find(|(controllers, _)| controllers.split(',').any(|name| name == controller));
    let (controllers, path) = first.or_else(|| lines().find(|(controllers, _)| controllers.is_empty()))?;
    let mounted = root.join("sys/fs/cgroup").join(controllers);
    let own = mounted.join(path.trim_start_matches('/'));
    // Inside a container the path may be that of the host, while its own group is what is mounted.
    let own = if own.is_dir() { own } else { mounted.clone() };
    Some((mounted, own))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(cgroup: &str, folders: &[&str], controller: &str) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("proc/self")).unwrap();
        fs::write(root.join("proc/self/cgroup"), cgroup).unwrap();
        folders.iter().for_each(|folder| fs::create_dir_all(root.join("sys/fs/cgroup").join(folder)).unwrap());
        let below = |group: PathBuf| group.strip_prefix(root.join("sys/fs")).unwrap().display().to_string();
        own_and_above(root, controller).into_iter().map(below).collect()
    }

    #[test]
    fn the_own_group_comes_first_and_the_top_last() {
        assert_eq!(found("0::/a/b\n", &["a/b"], "cpu"), ["cgroup/a/b", "cgroup/a", "cgroup"]);
        assert_eq!(found("0::/\n", &["a"], "memory"), ["cgroup"]);
        let both = "3:cpuset:/\n2:cpu,cpuacct:/x\n0::/y\n";
        assert_eq!(found(both, &["cpu,cpuacct/x", "y"], "cpu"), ["cgroup/cpu,cpuacct/x", "cgroup/cpu,cpuacct"]);
        assert_eq!(found(both, &["cpu,cpuacct/x", "y"], "memory"), ["cgroup/y", "cgroup"]);
    }

    #[test]
    fn in_a_container_the_group_is_what_is_mounted() {
        assert_eq!(found("0::/docker/0123\n", &[], "memory"), ["cgroup"]);
        assert_eq!(found("4:memory:/docker/0123\n", &["memory"], "memory"), ["cgroup/memory"]);
    }

    #[test]
    fn what_the_system_does_not_tell_is_no_group() {
        assert!(found("", &["a"], "cpu").is_empty() && found("x\ny:z\n", &["a"], "cpu").is_empty());
        assert!(own_and_above(&tempfile::tempdir().unwrap().path().join("nothing"), "cpu").is_empty());
    }
}
