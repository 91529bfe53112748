//! The gate's workshop, `target/gate` of the project.
//!
//! | | |
//! |---|---|
//! | `tree` | the worktree. It stays: a checkout writes the files that differ, and cargo compiles what hangs on them |
//! | `build` | the target folder of all builds |
//! | `workers/COMMIT-KEY` | finished programs, the last [`KEPT`] that were used. `KEY` stands for all else that may shape a build: programs, flags, compiler, environment |
//! | `lock` | whose turn it is |

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::errors::{bad_input, environment};

use super::lock::Lock;
use super::{Repository, Revision, git_in, last_lines, text};

/// The worker's file name, which is its package's name too.
pub const WORKER: &str = "crossover-worker";
/// The command's.
pub const COMMAND: &str = "crossover";

/// Builds that are kept: those of a worker take some 100 MB each.
const KEPT: usize = 8;

/// Where builds are made, by one gate at a time.
#[derive(Debug)]
pub struct Workshop<'a> {
    repository: &'a Repository<'a>,
    folder: PathBuf,
    _lock: Lock,
}

impl<'a> Workshop<'a> {
    /// That of a project; an error where another gate is in it.
    pub fn open(repository: &'a Repository<'a>) -> Result<Self> {
        let folder = repository.root.join("target/gate");
        std::fs::create_dir_all(&folder).map_err(|error| environment(format!("{} cannot be made: {error}", folder.display())))?;
        // Cargo and git are to say the same of a path, however the project was entered.
        let folder = folder.canonicalize().with_context(|| format!("{} cannot be found", folder.display()))?;
        let lock = Lock::take(&folder)?;
        Ok(Self { repository, folder, _lock: lock })
    }

    /// The worker of a revision, with these programs beside it: those that are there already, else built. `flags` go to cargo.
    pub fn worker(&self, revision: &Revision, programs: &[&str], flags: &[String], tell: &mut dyn FnMut(&str)) -> Result<PathBuf> {
        let key = blake3::hash(self.shape(programs, flags).as_bytes()).to_hex();
        let kept = self.folder.join("workers").join(format!("{}-{}", revision.commit, &key[..8]));
        if !programs.iter().all(|program| kept.join(program).is_file()) {
            tell(&format!("building {} of {}, once", programs.join(" and "), revision.told()));
            let tree = self.check_out(revision)?;
            let built = build(&tree, &self.folder.join("build"), programs, flags, revision)?;
            programs.iter().zip(built).try_for_each(|(program, built)| keep(&built, &kept.join(program)))?;
        }
        // Its time says when it was used last.
        std::fs::write(kept.join("used"), "").map_err(|error| environment(format!("{} cannot be written: {error}", kept.display())))?;
        self.forget_old();
        Ok(kept.join(WORKER))
    }

    /// All that may shape a build beside the commit.
    fn shape(&self, programs: &[&str], flags: &[String]) -> String {
        let compiler = Command::new("rustc").arg("-vV").current_dir(self.repository.root).stdin(Stdio::null()).output();
        // Without a compiler there is no build, and cargo says so.
        let compiler = compiler.map(|output| text(&output.stdout)).unwrap_or_default();
        let mut environment: Vec<String> = env::vars_os()
            .filter(|(name, _)| name.to_str().is_some_and(shapes_builds))
            .map(|(name, value)| format!("{name:?}={value:?}"))
            .collect();
        environment.sort_unstable();
        format!("{programs:?} {flags:?} {compiler} {environment:?} {:?}", own_settings(&self.folder))
    }

    /// The worktree, with the revision in it.
    fn check_out(&self, revision: &Revision) -> Result<PathBuf> {
        let tree = self.folder.join("tree");
        if !self.is_worktree(&tree)? {
            if tree.exists() {
                std::fs::remove_dir_all(&tree).map_err(|error| environment(format!("{} cannot be removed: {error}", tree.display())))?;
            }
            // By force, as it may be known from before somebody removed the folder.
            let add = ["worktree", "add", "--force", "--detach", "--no-checkout"].map(OsStr::new);
            let output = self.repository.git(add.into_iter().chain([tree.as_os_str(), revision.commit.as_ref()]))?;
            if !output.status.success() {
                return Err(environment(format!("git cannot make the worktree {}:\n{}", tree.display(), last_lines(&output.stderr))));
            }
        }
        let output = git_in(&tree, ["checkout", "--quiet", "--force", "--detach", &revision.commit])?;
        match output.status.success() {
            true => Ok(tree),
            false => {
                Err(environment(format!("git cannot check out {} in {}:\n{}", revision.told(), tree.display(), last_lines(&output.stderr))))
            }
        }
    }

