//! The folder of one run: what is in it, who may write it, and how it is finished.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::atomic::{is_unfinished, sync_folder_of, write_atomically};
use crate::error::{Result, StoreError, excerpt};
use crate::journal::{Index, Journal, Recovery, read_records};
use crate::lock::RunLock;
use crate::manifest::Manifest;
use crate::tables::{AxisColumns, Origin, TableWriter};

const MANIFEST: &str = "manifest.json";
const JOURNAL: &str = "journal.txt";
const CELLS: &str = "cells.parquet";
const SAMPLES: &str = "samples.parquet";
const LOCK: &str = "lock";
const DEFINITION: &str = "definition.toml";
const STDERR: &str = "stderr";

/// What a run that was killed before its manifest was written may leave: a new run may take such a folder over.
const LEFT_BY_A_START: [&str; 3] = [LOCK, DEFINITION, STDERR];

/// A run's folder on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

/// What [`RunFolder::finish`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Rows of `cells.parquet`.
    pub cells: u64,
    /// Rows of `samples.parquet`.
    pub samples: u64,
    /// What the pass over the journal found.
    pub recovery: Recovery,
}

impl RunFolder {
    /// Makes a folder for a new run, or takes an empty one.
    ///
    /// # Errors
    /// When the folder cannot be written, holds a run already, or holds anything else.
    pub fn create(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).map_err(StoreError::io("make the run folder", path))?;
        let folder = Self { path: path.to_owned() };
        if folder.manifest_path().exists() {
            return Err(StoreError::AlreadyARun { path: path.to_owned() });
        }
        for entry in fs::read_dir(path).map_err(StoreError::io("list the run folder", path))? {
            let name = entry.map_err(StoreError::io("list the run folder", path))?.file_name();
            let name = name.to_string_lossy();
            if !LEFT_BY_A_START.contains(&name.as_ref()) && !is_unfinished(&name) {
                return Err(StoreError::NotARun { path: path.to_owned(), found: excerpt(name.as_bytes()) });
            }
        }
        // Find out now, and not after the first hour, whether the folder can be written.
        fs::create_dir_all(folder.path.join(STDERR)).map_err(StoreError::io("write in the run folder", path))?;
        sync_folder_of(path)?;
        Ok(folder)
    }

    /// Opens the folder of an earlier run.
    ///
    /// # Errors
    /// When there is no run in it.
    pub fn open(path: &Path) -> Result<Self> {
        let folder = Self { path: path.to_owned() };
        if folder.manifest_path().is_file() { Ok(folder) } else { Err(StoreError::NoRun { path: path.to_owned() }) }
    }

    /// Takes the right to write, and removes what a killed writer left half-written.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it.
    pub fn lock(&self) -> Result<RunLock> {
        let lock = RunLock::take(&self.path.join(LOCK))?;
        for entry in fs::read_dir(&self.path).map_err(StoreError::io("list the run folder", &self.path))? {
            let entry = entry.map_err(StoreError::io("list the run folder", &self.path))?;
            if is_unfinished(&entry.file_name().to_string_lossy()) {
                fs::remove_file(entry.path()).map_err(StoreError::io("remove the unfinished file", &entry.path()))?;
            }
        }
        Ok(lock)
    }

    /// Opens the journal for appending, or creates it; tells what it holds already.
    ///
    /// # Errors
    /// As for [`Journal::create`] and [`Journal::open`].
    pub fn open_journal(&self, _lock: &RunLock) -> Result<(Journal, Index)> {
        let path = self.journal_path();
        if path.exists() { Journal::open(&path) } else { Journal::create(&path).map(|journal| (journal, Index::default())) }
    }

    /// Writes the copy of the experiment file that the run is made from.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write_definition(&self, text: &str) -> Result<()> {
        write_atomically(&self.definition_path(), text.as_bytes())
    }

    /// Writes both tables from the journal: the last record of each cell, in the order of the journal.
    /// The journal stays, so this may be done again after more cells were run, and on a run that goes on.
    ///
    /// # Errors
    /// When the journal or the manifest cannot be read or the tables cannot be written; tables from before are then still there.
    pub fn finish(&self) -> Result<Finished> {
        let run = Manifest::read(&self.manifest_path())?.experiment;
        // Before it is read: what is appended meanwhile makes it longer than the tables say.
        let journal = self.journal_path();
        let journal_bytes = fs::metadata(&journal).map_err(StoreError::io("read the journal", &journal))?.len();
        let mut axes = AxisColumns::default();
        let mut last = HashMap::new();
        let mut records = read_records(&self.journal_path())?;
        for (place, record) in records.by_ref().enumerate() {
            let record = record?;
            axes.add(&record.axes);
            last.insert(record.id, place);
        }
        let is_whole = records.recovery().torn_bytes == 0 && records.recovery().damaged_total == 0;
        let origin = Origin { run: &run, journal_bytes, is_whole };
        let mut tables = TableWriter::create(&self.cells_path(), &self.samples_path(), &origin, axes)?;
        let mut records = read_records(&self.journal_path())?;
        let (mut cells, mut samples) = (0, 0);
        for (place, record) in records.by_ref().enumerate() {
            let record = record?;
            // Cells that were appended since the first pass are not in `last`: they wait for the next time.
            if last.get(&record.id) == Some(&place) {
                tables.push(&record)?;
                cells += 1;
                samples += record.samples.len() as u64;
            }
        }
        tables.finish()?;
        Ok(Finished { cells, samples, recovery: records.recovery().clone() })
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `manifest.json`
    pub fn manifest_path(&self) -> PathBuf {
        self.path.join(MANIFEST)
    }

    /// `journal.txt`
    pub fn journal_path(&self) -> PathBuf {
        self.path.join(JOURNAL)
    }

    /// `cells.parquet`
    pub fn cells_path(&self) -> PathBuf {
        self.path.join(CELLS)
    }

    /// `samples.parquet`
    pub fn samples_path(&self) -> PathBuf {
        self.path.join(SAMPLES)
    }

    /// `definition.toml`
    pub fn definition_path(&self) -> PathBuf {
        self.path.join(DEFINITION)
    }

    /// The file that takes a worker's stderr. Any name will do: what does not fit a file name is replaced.
    pub fn stderr_path(&self, worker: &str) -> PathBuf {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let name: String = worker.chars().take(100).map(|c| if fits(c) { c } else { '_' }).collect();
        self.path.join(STDERR).join(format!("{}.log", if name.is_empty() { "_" } else { &name }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;
    use crate::schema::{Record, Status};

    fn record(id: &str, status: Status) -> Record {
        Record { id: id.into(), status, ..crate::schema_examples::full_record() }
    }

    fn started(path: &Path) -> RunFolder {
        let folder = RunFolder::create(path).unwrap();
        manifest::example().write(&folder.manifest_path()).unwrap();
        folder
    }

    #[test]
    fn a_run_is_created_filled_resumed_and_finished() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("new/run");
        let folder = started(&path);
        folder.write_definition("[experiment]\n").unwrap();
        {
            let lock = folder.lock().unwrap();
            assert!(matches!(folder.lock(), Err(StoreError::Locked { .. })));
            let (mut journal, index) = folder.open_journal(&lock).unwrap();
            assert_eq!(index, Index::default());
            journal.append_batch(&[record("a", Status::Crashed), record("b", Status::Ok)]).unwrap();
        }
        let folder = RunFolder::open(&path).unwrap();
        let lock = folder.lock().unwrap();
        let (mut journal, index) = folder.open_journal(&lock).unwrap();
        assert_eq!(index.cells["a"], Status::Crashed);
        journal.append(&record("a", Status::Ok)).unwrap();
        let finished = folder.finish().unwrap();
        // Two cells, though there are three frames: the last one of `a` counts.
        assert_eq!((finished.cells, finished.samples, finished.recovery.frames), (2, 4, 3));
        assert!(folder.cells_path().is_file() && folder.samples_path().is_file());
    }

    #[test]
    fn folders_of_others_are_left_alone() {
        let temporary = tempfile::tempdir().unwrap();
        fs::write(temporary.path().join("thesis.tex"), "x").unwrap();
        let error = RunFolder::create(temporary.path()).unwrap_err();
        assert!(matches!(error, StoreError::NotARun { .. }) && !error.is_environment());
        assert!(error.to_string().contains("thesis.tex"), "{error}");
        assert!(matches!(RunFolder::open(temporary.path()), Err(StoreError::NoRun { .. })));
        let path = temporary.path().join("run");
        started(&path);
        assert!(matches!(RunFolder::create(&path), Err(StoreError::AlreadyARun { .. })));
    }

    #[test]
    fn a_start_that_was_killed_is_taken_over_and_swept() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(temporary.path()).unwrap();
        drop(folder.lock().unwrap());
        let unfinished = temporary.path().join(".manifest.json.unfinished-1-0");
        fs::write(&unfinished, "{").unwrap();
        let folder = RunFolder::create(temporary.path()).unwrap();
        let _lock = folder.lock().unwrap();
        assert!(!unfinished.exists());
    }

    #[test]
    fn a_path_that_cannot_be_written_is_the_environments_fault() {
        let temporary = tempfile::tempdir().unwrap();
        let file = temporary.path().join("file");
        fs::write(&file, "x").unwrap();
        for path in [file.join("run"), file, PathBuf::from("/proc/run")] {
            let error = RunFolder::create(&path).unwrap_err();
            assert!(error.is_environment(), "{error}");
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
    }

    #[test]
    fn no_workers_name_leaves_the_folder() {
        let folder = RunFolder { path: PathBuf::from("run") };
        assert_eq!(folder.stderr_path("simd-1"), Path::new("run/stderr/simd-1.log"));
        for name in ["../../etc/passwd", "", ".", "a/b\0c\n", &"x".repeat(300)] {
            let path = folder.stderr_path(name);
            assert_eq!(path.parent(), Some(Path::new("run/stderr")), "{name}");
            assert!(path.file_name().unwrap().len() < 110);
        }
    }

    #[test]
    fn a_run_without_cells_still_has_tables() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = started(temporary.path());
        drop(folder.open_journal(&folder.lock().unwrap()).unwrap());
        assert_eq!(folder.finish().unwrap().cells, 0);
    }
}
