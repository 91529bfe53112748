//! What can go wrong on the way to a report, said for the person who has to put it right.

use std::path::{Path, PathBuf};

use crossover_results::StoreError;
use polars::error::PolarsError;
use thiserror::Error;

/// The result of a step of the report.
pub type Result<T> = std::result::Result<T, ReportError>;

/// Why there is no report. [`ReportError::is_environment`] tells the surroundings' faults from the caller's.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The run folder, its journal or a file to be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// One folder was named twice: its cells would count twice.
    #[error("the run {} is named twice; name each run once", path.display())]
    SameRunTwice {
        /// The folder, as named the second time.
        path: PathBuf,
    },
    /// The standard output.
    #[error("standard output cannot be written: {0}")]
    Stdout(#[source] std::io::Error),
    /// A question that no cell could answer.
    #[error("{0}")]
    Question(String),
    /// Two runs are compared, no more and no fewer.
    #[error("two runs are compared, and these are {count}")]
    NotTwoRuns {
        /// How many were given.
        count: usize,
    },
    /// Times of different machines have nothing to do with each other.
    #[error(
        "the runs are of different machines (A of {a}, B of {b}): a ratio of their times would compare the machines and not the programs; \
         --across-machines compares them all the same and says so"
    )]
    DifferentMachines {
        /// Fingerprints of the first run's machines.
        a: String,
        /// Of the second's.
        b: String,
    },
    /// A table that cannot be read.
    #[error(
        "cannot read {}: {message}; remove the file and ask for the report again: the table is then made anew from the journal",
        path.display()
    )]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A table of a newer version of this program.
    #[error(
        "{}: the table's schema version {found} is newer than version {known}, which is the newest that this program reads; \
         use the program that wrote it, or a newer one",
        path.display()
    )]
    NewerTable {
        /// The file.
        path: PathBuf,
        /// The version found, as written.
        found: String,
        /// The newest version understood.
        known: u32,
    },
    /// The tables could be read, but not be reckoned with.
    #[error("cannot put the report together: {0}; this is a fault of the program: please report it with the run's manifest.json")]
    Frame(#[from] PolarsError),
    /// The document that the answer goes into.
    #[error("cannot put the answer into {}: {reason}", path.display())]
    Splice {
        /// The document.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A picture that the library refused to draw.
    #[error("cannot draw {file}: {message}; this is a fault of the program: please report it with the run's manifest.json")]
    Picture {
        /// The file that it would have been.
        file: String,
        /// What the library says.
        message: String,
    },
    /// Files in the report's folder that no report has written.
    #[error(
        "{} has {} already, which no report has written, so nothing was written; move {} away, or name another folder with --out",
        folder.display(),
        named(files),
        if files.len() == 1 { "it" } else { "them" }
    )]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// The files in it that the report would have replaced.
        files: Vec<PathBuf>,
    },
    /// The report's folder.
    #[error("cannot make the report's folder {}: {source}; name another one with --out", path.display())]
    OutFolder {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}

/// A few names, and how many more.
fn named(files: &[PathBuf]) -> String {
    const NAMED: usize = 3;
    let few: Vec<String> = files.iter().take(NAMED).map(|file| file.display().to_string()).collect();
    let more = files.len() - few.len();
    if more == 0 { few.join(", ") } else { format!("{} and {more} more", few.join(", ")) }
}

impl ReportError {
    /// True where the surroundings are at fault (disk, permissions) rather than what was asked: exit code 3 instead of 2.
    pub fn is_environment(&self) -> bool {
        match self {
            Self::Store(error) => error.is_environment(),
            Self::OutFolder { .. } | Self::Frame(_) | Self::Picture { .. } | Self::Stdout(_) => true,
            _ => false,
        }
    }

    /// For `map_err` where a file is read through polars.
    pub(crate) fn table(path: &Path) -> impl Fn(PolarsError) -> Self {
        let path = path.to_owned();
        move |error| Self::Table { path: path.clone(), message: error.to_string() }
    }
}