    /// Is the folder a worktree of its own? Where its link is broken git would take the user's tree for it, and check out there.
    fn is_worktree(&self, tree: &Path) -> Result<bool> {
        if !tree.join(".git").is_file() {
            return Ok(false);
        }
        let output = git_in(tree, ["rev-parse", "--show-toplevel"])?;
        Ok(output.status.success() && Path::new(&text(&output.stdout)) == tree)
    }

    /// What cannot be removed stays: it is room on a disk, and no reason to end a gate.
    fn forget_old(&self) {
        let Ok(entries) = self.folder.join("workers").read_dir() else { return };
        let used = |folder: PathBuf| {
            let time = folder.join("used").metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            (time, folder)
        };
        let mut all: Vec<(SystemTime, PathBuf)> = entries.flatten().map(|entry| used(entry.path())).collect();
        all.sort_unstable();
        let most = all.len().saturating_sub(KEPT);
        all.into_iter().take(most).for_each(|(_, folder)| _ = std::fs::remove_dir_all(folder));
    }
}

/// What the user tells cargo for all projects, and what cargo reads above the worktree: the folders of the project that it lies in, as they are now. What the
/// revision itself tells it, and which compiler it asks for, is in the commit.
fn own_settings(workshop: &Path) -> Vec<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let folders = workshop.ancestors().map(|folder| folder.join(".cargo")).chain(home);
    folders
        .flat_map(|folder| ["config.toml", "config"].map(|file| folder.join(file)))
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .collect()
}

/// Does cargo, the compiler or a build script look at this variable? Where the build goes says nothing of what it becomes.
fn shapes_builds(name: &str) -> bool {
    let begins = ["CARGO_PROFILE_", "CARGO_BUILD_", "CARGO_TARGET_", "RUSTC"].iter().any(|prefix| name.starts_with(prefix));
    // Of C compilers, the `cc` crate asks for these alone, for the target (`CC_x86_64-unknown-linux-gnu`, `TARGET_CC`) and for the host (`HOST_CC`).
    const OF_C: [&str; 6] = ["CC", "CXX", "CFLAGS", "CXXFLAGS", "AR", "ARFLAGS"];
    let bare = name.strip_prefix("TARGET_").or_else(|| name.strip_prefix("HOST_")).unwrap_or(name);
    let is_of_c = OF_C.iter().any(|known| bare == *known || bare.strip_prefix(known).is_some_and(|rest| rest.starts_with('_')));
    let is_known = is_of_c || ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "LDFLAGS"].contains(&name);
    let is_place = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR", "CARGO_BUILD_BUILD_DIR", "CARGO_BUILD_JOBS"].contains(&name);
    (begins || is_known) && !is_place
}

/// Builds programs; their files, in the same order.
fn build(tree: &Path, target: &Path, programs: &[&str], flags: &[String], revision: &Revision) -> Result<Vec<PathBuf>> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(tree).env("CARGO_TARGET_DIR", target).args(["build", "--release", "--locked"]);
    cargo.arg("--message-format=json-render-diagnostics");
    programs.iter().for_each(|program| _ = cargo.args(["-p", program, "--bin", program]));
    let output =
        cargo.args(flags).stdin(Stdio::null()).output().map_err(|error| environment(format!("cargo cannot be started: {error}")))?;
    if !output.status.success() {
        let (told, said) = (revision.told(), last_lines(&output.stderr));
        return Err(match is_of_revision(&text(&output.stderr)) {
            true => bad_input(format!("{told} does not build:\n{said}")),
            false => environment(format!("cargo could not build {told}, for no fault of the revision as far as it tells:\n{said}")),
        });
    }
    let messages = text(&output.stdout);
    let file = |program: &&str| {
        let found = messages.lines().rev().find_map(|line| executable(line, program));
        found.ok_or_else(|| environment(format!("cargo built {}, but does not say where {program} is", revision.told())))
    };
    programs.iter().map(file).collect()
}

