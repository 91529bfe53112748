//! The two builds of a gate: named as files, or made of two commits in one way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Result;
use crossover_protocol::HelloReply;
use crossover_protocol::text::tell;

use crate::cli::GateArgs;
use crate::errors::{bad_input, environment};
use crate::gate::builds::{Repository, Revision, Workshop};
use crate::paths::{self, Project};
use crate::worker::conversation::Launcher;
use crate::worker::launcher::{Bounds, ProcessLauncher};

use super::super::own_worker::HELLO;

/// Files that are named; of more there is a count.
const NAMED: usize = 3;

/// A worker, and what to call its build.
#[derive(Debug)]
pub(in crate::commands) struct Side {
    /// Its program.
    pub worker: PathBuf,
    /// In words.
    pub told: String,
    /// What to do where it speaks another protocol, beside taking another worker.
    advice: &'static str,
}

/// Of a worker that was built of a revision.
const LATER: &str = "; where it is of another protocol, compare with a revision after the one that changed it: --base REV";

impl Side {
    /// A worker that somebody named.
    fn file(option: &str, worker: &Path) -> Result<Self> {
        match worker.is_file() {
            true => Ok(Self { worker: worker.to_owned(), told: worker.display().to_string(), advice: "" }),
            false => Err(bad_input(format!("{option} {} is no file", worker.display()))),
        }
    }

    /// The worker that is named, else the one beside this program.
    pub(in crate::commands) fn head(args: &GateArgs) -> Result<Self> {
        match &args.head_worker {
            Some(worker) => Self::file("--head-worker", worker),
            None => Ok(Self { worker: paths::worker_binary()?, told: "this build".to_owned(), advice: "" }),
        }
    }

    /// Starts its workers.
    pub(in crate::commands) fn launcher(&self, bounds: Bounds, interrupt: &Arc<AtomicBool>) -> ProcessLauncher {
        ProcessLauncher::new(self.worker.clone(), BTreeMap::new(), bounds, Arc::clone(interrupt))
    }

    /// Who it says that it is: a worker of another protocol, or none at all, is better told before the first cell than after it.
    pub(in crate::commands) fn greet(&self, launcher: &mut ProcessLauncher, side: &str) -> Result<HelloReply> {
        let ready = launcher.start_clerk(HELLO).map_err(|failure| {
            environment(format!("the worker of {side}, {}, cannot be used: {failure}{}", self.worker.display(), self.advice))
        })?;
        ready.conversation.quit();
        Ok(ready.hello)
    }
}

/// The names of all engines that any of these has.
pub(in crate::commands) fn engines(hellos: &[HelloReply]) -> Vec<String> {
    let mut known = BTreeSet::new();
    let all = hellos.iter().flat_map(|hello| &hello.engines).map(|engine| engine.name.clone());
    // As the first has them, then what others have beside.
    all.filter(|name| known.insert(name.clone())).collect()
}

/// Base and head. What is not named as a file is built, with all these programs beside the worker.
pub(in crate::commands) fn sides(args: &GateArgs, programs: &[&str]) -> Result<[Side; 2]> {
    if let Some(base) = &args.base_worker {
        return Ok([Side::file("--base-worker", base)?, Side::head(args)?]);
    }
    let named = args.head_worker.as_ref().map(|worker| Side::file("--head-worker", worker)).transpose()?;
    let project = Project::find()?;
    let repository = Repository::of(project.root(), "so there is no base revision: name a worker of it by --base-worker FILE")?;
    let base = repository.resolve(args.base.as_deref())?;
    // Before minutes of building.
    let head = if named.is_none() { Some(head_revision(&repository, &base)?) } else { None };
    let workshop = Workshop::open(&repository)?;
    let built = |revision: &Revision| -> Result<Side> {
        let worker = workshop.worker(revision, programs, &args.build, &mut |text| tell(text))?;
        Ok(Side { worker, told: revision.told(), advice: LATER })
    };
    let base = built(&base)?;
    let head = match head {
        Some(revision) => built(&revision)?,
        None => Side::head(args)?,
    };
    Ok([base, head])
}

/// HEAD, where it is what somebody means by it.
fn head_revision(repository: &Repository<'_>, base: &Revision) -> Result<Revision> {
    let changed = repository.changed()?;
    if !changed.is_empty() {
        let some = changed.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if changed.len() > NAMED { format!(" and {} more", changed.len() - NAMED) } else { String::new() };
        return Err(bad_input(format!(
            "the working tree has changes that no commit has ({some}{more}), and HEAD is what is built and judged: commit them, or name a \
             worker that has them by --head-worker FILE"
        )));
    }
    let head = repository.resolve(Some("HEAD"))?;
    if head.commit == base.commit {
        return Err(bad_input(format!(
            "{} is HEAD itself: there is nothing to compare. Name an earlier revision by --base REV, as --base HEAD~1, or a worker by \
             --head-worker FILE",
            base.told()
        )));
    }
    Ok(head)
}
