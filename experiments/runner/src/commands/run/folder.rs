//! The folder of a run: a new one under a name that says when, or an earlier one to go on with.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Error, Result};
use crossover_protocol::text::tell;
use crossover_results::schema::SCHEMA_VERSION;
use crossover_results::{Index, JOINED, Journal, Machine, Manifest, RunFolder, RunLock, StoreError, read_index};

use crate::cli::{EVERY_VARIANT, RunArgs};
use crate::commands::text::counted;
use crate::errors::{bad_input, environment};
use crate::outcome::unix_ms;
use crate::paths::{self, Project};

use super::request::{Options, Request};

/// For files that pass between workers.
const TMP: &str = "tmp";

/// A run that may be written.
pub(super) struct OpenRun {
    pub(super) folder: RunFolder,
    pub(super) journal: Journal,
    pub(super) manifest: Manifest,
    pub(super) request: Request,
    /// What the journal had when it was opened.
    pub(super) index: Index,
    /// When the run was gone on with: told by its manifest from the first record on, as without one nothing was seen of the machine.
    pub(super) resumed: Option<u64>,
    _lock: RunLock,
}

impl OpenRun {
    /// Is there nothing to do for this cell?
    pub(super) fn has(index: &Index, id: &str) -> bool {
        index.cells.get(id).is_some_and(|status| status.is_final())
    }

    /// Cells that are recorded for good.
    pub(super) fn done(&self) -> u64 {
        done(&self.index)
    }

    /// What is about to happen, in a line.
    pub(super) fn heading(&self) -> String {
        let (name, cells, groups) = (&self.manifest.experiment, self.request.plan.cell_count(), self.request.plan.group_count());
        let before = if self.done() > 0 { format!(", {} of them done before", self.done()) } else { String::new() };
        format!("{name}: {} in {}{before} -> {}", counted(cells, "cell"), counted(groups, "group"), self.folder.path().display())
    }
}

fn done(index: &Index) -> u64 {
    index.cells.values().filter(|status| status.is_final()).count() as u64
}

/// The run that the command line means.
pub(super) fn choose(args: &RunArgs) -> Result<OpenRun> {
    if args.resume {
        return resume(args);
    }
    let file = paths::experiment_file(args.experiment.as_deref().unwrap_or(EVERY_VARIANT))?;
    start(Request::new(&file, &args.selection, &args.engines)?, args.out.as_deref())
}

/// A new run.
pub(super) fn start(request: Request, out: Option<&Path>) -> Result<OpenRun> {
    let (folder, lock) = match out {
        Some(path) => take(path).map_err(blame)?,
        None => take_new(&Project::find()?.runs(), &request.definition.name)?,
    };
    let manifest = Manifest {
        schema: SCHEMA_VERSION,
        experiment: request.definition.name.clone(),
        command: command_line(),
        created_unix_ms: unix_ms(),
        resumed_unix_ms: Vec::new(),
        definition_hash: request.definition_hash.clone(),
        plan_hash: request.plan_hash.clone(),
        cells_planned: request.plan.cell_count(),
        parts: request.part.iter().cloned().collect(),
        excluded: request.plan.excluded().iter().filter(|(_, cells)| **cells > 0).map(|(why, cells)| (why.clone(), *cells)).collect(),
        seed: request.definition.seed,
        machine: Machine::detect(),
        builds: Vec::new(),
        ceilings: None,
        noise: None,
    };
    // The manifest last: a folder that has one has all that a resume needs.
    folder.write_definition(&request.copy()?).map_err(blame)?;
    manifest.write(&folder.manifest_path()).map_err(blame)?;
    let (journal, index) = folder.open_journal(&lock).map_err(blame)?;
    Ok(OpenRun { folder, journal, manifest, request, index, resumed: None, _lock: lock })
}

fn take(path: &Path) -> Result<(RunFolder, RunLock), StoreError> {
    let folder = RunFolder::create(path)?;
    let lock = folder.lock()?;
    // Somebody may have been quicker between the two.
    if folder.manifest_path().exists() { Err(StoreError::AlreadyARun { path: path.to_owned() }) } else { Ok((folder, lock)) }
}

