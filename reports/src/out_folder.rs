//! The folder that a report is written into.
//!
//! It may be anybody's: only files that an earlier report listed as its own are replaced or removed. A report's names are common ones
//! (`summary.md`, `index.html`), so a file of such a name that is not in the list is somebody's work until its owner says otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::{fs, io};

use crossover_results::write_atomically;

use crate::error::{ReportError, Result};
use crate::pictures;

/// Lists the files of the report, so that the next one in the same folder knows what is its own.
const OWN_FILES: &str = ".files";
/// Its first line: a list of that name without it is somebody else's.
const HEADING: &str = "# The files of a Crossover report; the next one here replaces them.";

/// Where a report goes.
pub(crate) struct OutFolder<'a> {
    path: &'a Path,
}

impl<'a> OutFolder<'a> {
    pub(crate) fn at(path: &'a Path) -> Self {
        Self { path }
    }

    /// Writes all files, each whole or not at all, and removes those of an earlier report in the same folder that this one does not have: a document
    /// of a family that is gone would look like one of this report's. Returns what was removed.
    pub(crate) fn write(&self, files: &BTreeMap<String, &str>) -> Result<Vec<String>> {
        let earlier = self.listed()?;
        // Before anything is written.
        self.refuse_foreign(files, &earlier)?;
        make(self.path)?;
        if files.keys().any(|file| file.contains('/')) {
            make(&self.path.join(pictures::FOLDER))?;
        }
        // Before the first is written, so that what a stop in the middle leaves is known to the next report too.
        self.list(earlier.iter().chain(files.keys()))?;
        for (file, text) in files {
            write_atomically(&self.path.join(file), text.as_bytes())?;
        }
        let removed = self.remove(earlier.into_iter().filter(|file| !files.contains_key(file)))?;
        self.list(files.keys())?;
        Ok(removed)
    }

    fn list<'n>(&self, names: impl Iterator<Item = &'n String>) -> Result<()> {
        let names: String = names.collect::<BTreeSet<_>>().into_iter().map(|name| format!("{name}\n")).collect();
        Ok(write_atomically(&self.path.join(OWN_FILES), format!("{HEADING}\n{names}").as_bytes())?)
    }

    /// The files that an earlier report says are its own; none outside its folder.
    fn listed(&self) -> Result<BTreeSet<String>> {
        let is_inside = |file: &&str| Path::new(file).components().all(|part| matches!(part, Component::Normal(_)));
        let path = self.path.join(OWN_FILES);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(source) => return Err(ReportError::OutFolder { path, source }),
        };
        let Some(names) = text.strip_prefix(HEADING) else {
            return Err(ReportError::Foreign { folder: self.path.to_owned(), files: vec![OWN_FILES.into()] });
        };
        Ok(names.lines().filter(|file| !file.is_empty()).filter(is_inside).map(str::to_owned).collect())
    }

    fn refuse_foreign(&self, files: &BTreeMap<String, &str>, own: &BTreeSet<String>) -> Result<()> {
        // A link that leads nowhere is somebody's, too.
        let is_foreign = |file: &&String| !own.contains(*file) && fs::symlink_metadata(self.path.join(file)).is_ok();
        let foreign: Vec<PathBuf> = files.keys().filter(is_foreign).map(PathBuf::from).collect();
        if foreign.is_empty() { Ok(()) } else { Err(ReportError::Foreign { folder: self.path.to_owned(), files: foreign }) }
    }

    fn remove(&self, files: impl Iterator<Item = String>) -> Result<Vec<String>> {
        let mut removed = Vec::new();
        for file in files {
            let path = self.path.join(&file);
            match fs::remove_file(&path) {
                Ok(()) => removed.push(file),
                Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(ReportError::OutFolder { path, source }),
                Err(_) => {}
            }
        }
        // Only where it is empty.
        let _ = fs::remove_dir(self.path.join(pictures::FOLDER));
        Ok(removed)
    }
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|source| ReportError::OutFolder { path: folder.to_owned(), source })
}
