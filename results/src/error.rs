//! What can go wrong in the store, said for the person who has to put it right.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The result of a store operation.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A failure of the store. [`StoreError::is_environment`] tells the surroundings' faults from the caller's.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}; {}", path.display(), advice(source))]
    Io {
        /// What was being done, as a verb with its object.
        action: &'static str,
        /// The file or folder concerned.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A write to the journal failed. Everything that was appended before is still there.
    #[error("cannot append to the journal {}: {source}; {}", path.display(), if *rolled_back {
        "every cell journalled before is kept: see to the disk (free space, permissions, cable), then resume the run"
    } else {
        "the half-written end could not be removed either, which the next resume does by itself: \
         see to the disk (free space, permissions, cable), then resume the run"
    })]
    Append {
        /// The journal.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
        /// Whether the file was put back to its last good length.
        rolled_back: bool,
    },
    /// Somebody removed the journal while it was being written.
    #[error("the journal {} was removed while the run went on, and its cells with it: start a new run", path.display())]
    Removed {
        /// Where it was.
        path: PathBuf,
    },
    /// The file does not begin as a journal does.
    #[error(
        "{}:1: not a crossover journal: the first line should be `crossover-journal 1`, but is `{found}`; \
         if only that line was damaged, write it back and the frames below it are read again",
        path.display()
    )]
    NotAJournal {
        /// The file.
        path: PathBuf,
        /// How it begins, escaped and shortened.
        found: String,
    },
    /// Something was written by a newer version of this program.
    #[error(
        "{}:{line}: {what} version {found} is newer than version {known}, which is the newest that this program reads; \
         use the program that wrote it, or a newer one",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Line within the file, from 1.
        line: u64,
        /// What carries the version.
        what: &'static str,
        /// The version found.
        found: u64,
        /// The newest version understood.
        known: u64,
    },
    /// A record that the store cannot hold without loss.
    #[error("cell `{id}` cannot be stored: {reason}")]
    NotStorable {
        /// The cell's id, escaped.
        id: String,
        /// The field, and what it must be.
        reason: String,
    },
    /// Another process holds the run.
    #[error("another crossover ({holder}) is writing this run ({}); wait for it to end, or write to another folder", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// `pid N`, or what is known of it.
        holder: String,
    },
    /// The folder holds something else.
    #[error("{} is not a run folder (found `{found}`, no manifest.json); name an empty or a new folder", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// An entry that does not belong there.
        found: String,
    },
    /// The folder holds a run already.
    #[error("{} holds a run already; resume it, or name another folder", path.display())]
    AlreadyARun {
        /// The folder.
        path: PathBuf,
    },
    /// There is no run where one was expected.
    #[error("there is no run in {}: it has no manifest.json; name the folder that an earlier run wrote", path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// One folder was named twice.
    #[error("the run {} is named twice; name each run once", path.display())]
    SameRunTwice {
        /// The folder, as named the second time.
        path: PathBuf,
    },
    /// Runs with different layouts of records.
    #[error(
        "{} has records of layout {own}, {} of layout {others}: runs of different layouts are not joined; report them side by side instead",
        path.display(), other.display()
    )]
    MixedLayouts {
        /// One run.
        path: PathBuf,
        /// Its layout.
        own: u32,
        /// Another one.
        other: PathBuf,
        /// Its layout.
        others: u32,
    },
    /// A manifest that cannot be read.
    #[error("{}:{line}: {message}; restore the file from a copy, or start the run anew in another folder", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Line within the file, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A line of the history that cannot be read.
    #[error(
        "{}:{line}: {message}; nothing was changed: restore the file from the repository (`git checkout`), or put that line right",
        path.display()
    )]
    History {
        /// The file.
        path: PathBuf,
        /// Line within the file, from 1.
        line: u64,
        /// What is wrong there.
        message: String,
    },
    /// The history has the run already, but not as it is now.
    #[error(
        "{}:{line}: the run is recorded there {message}. A run is recorded once, when it is whole, and its lines stay as they are: \
         run the experiment again and record that",
        path.display()
    )]
    HistoryHasRun {
        /// The file.
        path: PathBuf,
        /// The line that differs, or where the run begins.
        line: u64,
        /// How it is there.
        message: String,
    },
    /// A run that says nothing of one commit.
    #[error("the run {} cannot be recorded: {reason}; record a run that one build made on one machine, with its journal", path.display())]
    NotRecordable {
        /// The run's folder.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The Parquet library refused.
    #[error("cannot write the table {}: {message}; the journal is untouched, so the table can be made again from it", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The library's answer.
        message: String,
    },
}

impl StoreError {
    /// True where the surroundings are at fault (disk, permissions, another process) rather than what was asked.
    pub fn is_environment(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Append { .. } | Self::Removed { .. } | Self::Locked { .. } | Self::Parquet { .. })
    }

    /// Wraps an I/O error with what was being done, and where: for `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// What to do about an I/O error.
fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => "name a folder that you may write in, or change its permissions",
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only: name a folder on another one",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space, then try again: nothing stored before is lost",
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => "a part of the path is a file, not a folder: name another path",
        io::ErrorKind::Unsupported => "this file system cannot do that: name a folder on a local disk",
        _ => "check the path and the disk",
    }
}

/// Text from a damaged file, made fit for one line of a message.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes).chars().take(40).collect();
    text.escape_debug().to_string()
}
