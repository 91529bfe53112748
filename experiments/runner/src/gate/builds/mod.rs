//! The programs of two commits, built in one way.
//!
//! Both commits are checked out into one worktree, one after the other, and built by one command into one target folder: paths, packages, features and
//! flags are the same, so equal sources become programs that are equal to the last byte, and what differs between base and head is the commits. All of
//! it lies below `target/gate` of the project (`programs.rs`); one gate at a time works there (`lock.rs`). The user's own tree is not touched: no
//! checkout, no stash. So what no commit has is not judged, and is refused where HEAD is to be built.

mod lock;
mod programs;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::Result;

use crate::errors::{bad_input, environment};

pub use programs::{COMMAND, WORKER, Workshop};

/// Lines of a failed command that are shown.
const SHOWN: usize = 30;

/// A revision that can be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// As asked for.
    pub name: String,
    /// Its commit.
    pub commit: String,
}

impl Revision {
    /// The commit, short enough to be read.
    pub fn short(&self) -> &str {
        self.commit.get(..12).unwrap_or(&self.commit)
    }

    /// In words.
    pub fn told(&self) -> String {
        format!("{} ({})", self.name, self.short())
    }
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
        if output.status.success() {
            return Ok(found);
        }
        let said = text(&output.stderr);
        Err(match said.contains("not a git repository") {
            true => bad_input(format!("{} is in no git repository, {otherwise}", root.display())),
            // Such as a folder of another owner, which git does not trust, and tells how to.
            false => environment(format!("git cannot use {}, {otherwise}. It says:\n{}", root.display(), last_lines(&output.stderr))),
        })
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

    /// Files with changes that no commit has, below the top folder.
    pub fn changed(&self) -> Result<Vec<String>> {
        let listed = self.told(["-c", "core.quotePath=false", "diff", "--name-only", "--no-renames", "HEAD"])?;
        Ok(listed.lines().map(str::to_owned).collect())
    }

    /// The same, but for this one.
    pub fn changed_but(&self, but: &Path) -> Result<Vec<String>> {
        let top = PathBuf::from(self.told(["rev-parse", "--show-toplevel"])?);
        let mut changed = self.changed()?;
        changed.retain(|file| std::path::absolute(top.join(file)).ok() != std::path::absolute(but).ok());
        Ok(changed)
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

    fn git<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Result<Output> {
        git_in(self.root, arguments)
    }
}

/// Runs git in a folder. A hook, or whoever else calls a gate from within git, must not say where the repository is; and no hook runs for a worktree
/// that nobody works in.
fn git_in<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(folder: &Path, arguments: I) -> Result<Output> {
    let mut command = Command::new("git");
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"] {
        command.env_remove(name);
    }
    command.arg("-C").arg(folder).args(["-c", "core.hooksPath=/dev/null"]).args(arguments).stdin(Stdio::null());
    command.output().map_err(|error| environment(format!("git cannot be started: {error}")))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn last_lines(bytes: &[u8]) -> String {
    let text = text(bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
