//! One gate at a time builds: an advisory lock on a file of its folder, which the kernel releases when the process ends, however it ends.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use anyhow::Result;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::errors::environment;

/// The right to build in a folder, until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Without waiting: a build takes minutes, and whoever waits should know for what.
    pub(super) fn take(folder: &Path) -> Result<Self> {
        let path = folder.join("lock");
        let failed = |error: std::io::Error| environment(format!("{} cannot be locked: {error}", path.display()));
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // The holder may be just about to write it.
                let holder = match file.take(32).read_to_string(&mut holder) {
                    Ok(_) if holder.trim().parse::<u32>().is_ok() => format!("process {}", holder.trim()),
                    _ => "another process".to_owned(),
                };
                let place = folder.display();
                return Err(environment(format!("another gate ({holder}) builds in {place}: run this one when that one is done")));
            }
            Err(error) => return Err(failed(error.into())),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_told_who_builds() {
        let folder = tempfile::tempdir().unwrap();
        let held = Lock::take(folder.path()).unwrap();
        let error = Lock::take(folder.path()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("another gate (process {}) builds in ", std::process::id())), "{error}");
        drop(held);
        Lock::take(folder.path()).unwrap();
    }
}
