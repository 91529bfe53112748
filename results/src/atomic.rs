//! Files that appear whole or not at all: write beside the target, sync, rename over it, sync the folder.
//!
//! A reader sees the old file or the new one, also after a power cut. The price is two syncs, so this is for files written
//! once (manifest, tables), not for the journal.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Result, StoreError};

/// What the name of an unfinished file has in it; a file that still has it after a crash is refuse.
const UNFINISHED: &str = ".unfinished-";

/// Replaces the file at `path` by `bytes`.
///
/// # Errors
/// When the folder cannot be written or the disk is full; the old file is then untouched.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.file.write_all(bytes).map_err(StoreError::io("write", path))?;
    file.commit()
}

/// A file under construction. Dropped without [`AtomicFile::commit`], it vanishes and leaves the target as it was.
pub(crate) struct AtomicFile {
    file: File,
    unfinished: PathBuf,
    target: PathBuf,
    committed: bool,
}

impl AtomicFile {
    /// Opens a new file beside `target`, under a name that no other writer uses.
    pub(crate) fn create(target: &Path) -> Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let unfinished = target.with_file_name(format!(".{name}{UNFINISHED}{}-{count}", std::process::id()));
        let file = File::create(&unfinished).map_err(StoreError::io("create", target))?;
        Ok(Self { file, unfinished, target: target.to_owned(), committed: false })
    }

    /// A second handle for a writer that wants to own one.
    pub(crate) fn handle(&self) -> Result<File> {
        self.file.try_clone().map_err(StoreError::io("write", &self.target))
    }

    /// Syncs the content and puts the file in its place.
    pub(crate) fn commit(mut self) -> Result<()> {
        self.file.sync_all().map_err(StoreError::io("sync", &self.target))?;
        fs::rename(&self.unfinished, &self.target).map_err(StoreError::io("put in place", &self.target))?;
        self.committed = true;
        sync_folder_of(&self.target)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.committed {
            // Nobody reads a file of this name, so one that cannot be removed does no harm but its size.
            let _ = fs::remove_file(&self.unfinished);
        }
    }
}

/// Makes a new or renamed entry of the folder durable.
pub(crate) fn sync_folder_of(path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(StoreError::io("sync the folder", folder))
}

/// True for the name of a file that a killed writer left behind.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.starts_with('.') && name.contains(UNFINISHED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn replaces_the_whole_file_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_atomically(&path, b"a longer first text").unwrap();
        write_atomically(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(names(folder.path()), ["a.json"]);
    }

    #[test]
    fn an_abandoned_file_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_atomically(&path, b"first").unwrap();
        let mut abandoned = AtomicFile::create(&path).unwrap();
        abandoned.file.write_all(b"half").unwrap();
        assert!(names(folder.path()).iter().any(|name| is_unfinished(name)));
        drop(abandoned);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(names(folder.path()), ["a.json"]);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_atomically(&folder.path().join("none/a.json"), b"x").unwrap_err();
        assert!(error.is_environment());
        assert!(error.to_string().contains("none/a.json"), "{error}");
    }
}