/// The program that a line of cargo's messages tells of, where it is this one.
fn executable(line: &str, program: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_it = message["reason"] == "compiler-artifact" && message["target"]["name"] == program;
    message["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
}

/// Is a failed build the revision's fault, by what cargo says? A compiler that was killed, or a disk without room, is not, though crates do not compile then.
fn is_of_revision(said: &str) -> bool {
    const MACHINE: [&str; 8] = [
        "No space left on device",
        "Disk quota exceeded",
        "(signal: 9",
        "(signal: 15",
        "terminated with signal 9",
        "terminated with signal 15",
        "Cannot allocate memory",
        "memory allocation of ",
    ];
    const REVISION: [&str; 7] = [
        "could not compile",
        "failed to run custom build command",
        "did not match any packages",
        "no bin target",
        "failed to parse manifest",
        "failed to load manifest",
        "because --locked was passed",
    ];
    let speaks = |phrases: &[&str]| phrases.iter().any(|phrase| said.contains(phrase));
    speaks(&REVISION) && !speaks(&MACHINE)
}

/// Whole or not at all, so that a build that was interrupted is not taken for one that is there.
fn keep(built: &Path, kept: &Path) -> Result<()> {
    let folder = kept.parent().context("a program without a folder")?;
    let unfinished = folder.join("unfinished");
    let copied =
        std::fs::create_dir_all(folder).and_then(|()| std::fs::copy(built, &unfinished)).and_then(|_| std::fs::rename(&unfinished, kept));
    copied.map_err(|error| environment(format!("{} cannot be kept as {}: {error}", built.display(), kept.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_that_failed_is_the_revisions_fault_or_the_machines() {
        for (said, is_revisions) in [
            ("error[E0425]: cannot find function\nerror: could not compile `a` (bin \"a\") due to 1 previous error", true),
            ("error: package ID specification `crossover-worker` did not match any packages", true),
            ("error: the lock file needs to be updated but --locked was passed to prevent this\nbecause --locked was passed", true),
            ("error: failed to get `x` as a dependency\nCould not resolve host: index", false),
            ("error: linking with `cc` failed\nNo space left on device\nerror: could not compile `a`", false),
            ("error: could not compile `a`\nCaused by: process didn't exit successfully: `rustc` (signal: 9, SIGKILL: kill)", false),
            ("error: could not compile `a`\nCaused by: process didn't exit successfully: `rustc` (signal: 11, SIGSEGV)", true),
            ("error: linking with `cc` failed\ncollect2: fatal error: ld terminated with signal 9 [Killed]\ncould not compile `a`", false),
            ("", false),
        ] {
            assert_eq!(is_of_revision(said), is_revisions, "{said}");
        }
    }

    #[test]
    fn settings_above_the_worktree_shape_a_build() {
        let project = tempfile::tempdir().unwrap();
        let workshop = project.path().join("target/gate");
        std::fs::create_dir_all(project.path().join(".cargo")).unwrap();
        let before = own_settings(&workshop);
        std::fs::write(project.path().join(".cargo/config.toml"), "[build]\nrustflags = ['-Copt-level=1']\n").unwrap();
        let after = own_settings(&workshop);
        assert_eq!(after.len(), before.len() + 1, "{after:?}");
    }

    #[test]
    fn variables_that_shape_a_build_are_known_and_places_are_none() {
        for name in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_BUILD_TARGET",
            "RUSTC_WRAPPER",
            "CC_aarch64-apple-darwin",
            "HOST_CFLAGS",
        ] {
            assert!(shapes_builds(name), "{name}");
        }
        for name in ["CARGO_TARGET_DIR", "CARGO_HOME", "PATH", "CARGO_BUILD_JOBS", "CCACHE_DIR", "ARCH"] {
            assert!(!shapes_builds(name), "{name}");
        }
    }

    #[test]
    fn the_program_is_found_in_cargos_messages() {
        let line = r#"{"reason":"compiler-artifact","target":{"name":"crossover-worker"},"executable":"/x/crossover-worker"}"#;
        assert_eq!(executable(line, WORKER), Some("/x/crossover-worker".into()));
        assert_eq!(executable(line, COMMAND), None);
        assert_eq!(executable(&line.replace("\"/x/crossover-worker\"", "null"), WORKER), None);
        assert_eq!(executable("   Compiling", WORKER), None);
    }
}
