//! Opening run folders: the manifest, and tables that are as new as the journal.
//!
//! A run that was killed has a journal but no tables, or tables that lack the end of its journal: they are made (again) here, which
//! the store allows at any time. So a report always shows everything that was journalled.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crossover_results::{Machine, Manifest, Recovery, RunFolder, read_index};

use crate::ceilings::Ceilings;
use crate::error::{ReportError, Result};
use crate::scan;
use crate::text::markdown::counted;
use crate::text::units::bytes;

/// What is taken for the noise floor of a run that did not measure one. To take none would let such a run claim more than a run that knows its
/// noise. Launches of one program often differ by more than 2 % on shared machines, the floors that runs measured there were 1.4, 2.7 and 5.9 %,
/// and `crossover gate` asks for 5 % as well.
pub(crate) const ASSUMED_FLOOR: f64 = 0.05;

/// One run that goes into the report.
#[derive(Debug)]
pub(crate) struct Run {
    /// The folder's name, told apart from others of that name.
    pub(crate) label: String,
    pub(crate) folder: RunFolder,
    pub(crate) manifest: Manifest,
    /// The machine's ceilings, where the run measured them.
    pub(crate) ceilings: Option<Ceilings>,
    /// False for a run that was killed before its journal was begun.
    pub(crate) has_cells: bool,
    /// What people should know of how it was read.
    pub(crate) notes: Vec<String>,
}

impl Run {
    /// By how much a ratio differed from 1 without any reason, where that was measured.
    pub(crate) fn noise_floor(&self) -> Option<f64> {
        self.manifest.noise.as_ref().map(|noise| noise.floor)
    }

    /// The noise floor that verdicts go by.
    pub(crate) fn floor(&self) -> f64 {
        self.noise_floor().unwrap_or(ASSUMED_FLOOR)
    }
}

/// Opens all runs, in the order in which they are named.
pub(crate) fn open(paths: &[PathBuf]) -> Result<Vec<Run>> {
    let mut seen = BTreeSet::new();
    let mut runs = Vec::with_capacity(paths.len());
    for path in paths {
        let run = open_one(path)?;
        // A folder that exists has a canonical path; if not, the name must do.
        if !seen.insert(fs::canonicalize(path).unwrap_or_else(|_| path.clone())) {
            return Err(ReportError::SameRunTwice { path: path.clone() });
        }
        runs.push(run);
    }
    tell_apart(&mut runs);
    Ok(runs)
}

fn open_one(path: &Path) -> Result<Run> {
    let folder = RunFolder::open(path)?;
    let manifest = Manifest::read(&folder.manifest_path())?;
    let mut notes = Vec::new();
    let has_cells = bring_up_to_date(&folder, &mut notes)?;
    let ceilings = match &manifest.ceilings {
        None => None,
        Some(value) => match Ceilings::read(value, &manifest.machine.caches) {
            Ok(ceilings) => Some(ceilings),
            Err(reason) => {
                notes.push(format!(
                    "the manifest's ceilings cannot be read ({reason}), so no share of a ceiling is given; measure them anew with \
                     `crossover probe`"
                ));
                None
            }
        },
    };
    let label = fs::canonicalize(path).ok().and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()));
    Ok(Run { label: label.unwrap_or_else(|| path.display().to_string()), folder, manifest, ceilings, has_cells, notes })
}

/// Makes the tables where they are missing or not of the whole journal; false if there is nothing to make them from.
fn bring_up_to_date(folder: &RunFolder, notes: &mut Vec<String>) -> Result<bool> {
    const UNCHECKED: &str = "its tables are taken as they are, and cannot be checked";
    let resume = format!("`crossover run --resume --out {}`", folder.path().display());
    let cells = folder.cells_path().exists();
    let journal = fs::metadata(folder.journal_path()).ok().map(|journal| journal.len());
    let source = if cells { scan::source(&folder.cells_path())? } else { scan::Source::default() };
    match (cells, journal) {
        (false, None) => {
            notes.push(format!("the run has no journal: it was stopped before its first cell; resume it with {resume}"));
            return Ok(false);
        }
        // Tables without their journal, as when somebody shares only those. An emptied one must not empty them.
        (true, None) => notes.push(format!("the run has no journal: {UNCHECKED}")),
        // Even a journal without cells has a first line.
        (true, Some(0)) => notes.push(format!("the journal is empty: {UNCHECKED}")),
        (false, Some(0)) => {
            notes.push(format!("the journal is empty: whatever it held is lost; {resume} runs its cells again"));
            folder.finish()?;
        }
        // Not by the files' times: those of a copied folder say nothing.
        (true, Some(length)) if source.bytes == Some(length) => {
            // What was left out of them is told by every command, and not only by the one that made them.
            if source.is_whole != Some(true) {
                note_recovery(&read_index(&folder.journal_path())?.recovery, &resume, notes);
            }
        }
        // A journal that lost cells must not take them from tables that still have them.
        (true, Some(_)) if journalled(folder)? < scan::rows(&folder.cells_path())? => {
            notes.push(format!("the journal has fewer cells than the tables, which were made from it when it had more: {UNCHECKED}"));
        }
        _ => note_recovery(&folder.finish()?.recovery, &resume, notes),
    }
    if notes.is_empty() && scan::rows(&folder.cells_path())? == 0 {
        notes.push(format!("no cell was finished: the run was stopped before its first one; resume it with {resume}"));
    }
    Ok(true)
}

fn journalled(folder: &RunFolder) -> Result<u64> {
    Ok(read_index(&folder.journal_path())?.cells.len() as u64)
}

fn note_recovery(recovery: &Recovery, resume: &str, notes: &mut Vec<String>) {
    if recovery.torn_bytes > 0 {
        notes.push(format!(
            "the journal's last line is not whole ({} bytes): its cell is left out; {resume} runs it again",
            recovery.torn_bytes
        ));
    }
    if let Some(first) = recovery.damaged.first() {
        notes.push(format!(
            "{} of the journal left out, the first is line {} ({}); {resume} runs their cells again",
            counted(recovery.damaged_total, "damaged line"),
            first.line,
            first.reason
        ));
    }
}

/// Numbers the labels that occur more than once.
fn tell_apart(runs: &mut [Run]) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for run in runs.iter() {
        *counts.entry(run.label.clone()).or_default() += 1;
    }
    let mut used: BTreeMap<String, usize> = BTreeMap::new();
    for run in runs.iter_mut().filter(|run| counts.get(&run.label).is_some_and(|count| *count > 1)) {
        let number = used.entry(run.label.clone()).or_default();
        *number += 1;
        run.label = format!("{} ({number})", run.label);
    }
}

/// A machine in a few words, as plain text.
pub(crate) fn described(machine: &Machine) -> String {
    let model = machine.cpu_model.as_deref().unwrap_or("unknown processor");
    let memory = machine.memory_bytes.map_or_else(String::new, |memory| format!(", {}", bytes(memory as f64)));
    format!("{model}, {}{memory} ({})", machine.cores(), machine.fingerprint)
}

/// The machines of all runs by fingerprint.
pub(crate) fn machines(runs: &[Run]) -> BTreeMap<&str, &Machine> {
    runs.iter().map(|run| (run.manifest.machine.fingerprint.as_str(), &run.manifest.machine)).collect()
}