/// `NAME-yyyymmdd-hhmmss`, with a number behind it where that is taken.
fn take_new(runs: &Path, name: &str) -> Result<(RunFolder, RunLock)> {
    let stem = name_of_now(name);
    for number in 1..100 {
        let path = if number == 1 { runs.join(&stem) } else { runs.join(format!("{stem}-{number}")) };
        match take(&path) {
            Err(StoreError::AlreadyARun { .. } | StoreError::Locked { .. } | StoreError::NotARun { .. }) => {}
            other => return other.map_err(blame),
        }
    }
    Err(environment(format!("{} has a hundred runs called {stem}: name a folder with --out", runs.display())))
}

/// An earlier run: the one in `--out`, else the newest one that is not complete.
fn resume(args: &RunArgs) -> Result<OpenRun> {
    let file = args.experiment.as_deref().map(paths::experiment_file).transpose()?;
    let asked = file.map(|file| crate::definition::load(&file).map(|definition| (file, definition.name))).transpose()?;
    let name = asked.as_ref().map(|(_, name)| name.as_str());
    let path = match &args.out {
        Some(path) => path.clone(),
        None => newest_unfinished(&Project::find()?.runs(), name)?,
    };
    let folder = RunFolder::open(&path).map_err(blame)?;
    let lock = folder.lock().map_err(blame)?;
    let mut manifest = Manifest::read(&folder.manifest_path()).map_err(blame)?;
    let request = Request::from_copy(&folder.definition_path())?;
    refuse_another_plan(&path, &manifest, &request, asked.as_ref(), &Options::of(&args.selection, &args.engines)?)?;
    sweep(&folder);
    let (journal, index) = folder.open_journal(&lock).map_err(blame)?;
    // What is appended from here on is of this layout, whatever the run was begun with.
    manifest.schema = SCHEMA_VERSION;
    manifest.write(&folder.manifest_path()).map_err(blame)?;
    report_damage(&folder, &index);
    Ok(OpenRun { folder, journal, manifest, request, index, resumed: Some(unix_ms()), _lock: lock })
}

/// Cells of two plans must not meet in one run. Says what has changed.
fn refuse_another_plan(
    path: &Path,
    manifest: &Manifest,
    request: &Request,
    asked: Option<&(PathBuf, String)>,
    options: &Options,
) -> Result<()> {
    let refuse = |what: String| Err(bad_input(format!("{} cannot be resumed: {what}", path.display())));
    if let Some((file, name)) = asked {
        if *name != manifest.experiment {
            return refuse(format!("it is a run of {}, not of {name}", manifest.experiment));
        }
        let now = fs::read(file).map(|text| super::request::short(blake3::hash(&text))).unwrap_or_default();
        if now != manifest.definition_hash {
            let advice = format!("go on with the run's own copy by `crossover run --resume --out {}`, or start a new run", path.display());
            return refuse(format!("{} has changed since the run was started; {advice}", file.display()));
        }
    }
    if let Some(file) = options.changed_engine(&request.options) {
        let advice = "leave the option out to go on with the run's own copy, or start a new run";
        return refuse(format!("{} has changed since the run was started; {advice}", file.display()));
    }
    if *options != Options::default() && *options != request.options {
        return refuse(format!("it was started with {}, now it is {options}; leave the options out", request.options));
    }
    if request.definition_hash != manifest.definition_hash {
        return refuse(format!("its copy of the experiment, {}, was edited; start a new run", path.join("definition.toml").display()));
    }
    if request.plan_hash != manifest.plan_hash {
        let (then, now) = (manifest.cells_planned, request.plan.cell_count());
        return refuse(format!(
            "the same experiment now gives another plan ({then} cells then, {now} now), because this program or its worker has other \
             variants, engines or defaults than the one that started the run; use that one, or start a new run"
        ));
    }
    Ok(())
}

fn newest_unfinished(runs: &Path, name: Option<&str>) -> Result<PathBuf> {
    let entries = fs::read_dir(runs).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|path| Some((Manifest::read(&RunFolder::open(&path).ok()?.manifest_path()).ok()?, path)))
        .filter(|(manifest, path)| name.is_none_or(|name| manifest.experiment == name) && is_unfinished(manifest, path))
        .map(|(manifest, path)| (manifest.created_unix_ms, path))
        .collect();
    found.sort();
    found.pop().map(|(_, path)| path).ok_or_else(|| {
        let of = name.map(|name| format!(" of {name}")).unwrap_or_default();
        bad_input(format!(
            "there is no unfinished run{of} in {}: start one without --resume, or name its folder with --out",
            runs.display()
        ))
    })
}

