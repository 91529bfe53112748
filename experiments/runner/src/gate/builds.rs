//! The worker of another revision: checked out beside, built with the same flags, kept for the next time.
//!
//! Below `target/gate` of the project: `workers/COMMIT-FLAGS` are the finished ones; `build` is the one target folder of all
//! base builds, so that dependencies are compiled once; `tree-COMMIT` is the worktree, which goes when its worker is there. The user's own tree is not
//! touched: no checkout, no stash.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};

use crate::errors::{bad_input, environment};

/// Lines of a failed build that are shown.
const SHOWN: usize = 30;

/// A revision that can be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// As asked for.
    pub name: String,
    /// Its commit.
    pub commit: String,
}

/// The repository of the project.
#[derive(Debug)]
pub struct Repository<'a> {
    root: &'a Path,
}

impl<'a> Repository<'a> {
    /// The one that holds this folder; `otherwise` says what follows where there is none, and what to do.
    pub fn of(root: &'a Path, otherwise: &str) -> Result<Self> {
        let found = Self { root };
        let output = found.git(["rev-parse", "--is-inside-work-tree"])?;
        match output.status.success() {
            true => Ok(found),
            false => Err(bad_input(format!("{} is in no git repository, {otherwise}", root.display()))),
        }
    }

    /// What a name stands for; without one, where the current branch left `main`.
    pub fn resolve(&self, name: Option<&str>) -> Result<Revision> {
        match name {
            Some(name) => self.commit(name),
            None => self.merge_base(),
        }
    }

