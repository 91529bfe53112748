//! One writer per run: an exclusive advisory lock on a file of the run folder.
//!
//! The kernel releases the lock when the process ends, however it ends, so there is no stale lock to clear away; the file
//! itself stays, because removing it would let two processes lock two files of the same name. The pid in it only serves the
//! message. Child processes do not inherit the lock: the standard library opens files close-on-exec.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{Result, StoreError};

/// The right to write a run, held until dropped.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl RunLock {
    /// Takes the lock, without waiting.
    pub(crate) fn take(path: &Path) -> Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(StoreError::io("open the lock", path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(StoreError::Locked { path: path.to_owned(), holder: holder(&mut file) }),
            Err(error) => return Err(StoreError::io("lock", path)(io::Error::from(error))),
        }
        file.set_len(0).map_err(StoreError::io("write the lock", path))?;
        writeln!(file, "{}", std::process::id()).map_err(StoreError::io("write the lock", path))?;
        Ok(Self { _file: file })
    }
}

/// Who holds the lock, as far as the file says: the holder may be just about to write it.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(32).read_to_string(&mut text);
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => format!("pid {pid}"),
        _ => "pid unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_writer_is_told_who_holds_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = RunLock::take(&path).unwrap();
        let error = RunLock::take(&path).unwrap_err();
        assert!(matches!(error, StoreError::Locked { .. }));
        assert!(error.to_string().contains(&format!("another crossover (pid {})", std::process::id())), "{error}");
        drop(held);
        RunLock::take(&path).unwrap();
    }

    #[test]
    fn a_killed_holder_releases_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        // The child inherits a locked descriptor as its standard input, and is then its only holder.
        let locked = RunLock::take(&path).unwrap();
        let inherited = locked._file.try_clone().unwrap();
        let mut child = std::process::Command::new("sleep").arg("600").stdin(inherited).spawn().unwrap();
        drop(locked);
        assert!(matches!(RunLock::take(&path), Err(StoreError::Locked { .. })));
        child.kill().unwrap();
        child.wait().unwrap();
        RunLock::take(&path).unwrap();
    }

    #[test]
    fn text_that_is_no_pid_is_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let _held = RunLock::take(&path).unwrap();
        std::fs::write(&path, "\u{7}rubbish\n").unwrap();
        assert!(RunLock::take(&path).unwrap_err().to_string().contains("pid unknown"));
    }
}