/// A run killed before its first cell has no journal yet.
fn is_unfinished(manifest: &Manifest, path: &Path) -> bool {
    let Ok(folder) = RunFolder::open(path) else { return false };
    // A joined one has no plan of its own to go on with.
    let is_joined = fs::read_to_string(folder.definition_path()).is_ok_and(|text| text.starts_with(JOINED));
    let journal = Some(folder.journal_path()).filter(|path| path.exists());
    let index = journal.and_then(|path| read_index(&path).ok()).unwrap_or_default();
    !is_joined && done(&index) < manifest.cells_planned
}

fn report_damage(folder: &RunFolder, index: &Index) {
    let recovery = &index.recovery;
    if recovery.torn_bytes > 0 {
        tell(&format!(
            "note: the journal's last line was not whole and is cut off ({} bytes); a cell that it held is run again",
            recovery.torn_bytes
        ));
    }
    if let Some(first) = recovery.damaged.first() {
        let (count, path) = (recovery.damaged_total, folder.journal_path());
        tell(&format!(
            "warning: {}:{}: {} ({} in all); their cells are run again",
            path.display(),
            first.line,
            first.reason,
            counted(count, "damaged line")
        ));
    }
}

/// A folder for files between workers, as an absolute path.
pub(super) fn exchange(folder: &RunFolder) -> Result<PathBuf> {
    let path = folder.path().join(TMP);
    fs::create_dir_all(&path)
        .and_then(|()| path.canonicalize())
        .map_err(|error| environment(format!("{} cannot be made: {error}", path.display())))
}

/// Removes it with whatever a killed run left there.
pub(super) fn sweep(folder: &RunFolder) {
    let path = folder.path().join(TMP);
    if let Err(error) = fs::remove_dir_all(&path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tell(&format!("warning: {} cannot be removed: {error}", path.display()));
    }
}

/// The store's errors with the one to blame.
pub(in crate::commands) fn blame(error: StoreError) -> Error {
    if error.is_environment() { environment(error.to_string()) } else { bad_input(error.to_string()) }
}

/// The command line, as near to what was typed as the shell lets us know.
pub(in crate::commands) fn command_line() -> String {
    let quote = |argument: String| match argument.contains(|c: char| !(c.is_ascii_alphanumeric() || "-_=./,:+@%".contains(c))) {
        true => format!("'{}'", argument.replace('\'', r"'\''")),
        false => argument,
    };
    let arguments = std::env::args_os().skip(1).map(|argument| quote(argument.to_string_lossy().into_owned()));
    std::iter::once("crossover".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// `NAME-yyyymmdd-hhmmss` for now.
pub(in crate::commands) fn name_of_now(name: &str) -> String {
    format!("{name}-{}", timestamp(unix_ms() / 1000))
}

/// UTC as `yyyymmdd-hhmmss`, by the civil calendar (days counted in eras of 400 years that begin on 1 March).
fn timestamp(unix_seconds: u64) -> String {
    let (days, second) = (unix_seconds / 86_400 + 719_468, unix_seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}-{:02}{:02}{:02}", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_follow_the_calendar() {
        // By `date -u -d @N +%Y%m%d-%H%M%S`.
        for (seconds, text) in [
            (0, "19700101-000000"),
            (951_782_399, "20000228-235959"),
            (951_782_400, "20000229-000000"),
            (1_709_251_199, "20240229-235959"),
            (1_735_689_599, "20241231-235959"),
            (4_107_542_400, "21000301-000000"),
        ] {
            assert_eq!(timestamp(seconds), text);
        }
    }

    #[test]
    fn a_taken_name_gets_a_number() {
        let runs = tempfile::tempdir().unwrap();
        // Three runs in one second, the first two still at their very beginning.
        let taken: Vec<_> = (0..3).map(|_| take_new(runs.path(), "quick").unwrap()).collect();
        let mut paths: Vec<_> = taken.iter().map(|(folder, _)| folder.path().to_owned()).collect();
        paths.dedup();
        assert_eq!(paths.len(), 3);
    }
}