    fn commit(&self, name: &str) -> Result<Revision> {
        let output = self.git(["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{name}^{{commit}}")])?;
        if output.status.success() {
            return Ok(Revision { name: name.to_owned(), commit: text(&output.stdout) });
        }
        let shallow = if self.is_shallow()? { "; this clone is shallow: `git fetch --unshallow` brings the rest" } else { "" };
        Err(bad_input(format!("there is no revision {name:?} in {}{shallow}", self.root.display())))
    }

    fn merge_base(&self) -> Result<Revision> {
        for main in ["origin/main", "main"] {
            let output = self.git(["merge-base", "HEAD", main])?;
            if output.status.success() {
                return Ok(Revision { name: format!("the merge base with {main}"), commit: text(&output.stdout) });
            }
        }
        let why = if self.is_shallow()? {
            "this clone is shallow: `git fetch --unshallow` brings the history, or name a revision that is there by --base REV"
        } else {
            "there is no branch main that HEAD has an ancestor in common with: name a revision by --base REV"
        };
        Err(bad_input(format!("no merge base: {why}")))
    }

    fn is_shallow(&self) -> Result<bool> {
        Ok(text(&self.git(["rev-parse", "--is-shallow-repository"])?.stdout) == "true")
    }

    /// When a commit was made (Unix time, seconds).
    pub fn commit_unix_s(&self, commit: &str) -> Result<u64> {
        let output = self.git(["show", "--no-patch", "--format=%ct", commit])?;
        let told = text(&output.stdout);
        told.parse().map_err(|_| environment(format!("git does not say when {commit} was made, but {told:?}")))
    }

    /// Files with changes that no commit has, but for this one.
    pub fn changed_but(&self, but: &Path) -> Result<Vec<String>> {
        let listed = self.told(["-c", "core.quotePath=false", "diff", "--name-only", "--no-renames", "HEAD"])?;
        let top = PathBuf::from(self.told(["rev-parse", "--show-toplevel"])?);
        let is_other = |file: &&str| std::path::absolute(top.join(file)).ok() != std::path::absolute(but).ok();
        Ok(listed.lines().filter(is_other).map(str::to_owned).collect())
    }

    /// Are there changes that no commit has?
    pub fn is_dirty(&self) -> Result<bool> {
        Ok(!self.told(["status", "--porcelain", "--untracked-files=no"])?.is_empty())
    }

    /// What git says, where it succeeds.
    fn told<const N: usize>(&self, arguments: [&str; N]) -> Result<String> {
        let output = self.git(arguments)?;
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => {
                Err(environment(format!("git {} fails in {}:\n{}", arguments.join(" "), self.root.display(), last_lines(&output.stderr))))
            }
        }
    }

    /// The worker of a revision, with these programs beside it: those that are there already, else built. `flags` go to cargo.
    pub fn worker(&self, revision: &Revision, programs: &[&str], flags: &[String], tell: &mut dyn FnMut(&str)) -> Result<PathBuf> {
        let gate = self.root.join("target/gate");
        let key = blake3::hash(format!("{flags:?}{:?}", std::env::var_os("RUSTFLAGS")).as_bytes()).to_hex();
        let kept = gate.join("workers").join(format!("{}-{}", revision.commit, &key[..8]));
        let absent: Vec<&str> = programs.iter().copied().filter(|program| !kept.join(program).is_file()).collect();
        if absent.is_empty() {
            return Ok(kept.join(WORKER));
        }
        let short = revision.commit.get(..12).unwrap_or(&revision.commit);
        tell(&format!("building {} of {} ({short}), once", absent.join(" and "), revision.name));
        let tree = gate.join(format!("tree-{short}"));
        self.remove_tree(&tree);
        std::fs::create_dir_all(&gate).map_err(|error| environment(format!("{} cannot be made: {error}", gate.display())))?;
        let output = self.git([OsStr::new("worktree"), "add".as_ref(), "--detach".as_ref(), tree.as_os_str(), revision.commit.as_ref()])?;
        if !output.status.success() {
            return Err(environment(format!("git cannot check out {short} in {}:\n{}", tree.display(), last_lines(&output.stderr))));
        }
        let built = build(&tree, &gate.join("build"), &absent, flags);
        self.remove_tree(&tree);
        let built = built?;
        absent.iter().try_for_each(|program| keep(&built.join(program), &kept.join(program)))?;
        Ok(kept.join(WORKER))
    }

    fn remove_tree(&self, tree: &Path) {
        // It may not be there; what cannot be removed is told of by the `add` that follows.
        let _ = self.git([OsStr::new("worktree"), "remove".as_ref(), "--force".as_ref(), tree.as_os_str()]);
    }

    fn git<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Result<Output> {
        let mut command = Command::new("git");
        command.arg("-C").arg(self.root).args(arguments).stdin(Stdio::null());
        command.output().map_err(|error| environment(format!("git cannot be started: {error}")))
    }
}

/// The worker's file name, which is its package's name too.
pub const WORKER: &str = "crossover-worker";
/// The command's.
pub const COMMAND: &str = "crossover";

/// Builds programs; the folder in which they are then.
fn build(tree: &Path, target: &Path, programs: &[&str], flags: &[String]) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(tree).env("CARGO_TARGET_DIR", target).args(["build", "--release", "--locked"]);
    programs.iter().for_each(|program| _ = cargo.args(["-p", program, "--bin", program]));
    let output =
        cargo.args(flags).stdin(Stdio::null()).output().map_err(|error| environment(format!("cargo cannot be started: {error}")))?;
    match output.status.success() {
        true => Ok(target.join("release")),
        false => Err(bad_input(format!("the base revision does not build:\n{}", last_lines(&output.stderr)))),
    }
}

/// Whole or not at all, so that a build that was interrupted is not taken for one that is there.
fn keep(built: &Path, kept: &Path) -> Result<()> {
    let folder = kept.parent().context("a worker without a folder")?;
    let unfinished = folder.join("unfinished");
    let copied =
        std::fs::create_dir_all(folder).and_then(|()| std::fs::copy(built, &unfinished)).and_then(|_| std::fs::rename(&unfinished, kept));
    copied.map_err(|error| environment(format!("{} cannot be kept as {}: {error}", built.display(), kept.display())))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn last_lines(bytes: &[u8]) -> String {
    let text = text(bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
