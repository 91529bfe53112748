//! A run that is brought in whole: it is there with everything, or not at all.
//!
//! It is made beside its place, under a name that a killed writer leaves and nobody takes for a run, and then put there in one step.

use std::fs;
use std::path::Path;

use crate::atomic::sync_folder_of;
use crate::error::{Result, StoreError, excerpt};
use crate::manifest::Manifest;
use crate::run_folder::{Finished, RunFolder};
use crate::schema::Record;

/// How the copy of the experiment begins that an imported run has: there is no plan to go on with.
pub const IMPORTED: &str = "# Imported from ";

/// Writes a run of these records into `out`, a new or empty folder.
///
/// # Errors
/// When `out` holds anything, cannot be written, or a record cannot be stored; nothing is left behind then.
pub fn write_whole(out: &Path, manifest: &Manifest, source: &str, records: &[Record]) -> Result<Finished> {
    refuse_what_is_there(out)?;
    let (Some(name), Some(parent)) = (out.file_name(), out.parent()) else {
        // `..` and the like are there, and are not empty.
        return Err(StoreError::NotARun { path: out.to_owned(), found: "..".to_owned() });
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    fs::create_dir_all(parent).map_err(StoreError::io("make the folder", parent))?;
    let unfinished = parent.join(format!(".{}.unfinished-{}", name.to_string_lossy(), std::process::id()));
    let written = fill(&unfinished, manifest, source, records).and_then(|finished| {
        fs::rename(&unfinished, out).map_err(StoreError::io("put the run in place as", out))?;
        sync_folder_of(out)?;
        Ok(finished)
    });
    if written.is_err() {
        // What went wrong is worth telling, and not that its rest cannot be removed either.
        let _ = fs::remove_dir_all(&unfinished);
    }
    written
}

fn refuse_what_is_there(out: &Path) -> Result<()> {
    let Ok(mut entries) = fs::read_dir(out) else {
        // Not there, or no folder: which of both, putting the run in place tells.
        return Ok(());
    };
    if RunFolder::open(out).is_ok() {
        return Err(StoreError::AlreadyARun { path: out.to_owned() });
    }
    match entries.next() {
        None => Ok(()),
        Some(Ok(entry)) => Err(StoreError::NotARun { path: out.to_owned(), found: excerpt(entry.file_name().as_encoded_bytes()) }),
        Some(Err(error)) => Err(StoreError::io("list the run folder", out)(error)),
    }
}

fn fill(path: &Path, manifest: &Manifest, source: &str, records: &[Record]) -> Result<Finished> {
    let folder = RunFolder::create(path)?;
    let lock = folder.lock()?;
    folder.write_definition(&format!("{IMPORTED}{}\n", source.replace(['\n', '\r'], " ")))?;
    manifest.write(&folder.manifest_path())?;
    folder.open_journal(&lock)?.0.append_batch(records)?;
    folder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;
    use crate::schema_examples::small_record;

    #[test]
    fn a_run_is_there_whole() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("new/run");
        let finished = write_whole(&out, &manifest::example(), "somewhere\nelse", &[small_record("a"), small_record("b")]).unwrap();
        assert_eq!(finished.cells, 2);
        let folder = RunFolder::open(&out).unwrap();
        assert!(folder.cells_path().is_file() && folder.samples_path().is_file());
        assert_eq!(fs::read_to_string(folder.definition_path()).unwrap(), "# Imported from somewhere else\n");
        // Nothing else is left beside it.
        assert_eq!(fs::read_dir(root.path().join("new")).unwrap().count(), 1);
    }

    #[test]
    fn what_is_there_already_stays() {
        let root = tempfile::tempdir().unwrap();
        let records = [small_record("a")];
        let write = |name: &str| write_whole(&root.path().join(name), &manifest::example(), "x", &records);
        fs::create_dir(root.path().join("empty")).unwrap();
        write("empty").unwrap();
        assert!(matches!(write("empty"), Err(StoreError::AlreadyARun { .. })));
        fs::create_dir(root.path().join("other")).unwrap();
        fs::write(root.path().join("other/thesis.tex"), "x").unwrap();
        assert!(matches!(write("other"), Err(StoreError::NotARun { found, .. }) if found == "thesis.tex"));
        fs::write(root.path().join("file"), "x").unwrap();
        assert!(write("file").is_err_and(|error| error.is_environment()));
        assert!(matches!(write("other/.."), Err(StoreError::NotARun { .. })));
        assert_eq!(fs::read_to_string(root.path().join("file")).unwrap(), "x");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_record_that_cannot_be_stored_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let bad = Record { elapsed_ns: u64::MAX, ..small_record("b") };
        let error = write_whole(&root.path().join("run"), &manifest::example(), "x", &[small_record("a"), bad]).unwrap_err();
        assert!(matches!(error, StoreError::NotStorable { .. }), "{error}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
